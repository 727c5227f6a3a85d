//! Who may do what at this node's door: terminals by their ticket, nodes by their certificate.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::SystemTime;

use api::live;
use mesh::identity::Identity;
use mesh::token::{SessionClaims, TokenError, WatchClaims};
use model::{Epoch, SessionId};
use relay::ingest::{Asked, Gateway};
use relay::{Authorize, CameraGrant, Grant, Hop, NodePeer, Refusal, Scope};

use crate::live::{Live, viewer_label};

/// The names of one session's broadcasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    session: SessionId,
    epoch: Epoch,
}

impl Paths {
    pub(crate) const fn new(session: SessionId, epoch: Epoch) -> Self {
        Self { session, epoch }
    }

    /// Also what connections of this session are called.
    pub(crate) fn root(self) -> String {
        format!("s/{}/{}", self.session, self.epoch)
    }

    /// What the app's node publishes.
    pub(crate) fn screen(self) -> String {
        format!("{}/screen", self.root())
    }

    /// Under which each connection of the terminal publishes.
    pub(crate) fn input(self) -> String {
        format!("{}/input", self.root())
    }
}

/// Checks tickets and certificates without asking the center.
pub(crate) struct Grants {
    identity: Arc<Identity>,
    /// Knows who may publish cameras; set once the node runs.
    live: OnceLock<Weak<Live>>,
}

impl Grants {
    pub(crate) const fn new(identity: Arc<Identity>) -> Self {
        Self {
            identity,
            live: OnceLock::new(),
        }
    }

    /// From now on cameras may come.
    pub(crate) fn open(&self, live: &Arc<Live>) {
        // A node runs once.
        let _ = self.live.set(Arc::downgrade(live));
    }

    /// A camera with its stream key.
    fn camera(&self, key: &str, query: &str, remote: SocketAddr) -> Result<Grant, Refusal> {
        const UNNAMED: Refusal = Refusal(Cow::Borrowed(
            "no camera is named: publish to /moq?publish=<stream key>&event=<event>&camera=<camera>",
        ));
        let named = |name| parameter(query, name).ok_or(UNNAMED);
        let asked = Asked {
            gateway: Gateway::Moq,
            event: named("event")?.parse().map_err(|_| UNNAMED)?,
            camera: named("camera")?.parse().map_err(|_| UNNAMED)?,
            key: key.to_owned(),
            remote: Some(remote),
        };
        let live = self.live.get().and_then(Weak::upgrade);
        let live = live.ok_or(Refusal("this node is not up".into()))?;
        tracing::info!(?asked, "MoQ publisher");
        Ok(Grant {
            label: format!("publisher of {}/{}", asked.event, asked.camera),
            camera: Some(CameraGrant {
                path: live::broadcast(&asked.event, &asked.camera),
                admitted: live.decide(&asked)?,
            }),
            ..Grant::default()
        })
    }
}

impl Authorize for Grants {
    fn terminal(&self, path_and_query: &str, remote: SocketAddr) -> Result<Grant, Refusal> {
        if let Some(key) = parameter(path_and_query, "publish") {
            return self.camera(key, path_and_query, remote);
        }
        let (verifier, now) = (self.identity.verifier(), SystemTime::now());
        let refused = |error: TokenError| Refusal(error.to_string().into());
        if let Some(token) = parameter(path_and_query, "watch") {
            let claims: WatchClaims = verifier.verify(token, now).map_err(refused)?;
            return Ok(Grant {
                subscribe: vec![Scope::Under(live::root(&claims.event))],
                label: viewer_label(&claims.event),
                ..Grant::default()
            });
        }
        let token = parameter(path_and_query, "token").ok_or(Refusal("no token".into()))?;
        let claims: SessionClaims = verifier.verify(token, now).map_err(refused)?;
        let paths = Paths::new(claims.session, claims.epoch);
        Ok(Grant {
            publish: vec![Scope::Under(paths.input())],
            subscribe: vec![Scope::Exactly(paths.screen())],
            label: paths.root(),
            ..Grant::default()
        })
    }

    fn node(&self, connection: &quinn::Connection) -> Result<NodePeer, Refusal> {
        let node = mesh::tls::peer_node_id(connection).ok_or(Refusal("not a node".into()))?;
        let hop = Hop::try_from(node.0).map_err(|_| Refusal("not a node".into()))?;
        Ok(NodePeer {
            hop,
            label: node.to_string(),
        })
    }
}

/// A parameter of an address such as `/moq?token=…`.
pub(crate) fn parameter<'a>(path_and_query: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = path_and_query.split_once('?')?;
    let mut parameters = query.split('&').filter_map(|it| it.split_once('='));
    parameters.find_map(|(it, value)| (it == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_in_any_place() {
        let token = |address| parameter(address, "token");
        assert_eq!(token("/moq?token=a.b"), Some("a.b"));
        assert_eq!(token("/?x=1&token=a.b&y=2"), Some("a.b"));
        for without in ["/moq", "", "/moq?tokens=a", "?", "/moq?token"] {
            assert_eq!(token(without), None, "{without}");
        }
    }

    #[test]
    fn names_belong_to_one_session_and_epoch() {
        let paths = Paths::new(SessionId(0xab), Epoch(3));
        assert_eq!(paths.screen(), "s/ab/3/screen");
        assert_eq!(paths.input(), "s/ab/3/input");
    }
}
