//! The event as Selvedge wants it described.

use std::fmt::Write as _;

use super::Event;

/// Its name, in addresses too.
const NAME: &str = "arena";

/// The manifest of an event: `apps/arena/selvedge.toml` is that of the default settings.
pub fn manifest(event: &Event) -> String {
    let mut text = String::from(HEAD);
    let [x, y, z] = event.centre;
    let mut say = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).expect("a string takes everything");
    };
    say(format_args!(
        "name = \"{NAME}\"\ntitle = \"A small match\"\nkind = \"live\"\n"
    ));
    say(format_args!("center = [{x:.1}, {y:.1}, {z:.1}]\n"));
    say(format_args!("\n[access]\npublic = true\n"));
    for camera in &event.cameras {
        let [x, y, z] = camera.position;
        say(format_args!(
            "\n[[cameras]]\nname = \"{}\"\ntitle = \"{}\"\n",
            camera.name, camera.title
        ));
        say(format_args!("position = [{x:.2}, {y:.2}, {z:.2}]\n"));
        say(format_args!(
            "field_of_view_degrees = {:.1}\n",
            camera.field_of_view_degrees
        ));
    }
    text
}

const HEAD: &str = "\
# A football match, six against six, seen by cameras all around it: free viewpoint to try.
# Written by `selvedge-arena --manifest`; the same program renders the pictures.
# Debian: ffmpeg
#
# Metres from the middle spot: x to the east goal, y to the far stand, z up. All cameras look at
# the center. They send 720p30 in H.264 with a keyframe each half second, and sound in AAC.

";

#[cfg(test)]
mod tests {
    use model::Manifest;

    use super::*;
    use crate::arena::Settings;

    #[test]
    fn the_app_says_where_the_cameras_stand() {
        let event = Event::plan(&Settings::default()).unwrap();
        let text = include_str!("../../../../apps/arena/selvedge.toml");
        assert!(
            text == manifest(&event),
            "write it anew: cargo run --bin selvedge-arena -- --manifest > apps/arena/selvedge.toml"
        );
        let manifest = Manifest::read(text).unwrap();
        let live = manifest.live().unwrap();
        assert_eq!(live.cameras.len(), event.cameras.len());
        for (said, camera) in live.cameras.iter().zip(&event.cameras) {
            assert_eq!(said.name.as_str(), camera.name);
            let [x, y, z] = camera.direction.map(f64::from);
            let yaw = said.direction.yaw.as_degrees() - y.atan2(x).to_degrees();
            let pitch = said.direction.pitch.as_degrees() - z.asin().to_degrees();
            assert!(yaw.abs() < 0.01 || yaw.abs() > 359.99, "{yaw}");
            assert!(pitch.abs() < 0.01, "{pitch}");
        }
    }
}
