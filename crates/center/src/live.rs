//! Live events: who may publish, who watches where, how the cameras are.
//!
//! Keys are intent and kept; how cameras are is what edges say every second. Viewers are not kept
//! at all: a ticket is signed and good by itself, so a crowd costs the center nothing but its
//! requests.

mod align;
mod keys;
mod publish;
mod view;
mod watch;

pub(crate) use align::{align, forget_alignment, forget_offsets};
pub(crate) use keys::{create_key, forget_keys, keys, revoke_key};
pub(crate) use publish::publish;
pub(crate) use view::{view, views};
pub(crate) use watch::{watch, watch_by_webrtc};

use api::ErrorCode;
use model::manifest::Live;
use model::{AppName, Manifest};

use crate::error::Refusal;
use crate::sessions::unknown_app;
use crate::world::World;

/// The present manifest of an event.
fn event<'a>(world: &'a World, name: &AppName) -> Result<&'a Live, Refusal> {
    let release = world.apps.get(name).and_then(|it| it.present());
    match release.map(|it| &it.manifest) {
        Some(Manifest::Live(live)) => Ok(live),
        Some(Manifest::Stream(_)) => {
            let message = format!("{name} is a program: it is played, not watched");
            Err(Refusal::new(ErrorCode::BadRequest, message)
                .hint(format!("open /play/{name} instead")))
        }
        None => Err(unknown_app(name)),
    }
}
