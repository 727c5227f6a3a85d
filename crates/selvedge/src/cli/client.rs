//! Which center a command asks, and who it says it is.

use api::client::Client;
use clap::Args;

use crate::current;
use crate::exit::{Ending, Told};

#[derive(Debug, Args)]
pub(super) struct ClientArgs {
    /// The center. Default: the one that runs here
    #[arg(
        long,
        env = "SELVEDGE_CENTER",
        value_name = "URL",
        hide_env_values = true
    )]
    center: Option<String>,
    /// The operator's token. As a flag others on this machine can read it: better a variable
    #[arg(
        long,
        env = "SELVEDGE_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<String>,
}

impl ClientArgs {
    /// A client of that center.
    pub(super) fn connect(&self) -> anyhow::Result<Client> {
        let current = current::find();
        let named = self.center.as_deref().map(url);
        let base = named.or_else(|| current.as_ref().map(|it| it.center.clone()));
        let Some(base) = base else {
            let told = Told::new(Ending::Unreachable, "no center runs here");
            return Err(told
                .hint("start `selvedge dev`, or name a center by --center or SELVEDGE_CENTER")
                .into());
        };
        let known = current.filter(|it| it.center == base).map(|it| it.token);
        Ok(Client::new(&base, self.token.clone().or(known))?)
    }
}

/// Takes `host:port` for a URL too.
fn url(center: &str) -> String {
    let center = center.trim_end_matches('/');
    if center.contains("://") {
        center.to_owned()
    } else {
        format!("http://{center}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_url_too() {
        assert_eq!(url("127.0.0.1:7400"), "http://127.0.0.1:7400");
        assert_eq!(url("https://c.example/"), "https://c.example");
    }
}
