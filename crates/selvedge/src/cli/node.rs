//! `selvedge node`.

use api::Page;
use api::node::{JoinToken, NodeStatus, NodeView};
use clap::Subcommand;
use model::NodeId;

use super::ListArgs;
use super::client::ClientArgs;
use crate::output::{Facts, Output, Table, megabytes, millis_of_core, percent, say};

#[derive(Debug, Subcommand)]
pub(super) enum NodeCommand {
    /// List all nodes
    List(ListArgs),
    /// Show one node
    Show {
        /// Its id
        node: NodeId,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a token that lets one node join
    Token(ListArgs),
}

impl NodeCommand {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List(args) => {
                let nodes = args.client.connect()?.nodes().await?;
                output.data(&nodes, list)
            }
            Self::Show { node, client } => {
                let node = client.connect()?.node(node).await?;
                output.data(&node, show)
            }
            Self::Token(args) => {
                let token = args.client.connect()?.create_join_token().await?;
                if output == Output::People {
                    say("It works once: SELVEDGE_JOIN=<token> selvedge edge --center … --site …");
                }
                output.data(&token, |it: &JoinToken| it.token.clone())
            }
        }
    }
}

fn list(nodes: &Page<NodeView>) -> String {
    let mut table = Table::new(&[
        "node",
        "site",
        "state",
        "busy>",
        "sessions>",
        "warm>",
        "address",
        "version",
    ]);
    for node in &nodes.items {
        let general = api::node::Endpoint::choose(&node.endpoints, None);
        table.row([
            node.id.to_string(),
            node.site.to_string(),
            state(node.status).to_owned(),
            percent(node.cpu_load),
            node.sessions.to_string(),
            node.warm.to_string(),
            general.unwrap_or_default().to_owned(),
            node.version.clone(),
        ]);
    }
    table.render()
}

fn show(node: &NodeView) -> String {
    let (has, free) = (node.capacity, node.free);
    let mut facts = Facts::default();
    facts
        .add("node", node.id)
        .add("site", &node.site)
        .add("state", state(node.status))
        .add("version", &node.version)
        .add("busy", percent(node.cpu_load))
        .add("sessions", node.sessions)
        .add("warm", node.warm)
        .add(
            "cores",
            format!(
                "{} free of {}",
                millis_of_core(free.cpu_millis),
                millis_of_core(has.cpu_millis)
            ),
        )
        .add(
            "memory",
            format!(
                "{} free of {}",
                megabytes(free.memory),
                megabytes(has.memory)
            ),
        )
        .add(
            "encoders",
            format!("{} free of {}", free.encoders, has.encoders),
        );
    for lack in &node.lacks {
        facts.add("lacks", lack);
    }
    for endpoint in &node.endpoints {
        let network = endpoint.network.as_ref();
        let whom = network.map_or("everyone", |it| it.as_str());
        facts.add("endpoint", format!("{} for {whom}", endpoint.address));
    }
    facts.render()
}

const fn state(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Ready => "ready",
        NodeStatus::Draining => "draining",
        NodeStatus::Silent => "silent",
    }
}
