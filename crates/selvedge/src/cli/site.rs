//! `selvedge site`.

use api::Page;
use api::site::SiteView;
use clap::Subcommand;
use model::SiteName;

use super::ListArgs;
use super::client::ClientArgs;
use crate::output::{Facts, Output, Table, joined, percent};

#[derive(Debug, Subcommand)]
pub(super) enum SiteCommand {
    /// List all sites
    List(ListArgs),
    /// Show one site
    Show {
        /// Its name
        site: SiteName,
        #[command(flatten)]
        client: ClientArgs,
    },
}

impl SiteCommand {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::List(args) => {
                let sites = args.client.connect()?.sites().await?;
                output.data(&sites, list)
            }
            Self::Show { site, client } => {
                let site = client.connect()?.site(&site).await?;
                output.data(&site, show)
            }
        }
    }
}

fn list(sites: &Page<SiteView>) -> String {
    let mut table = Table::new(&["site", "title", "state", "load>", "sessions>", "nodes"]);
    for site in &sites.items {
        table.row([
            site.spec.name.to_string(),
            site.spec.title.clone(),
            state(site).to_owned(),
            percent(site.load),
            site.sessions.to_string(),
            joined(&site.nodes),
        ]);
    }
    table.render()
}

fn show(site: &SiteView) -> String {
    let position = site.spec.position;
    let mut facts = Facts::default();
    facts
        .add("site", &site.spec.name)
        .add("title", &site.spec.title)
        .add("state", state(site))
        .add(
            "position",
            format!("{}, {}", position.lat(), position.lon()),
        );
    if let Some(network) = &site.spec.network {
        facts.add("network", network);
    }
    facts
        .add("load", percent(site.load))
        .add("sessions", site.sessions)
        .add("nodes", joined(&site.nodes));
    facts.render()
}

const fn state(site: &SiteView) -> &'static str {
    if site.up { "up" } else { "down" }
}
