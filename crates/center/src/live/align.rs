//! Brings an event's cameras together in time: asks the edges what each camera noticed, and keeps
//! what has to be added to its timestamps.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::ErrorCode;
use api::link::{CameraMoments, FromNode, ToNode};
use api::live::{ALIGN_SECONDS_MAX, ALIGN_SECONDS_MIN, Align, Aligned, AlignedCamera, Offsets};
use futures::future::join_all;
use logic::mediaclock::{Offset, corrections};
use model::manifest::Live;
use model::{AppName, CameraName, NodeId};

use super::event;
use super::view::publisher;
use crate::error::{Refusal, chain};
use crate::records::{AlignmentRecord, Record as _, Revision};
use crate::shared::Shared;

/// An edge answers so much later than it has looked, at most.
const ANSWER_MAX: Duration = Duration::from_millis(3_500);

/// What each camera noticed, and when.
type Moments = BTreeMap<CameraName, Vec<Duration>>;

/// Looks, computes, keeps.
pub(crate) async fn align(
    shared: &Shared,
    name: &AppName,
    request: &Align,
) -> Result<Aligned, Refusal> {
    if !(ALIGN_SECONDS_MIN..=ALIGN_SECONDS_MAX).contains(&request.seconds) {
        let message = format!("`seconds` is from {ALIGN_SECONDS_MIN} to {ALIGN_SECONDS_MAX}");
        return Err(Refusal::new(ErrorCode::BadRequest, message));
    }
    // Each costs every edge a decoder a camera.
    let Ok(_alone) = shared.aligning.try_lock() else {
        let message = "the cameras of an event are being brought together just now";
        return Err(Refusal::new(ErrorCode::Conflict, message)
            .hint("wait until that is done, then try again"));
    };
    let (event, publishers) = on_air(shared, name, request)?;
    let noticed = ask(shared, name, request, &publishers).await;
    let moments: Moments = noticed
        .iter()
        .map(|it| {
            let at = it.at_unix_us.iter().copied();
            (it.camera.clone(), at.map(Duration::from_micros).collect())
        })
        .collect();
    let reference = reference(&event, request, &moments).ok_or_else(|| nothing(request))?;
    let found = corrections(&reference, &moments);
    let (before, revision) = present(shared, name);
    let mut offsets = before.clone();
    let mut cameras = Vec::new();
    for camera in &event.cameras {
        let old = Offset::micros(before.get(&camera.name).copied().unwrap_or_default());
        let correction = found.get(&camera.name);
        let add = correction.map(|it| it.add).unwrap_or_default();
        let new = old.plus(add);
        if new.as_micros() == 0 {
            offsets.remove(&camera.name);
        } else {
            offsets.insert(camera.name.clone(), new.as_micros());
        }
        cameras.push(AlignedCamera {
            name: camera.name.clone(),
            offset_ms: new.as_secs_f64() * 1e3,
            changed_ms: add.as_secs_f64() * 1e3,
            moments: correction.map_or(0, |it| it.moments),
            spread_ms: correction.map_or(0.0, |it| it.spread.as_secs_f64() * 1e3),
            why: correction
                .is_none()
                .then(|| why_not(&camera.name, &reference, &noticed)),
        });
    }
    keep(shared, name, offsets, revision).await?;
    tracing::info!(event = %name, %reference, "the cameras were brought together");
    Ok(Aligned { reference, cameras })
}

/// Forgets what was added.
pub(crate) async fn forget_alignment(shared: &Shared, name: &AppName) -> Result<(), Refusal> {
    event(&shared.world(), name)?;
    forget_offsets(shared, name).await;
    shared.wake.plan.notify_one();
    Ok(())
}

/// An event is gone, and what was added to its cameras with it.
pub(crate) async fn forget_offsets(shared: &Shared, name: &AppName) {
    let key = match shared.world().alignments.get(name) {
        Some((record, _)) => record.key(),
        None => return,
    };
    if let Err(error) = shared.records.remove_all(vec![key]).await {
        tracing::error!(event = %name, error = %chain(&error), "its offsets could not be removed");
        return;
    }
    shared.world().alignments.remove(name);
}

/// The event, and where its cameras publish.
fn on_air(
    shared: &Shared,
    name: &AppName,
    request: &Align,
) -> Result<(Live, BTreeMap<CameraName, NodeId>), Refusal> {
    let world = shared.world();
    let event = event(&world, name)?;
    if let Some(reference) = request.reference.as_ref()
        && event.camera(reference).is_none()
    {
        let known: Vec<_> = event.cameras.iter().map(|it| it.name.as_str()).collect();
        let message = format!("{name} has no camera called {reference}");
        return Err(Refusal::not_found(message).hint(format!("it has {}", known.join(", "))));
    }
    let publishers: BTreeMap<_, _> = event
        .cameras
        .iter()
        .filter_map(|it| {
            let (node, _) = publisher(&world, name, &it.name)?;
            Some((it.name.clone(), node.record.id))
        })
        .collect();
    if publishers.len() < 2 {
        let message = format!("fewer than two cameras of {name} are on air");
        return Err(Refusal::new(ErrorCode::Conflict, message)
            .hint(format!("`selvedge live status {name}` shows which")));
    }
    Ok((event.clone(), publishers))
}

/// What every edge's cameras notice. An edge that does not answer noticed nothing.
async fn ask(
    shared: &Shared,
    name: &AppName,
    request: &Align,
    publishers: &BTreeMap<CameraName, NodeId>,
) -> Vec<CameraMoments> {
    let nodes: BTreeSet<NodeId> = publishers.values().copied().collect();
    let question = ToNode::Moments {
        event: name.clone(),
        by: request.by,
        seconds: request.seconds,
    };
    let deadline = Duration::from_secs(request.seconds.into()) + ANSWER_MAX;
    let asked = nodes.into_iter().map(|node| {
        let question = &question;
        async move { (node, shared.ask(node, question, deadline).await) }
    });
    let mut noticed = Vec::new();
    for (node, answer) in join_all(asked).await {
        match answer {
            // A camera may have come in elsewhere before: what counts is where it is now.
            Ok(FromNode::Moments { cameras }) => noticed.extend(
                cameras
                    .into_iter()
                    .filter(|it| publishers.get(&it.camera) == Some(&node)),
            ),
            Ok(_) => tracing::warn!(%node, "an edge gave another answer than was asked for"),
            Err(error) => {
                tracing::warn!(%node, error = %chain(&error), "an edge did not say what its cameras noticed");
            }
        }
    }
    noticed
}

/// Whom the others follow: the camera with the most moments, unless somebody chose.
fn reference(event: &Live, request: &Align, moments: &Moments) -> Option<CameraName> {
    let count = |it: &CameraName| moments.get(it).map_or(0, Vec::len);
    let chosen = request.reference.clone().or_else(|| {
        let names = event.cameras.iter().map(|it| &it.name);
        // The first of those that have the most.
        names.rev().max_by_key(|it| count(it)).cloned()
    });
    chosen.filter(|it| count(it) > 0)
}

fn nothing(request: &Align) -> Refusal {
    let message = format!("no {} was noticed in {} s", request.by, request.seconds);
    Refusal::new(ErrorCode::Conflict, message).hint(match request.by {
        api::live::Sense::Flash => {
            "flash a light that every camera sees, once a second, while it looks"
        }
        api::live::Sense::Sound => {
            "clap where every camera hears it, once a second, while it listens"
        }
    })
}

fn why_not(camera: &CameraName, reference: &CameraName, noticed: &[CameraMoments]) -> String {
    let noticed = noticed.iter().find(|it| it.camera == *camera);
    match noticed {
        None => "it is not on air, or its edge does not answer".to_owned(),
        Some(it) => it.why.clone().unwrap_or_else(|| match it.at_unix_us.len() {
            0 => "it noticed nothing".to_owned(),
            all => format!("none of the {all} moments it noticed is one of {reference}"),
        }),
    }
}

fn present(shared: &Shared, name: &AppName) -> (Offsets, Option<Revision>) {
    match shared.world().alignments.get(name) {
        Some((record, revision)) => (record.offsets.clone(), Some(*revision)),
        None => (Offsets::new(), None),
    }
}

async fn keep(
    shared: &Shared,
    name: &AppName,
    offsets: Offsets,
    expected: Option<Revision>,
) -> Result<(), Refusal> {
    let record = AlignmentRecord {
        event: name.clone(),
        offsets,
    };
    let revision = shared.records.write(&record, expected).await?;
    shared.world().put_alignment(record, revision);
    shared.wake.plan.notify_one();
    Ok(())
}
