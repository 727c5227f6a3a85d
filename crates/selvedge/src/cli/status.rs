//! `selvedge status`.

use api::status::CloudStatus;

use super::client::ClientArgs;
use crate::output::{Facts, Output, ago};

pub(super) async fn run(args: ClientArgs, output: Output) -> anyhow::Result<()> {
    let status = args.connect()?.status().await?;
    output.data(&status, text)
}

fn text(status: &CloudStatus) -> String {
    let mut facts = Facts::default();
    facts
        .add("center", format!("version {}", status.version))
        .add("started", ago(status.started_unix_ms))
        .add("sites", status.sites)
        .add(
            "nodes",
            format!("{} of {} ready", status.nodes_ready, status.nodes),
        )
        .add("apps", status.apps)
        .add("sessions", status.sessions)
        .add("revision", status.revision);
    for warning in &status.warnings {
        facts.add("warning", warning);
    }
    facts.render()
}
