//! Who may do what. Default deny: a connection has exactly what its grant names.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use moq_net::{Pattern, Patterns};

use crate::ingest::Admitted;
use crate::wire::Hop;

/// Decides on every connection before it sees or says anything.
pub trait Authorize: Send + Sync + 'static {
    /// A terminal asks with the path and query of its address, such as `/?token=…`.
    fn terminal(&self, path_and_query: &str, remote: SocketAddr) -> Result<Grant, Refusal>;

    /// A node has connected, or was dialled; its certificate is in
    /// [`quinn::Connection::peer_identity`].
    fn node(&self, connection: &quinn::Connection) -> Result<NodePeer, Refusal>;
}

/// A part of the table of broadcasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// This broadcast and no other.
    Exactly(String),
    /// Every broadcast below this path, and the path itself. An empty path is everything.
    Under(String),
}

/// What one terminal may do.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// Broadcasts it may publish.
    pub publish: Vec<Scope>,
    /// Broadcasts it may see and subscribe to.
    pub subscribe: Vec<Scope>,
    /// What the connection is called in [`crate::Relay::connections`] and
    /// [`crate::Relay::close_labelled`].
    pub label: String,
    /// The connection is closed after this long, if set.
    pub lifetime: Option<Duration>,
    /// The camera that it publishes, if it does. Then nothing else is granted.
    pub camera: Option<CameraGrant>,
}

/// A camera that a terminal may publish: one broadcast, which no table shows. This node alone reads
/// it, and gives out what passes the limits.
#[derive(Clone, Debug)]
pub struct CameraGrant {
    /// The broadcast that it publishes, and the only one that is looked at.
    pub path: String,
    /// Where its pictures and sounds go, and what they may be.
    pub admitted: Admitted,
}

/// A node whose identity has been established.
#[derive(Clone, Debug)]
pub struct NodePeer {
    /// Its hop. Must be the one the node itself declares.
    pub hop: Hop,
    /// What the link is called in [`crate::Relay::connections`].
    pub label: String,
}

/// Why a connection is refused, in a word that the other side may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub Cow<'static, str>);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// The patterns that the media library matches paths with. `None` if nothing is allowed, or if a
/// scope is no path: then the rest must not be granted either.
pub(crate) fn patterns(scopes: &[Scope]) -> Option<Patterns> {
    let mut patterns = Patterns::new();
    for scope in scopes {
        let pattern = match scope {
            Scope::Exactly(path) => Pattern::literal(path),
            Scope::Under(path) if path.is_empty() => Ok(Pattern::all()),
            Scope::Under(path) => Pattern::subtree(path),
        };
        patterns.insert(pattern.ok()?);
    }
    (!patterns.is_empty()).then_some(patterns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scopes: &[Scope], yes: &[&str], no: &[&str]) {
        let patterns = patterns(scopes);
        let allows = |path: &str| patterns.as_ref().is_some_and(|p| p.matches(path));
        for path in yes {
            assert!(allows(path), "{scopes:?} must allow {path}");
        }
        for path in no {
            assert!(!allows(path), "{scopes:?} must not allow {path}");
        }
    }

    #[test]
    fn exact_is_exact() {
        check(
            &[Scope::Exactly("s/1/2/screen".into())],
            &["s/1/2/screen"],
            &[
                "s/1/2",
                "s/1/2/screen/x",
                "s/1/2/screens",
                "s/1/3/screen",
                "",
            ],
        );
    }

    #[test]
    fn under_stops_at_its_own_path() {
        check(
            &[Scope::Under("s/1/2/input".into())],
            &["s/1/2/input/a", "s/1/2/input"],
            &["s/1/2/inputs/a", "s/1/2/screen", "s/1"],
        );
        check(&[Scope::Under(String::new())], &["a", "s/1"], &[]);
    }

    #[test]
    fn nothing_or_nonsense_allows_nothing() {
        check(&[], &[], &["a", ""]);
        // A wildcard smuggled into an exact path must not widen it.
        check(
            &[Scope::Exactly("s/*/screen".into())],
            &[],
            &["s/1/screen", "s/2/screen"],
        );
        check(&[Scope::Exactly("s/**".into())], &[], &["s/1/screen"]);
    }
}
