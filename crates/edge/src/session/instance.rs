//! From a manifest to a running instance.

use std::sync::Arc;

use api::session::ScreenSize;
use logic::backoff::Policy;
use model::manifest::Stream;
use runtime::display::Size;
use runtime::instance::{Instance, InstanceConfig, SoundWish};
use runtime::process::Limits;
use tracing::warn;

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

/// Gives an instance that was started for nobody the screen that this terminal wants.
pub(crate) async fn fit(instance: &Instance, manifest: &Stream, screen: Option<ScreenSize>) {
    let (width, height) = first_size(manifest, screen);
    if (width, height) == first_size(manifest, None) {
        return;
    }
    // An app is better shown at another size than not.
    if let Err(error) = instance.resize(Size { width, height }).await {
        warn!(error = chain(&error), "a warm instance keeps its size");
    }
}

/// The size a terminal may give a screen while it runs, where the manifest lets it.
pub(crate) fn later_size(manifest: &Stream, wish: ScreenSize) -> Option<(u16, u16)> {
    let allowed = manifest.screen.resizable;
    allowed.then(|| first_size(manifest, Some(wish)))
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
        let wish = ScreenSize {
            width: 801,
            height: 601,
        };
        let wanted = Some(wish);
        assert_eq!(first_size(&manifest(""), wanted), (1280, 720));
        let resizable = manifest("resizable = true");
        assert_eq!(first_size(&resizable, wanted), (800, 600));
        assert_eq!(later_size(&manifest(""), wish), None);
        assert_eq!(later_size(&resizable, wish), Some((800, 600)));
    }

    #[test]
    fn no_terminal_asks_for_too_much_or_too_little() {
        let resizable = manifest("resizable = true");
        let ask = |width, height| first_size(&resizable, Some(ScreenSize { width, height }));
        assert_eq!(ask(65_535, 65_535), RESIZABLE_MAX);
        assert_eq!(ask(0, 1), (SIDE_MIN, SIDE_MIN));
    }
}
