//! `/v1/status`

use std::net::IpAddr;

use api::ErrorBody;
use api::node::NodeStatus;
use api::status::CloudStatus;
use axum::Json;
use axum::extract::State;

use super::Api;
use super::answer::Answer;
use super::auth::Administrator;
use crate::shared::Shared;
use crate::world::World;

/// How the cloud is.
#[utoipa::path(get, path = "/v1/status", tag = "center", security(("token" = [])), responses(
    (status = 200, body = CloudStatus),
    (status = 401, body = ErrorBody),
))]
pub(super) async fn status(State(api): State<Api>, _: Administrator) -> Answer<CloudStatus> {
    let revision = api.shared.records.revision().await?;
    let world = api.shared.world();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Json(CloudStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ms: api.shared.started_unix_ms,
        sites: count(world.site_views().len()),
        nodes_ready: count(world.ready().count()),
        nodes: count(world.nodes.len()),
        apps: count(world.apps.len()),
        sessions: count(world.sessions.len()),
        revision: revision.0,
        warnings: warnings(&api.shared, &world),
    }))
}

/// What needs a person's attention.
fn warnings(shared: &Shared, world: &World) -> Vec<String> {
    let mut warnings = Vec::new();
    if world.nodes.is_empty() {
        warnings.push("no node has joined yet: `selvedge edge --join <token>` adds one".into());
    }
    for node in world.nodes.values() {
        let (id, site) = (node.record.id, node.site());
        if node.status() == NodeStatus::Silent {
            warnings.push(format!("node {id} at {site} does not answer"));
        }
        for lack in &node.record.lacks {
            warnings.push(format!("node {id} at {site}: {lack}"));
        }
    }
    for view in world.app_views() {
        if view.sites.is_empty() && !world.nodes.is_empty() {
            let name = &view.name;
            warnings.push(format!("no node can run {name}: none has what it requires"));
        }
    }
    let is_local = |ip: IpAddr| ip.is_loopback();
    if shared.config.tls.is_none() && !is_local(shared.config.listen.ip()) {
        warnings.push(
            "tokens cross the network in the clear: give the center a certificate, or put it behind a proxy that has one"
                .into(),
        );
    }
    warnings
}
