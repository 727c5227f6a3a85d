//! `selvedge explain`.

use api::session::{Explanation, Explanations};
use clap::Args;
use model::SessionId;

use super::client::ClientArgs;
use crate::output::{Output, Table, ago};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Its id, from `selvedge session list`
    session: SessionId,
    #[command(flatten)]
    client: ClientArgs,
}

impl ExplainArgs {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        let explanations = self.client.connect()?.explain(self.session).await?;
        output.data(&explanations, text)
    }
}

fn text(explanations: &Explanations) -> String {
    let decisions: Vec<String> = explanations.decisions.iter().map(decision).collect();
    decisions.join("\n")
}

fn decision(decision: &Explanation) -> String {
    let mut text = format!(
        "{} ({}): {} on node {}\n  {}\n",
        decision.cause,
        ago(decision.decided_unix_ms),
        decision.site,
        decision.node,
        decision.why,
    );
    if !decision.passed.is_empty() {
        let mut table = Table::new(&["not", "node", "because"]);
        for passed in &decision.passed {
            table.row([
                passed.site.to_string(),
                passed.node.to_string(),
                passed.why.clone(),
            ]);
        }
        for line in table.render().lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}
