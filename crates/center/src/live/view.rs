//! How events are, put together from what edges say.

use api::link::Ingest;
use api::live::{CameraView, IngestAddress, LiveView};
use api::node::NodeStatus;
use model::manifest::Live;
use model::{AppName, CameraName, Manifest};

use super::event;
use crate::error::Refusal;
use crate::shared::Shared;
use crate::world::{Node, World};

/// One event.
pub(crate) fn view(shared: &Shared, name: &AppName) -> Result<LiveView, Refusal> {
    let world = shared.world();
    Ok(of(&world, event(&world, name)?))
}

/// All events.
pub(crate) fn views(shared: &Shared) -> Vec<LiveView> {
    let world = shared.world();
    let present = world.apps.values().filter_map(|it| it.present());
    let live = present.filter_map(|it| match &it.manifest {
        Manifest::Live(live) => Some(live),
        Manifest::Stream(_) => None,
    });
    live.map(|it| of(&world, it)).collect()
}

fn of(world: &World, event: &Live) -> LiveView {
    let viewers = world
        .ready()
        .flat_map(|(_, live)| &live.summary.viewers)
        .filter(|(name, _)| *name == event.name)
        .fold(0_u32, |sum, (_, viewers)| sum.saturating_add(*viewers));
    LiveView {
        name: event.name.clone(),
        title: event.title.clone(),
        cameras: event
            .cameras
            .iter()
            .map(|camera| {
                let here = publisher(world, &event.name, &camera.name);
                CameraView {
                    name: camera.name.clone(),
                    site: here.map(|(node, _)| node.site().clone()),
                    status: here.map(|(_, status)| status.clone()),
                }
            })
            .collect(),
        viewers,
        ingest: ingest(world, &event.name),
    }
}

/// Where a camera's stream comes in, and how it is. The one that started last counts: an older one
/// is about to be replaced.
pub(super) fn publisher<'a>(
    world: &'a World,
    event: &AppName,
    camera: &CameraName,
) -> Option<(&'a Node, &'a api::live::CameraStatus)> {
    let cameras = world.nodes.values().flat_map(|node| {
        let summary = node.live.as_ref().map(|it| &it.summary);
        let cameras = summary.into_iter().flat_map(|it| &it.cameras);
        cameras.map(move |it| (node, it))
    });
    cameras
        .filter(|(_, it)| it.event == *event && it.camera == *camera)
        .max_by_key(|(_, it)| it.status.since_unix_ms)
        .map(|(node, it)| (node, &it.status))
}

/// Where cameras can publish to.
fn ingest(world: &World, event: &AppName) -> Vec<IngestAddress> {
    let ready = world
        .nodes
        .values()
        .filter(|it| it.status() == NodeStatus::Ready);
    ready
        .filter_map(|node| {
            let ingest = &node.record.ingest;
            (*ingest != Ingest::default()).then(|| IngestAddress {
                site: node.site().clone(),
                node: node.record.id,
                rtmp: ingest
                    .rtmp
                    .as_ref()
                    .map(|it| format!("rtmp://{it}/{event}")),
                srt: ingest.srt.as_ref().map(|it| format!("srt://{it}")),
                whip: ingest
                    .webrtc
                    .as_ref()
                    .map(|it| format!("{it}/whip/{event}")),
            })
        })
        .collect()
}
