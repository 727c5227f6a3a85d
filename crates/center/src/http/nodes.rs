//! `/v1/nodes` and `/v1/join-tokens`

use api::node::{JoinToken, NodeView};
use api::{ErrorBody, Page};
use axum::Json;
use axum::extract::State;
use model::NodeId;

use super::Api;
use super::answer::{Answer, Segment, page};
use super::auth::Administrator;
use crate::error::Refusal;
use crate::link;

/// All nodes.
#[utoipa::path(get, path = "/v1/nodes", tag = "nodes", security(("token" = [])), responses(
    (status = 200, body = Page<NodeView>),
    (status = 401, body = ErrorBody),
))]
pub(super) async fn list(State(api): State<Api>, _: Administrator) -> Json<Page<NodeView>> {
    page(api.shared.world().node_views())
}

/// One node.
#[utoipa::path(get, path = "/v1/nodes/{node}", tag = "nodes", security(("token" = [])), params(("node" = NodeId, Path)), responses(
    (status = 200, body = NodeView),
    (status = 401, body = ErrorBody),
    (status = 404, body = ErrorBody),
))]
pub(super) async fn show(
    State(api): State<Api>,
    _: Administrator,
    Segment(node): Segment<NodeId>,
) -> Answer<NodeView> {
    let view = api.shared.world().node_view(node);
    view.map(Json).ok_or_else(|| {
        Refusal::not_found(format!("there is no node {node}"))
            .hint("`selvedge node list` shows all")
    })
}

/// A token that lets one node join, within an hour.
#[utoipa::path(post, path = "/v1/join-tokens", tag = "nodes", security(("token" = [])), responses(
    (status = 200, body = JoinToken),
    (status = 401, body = ErrorBody),
))]
pub(super) async fn create_join_token(
    State(api): State<Api>,
    _: Administrator,
) -> Answer<JoinToken> {
    link::create_token(&api.shared).await.map(Json)
}
