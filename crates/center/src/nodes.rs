//! Asking a node.

use std::time::Duration;

use api::link::{FromNode, ToNode};
use mesh::link::{CallError, Link};
use model::NodeId;

use crate::shared::Shared;

/// A node answers at once: reserving and releasing are bookkeeping. Beyond this it is as good as
/// dead, and the next one is asked.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Why a node did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// There is no link to it.
    #[error("it is not connected")]
    NoLink,
    /// The link failed. Whether the request was handled is unknown.
    #[error("it does not answer")]
    Call(#[source] CallError),
    /// It said no.
    #[error("{0}")]
    Refused(String),
    /// Its answer is not understood.
    #[error("its answer is not understood")]
    Garbled,
}

impl Shared {
    /// Asks a node by its present link.
    pub(crate) async fn ask(
        &self,
        node: NodeId,
        request: &ToNode,
        deadline: Duration,
    ) -> Result<FromNode, AskError> {
        let link = {
            let world = self.world();
            let live = world.nodes.get(&node).and_then(|it| it.live.as_ref());
            live.map(|it| it.link.clone())
        };
        ask(&link.ok_or(AskError::NoLink)?, request, deadline).await
    }
}

/// Asks by this very link.
pub(crate) async fn ask(
    link: &Link,
    request: &ToNode,
    deadline: Duration,
) -> Result<FromNode, AskError> {
    let request = serde_json::to_vec(request).expect("messages are maps with text keys");
    let answer = match link.call(&request, deadline).await {
        Ok(answer) => answer,
        Err(CallError::Refused(why)) => return Err(AskError::Refused(why)),
        Err(error) => return Err(AskError::Call(error)),
    };
    match serde_json::from_slice(&answer) {
        Ok(FromNode::Refused { why }) => Err(AskError::Refused(why)),
        Ok(answer) => Ok(answer),
        Err(_) => Err(AskError::Garbled),
    }
}
