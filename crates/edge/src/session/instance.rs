//! From a manifest to a running instance.

use std::sync::Arc;

use api::session::ScreenSize;
use logic::backoff::Policy;
use model::manifest::Stream;
use runtime::display::Size;
use runtime::instance::{Instance, InstanceConfig, SoundWish};
use runtime::process::Limits;

use crate::shared::Shared;

/// The largest screen of an app that follows the terminal's window, in pixels.
const RESIZABLE_MAX: (u16, u16) = (2560, 1440);

/// The smallest side of a screen, in pixels.
const SIDE_MIN: u16 = 64;

/// Starts an app with a screen of the manifest's size, or of the terminal's where the manifest
/// allows it. The error is for a person.
pub(crate) async fn start(
    shared: &Arc<Shared>,
    manifest: &Stream,
    screen: Option<ScreenSize>,
) -> Result<Instance, String> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| format!("draw a name: {error}"))?;
    let seed = u64::from_ne_bytes(random);
    let name = format!("{seed:x}");
    let mark = shared
        .owner
        .unit(name.as_str())
        .map_err(|error| error.to_string())?;
    let (width, height) = first_size(manifest, screen);
    let (max_width, max_height) = max_size(manifest);
    let config = InstanceConfig {
        mark,
        dir: shared.run_dir.join(name),
        command: manifest.command.clone(),
        services: manifest.services.clone(),
        env: manifest.env.clone(),
        size: Size { width, height },
        max_size: Size {
            width: max_width,
            height: max_height,
        },
        sound: if manifest.sound.enabled {
            SoundWish::Heard
        } else {
            SoundWish::Silent
        },
        limits: Limits {
            memory: Some(manifest.resources.memory),
            ..Limits::default()
        },
        backoff: Policy::default(),
        seed,
    };
    Instance::start(config).await.map_err(|error| chain(&error))
}

/// The size a session begins with: even, within what its screen can be.
pub(crate) fn first_size(manifest: &Stream, screen: Option<ScreenSize>) -> (u16, u16) {
    let (max_width, max_height) = max_size(manifest);
    match screen.filter(|_| manifest.screen.resizable) {
        Some(wanted) => (
            wanted.width.clamp(SIDE_MIN, max_width) & !1,
            wanted.height.clamp(SIDE_MIN, max_height) & !1,
        ),
        None => (manifest.screen.width, manifest.screen.height),
    }
}

/// The largest size a session's screen can be.
pub(crate) fn max_size(manifest: &Stream) -> (u16, u16) {
    let screen = &manifest.screen;
    if screen.resizable {
        (
            screen.width.max(RESIZABLE_MAX.0),
            screen.height.max(RESIZABLE_MAX.1),
        )
    } else {
        (screen.width, screen.height)
    }
}

/// An error with all of its causes, for a person.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(more: &str) -> Stream {
        let text = format!("name = 'a'\nkind = 'stream'\ncommand = ['a']\n[screen]\n{more}");
        let manifest = model::Manifest::read(&text).unwrap();
        manifest.stream().unwrap().clone()
    }

    #[test]
    fn a_fixed_screen_does_not_follow_the_terminal() {
        let wanted = Some(ScreenSize {
            width: 801,
            height: 601,
        });
        assert_eq!(first_size(&manifest(""), wanted), (1280, 720));
        assert_eq!(
            first_size(&manifest("resizable = true"), wanted),
            (800, 600)
        );
    }

    #[test]
    fn no_terminal_asks_for_too_much_or_too_little() {
        let resizable = manifest("resizable = true");
        let ask = |width, height| first_size(&resizable, Some(ScreenSize { width, height }));
        assert_eq!(ask(65_535, 65_535), RESIZABLE_MAX);
        assert_eq!(ask(0, 1), (SIDE_MIN, SIDE_MIN));
    }
}
