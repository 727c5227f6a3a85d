use super::*;
use crate::Manifest;

const LEAST: &str =
    "name = 'arena'\nkind = 'live'\n[[cameras]]\nname = 'north'\nposition = [0, 20, 3]\n";

fn event(text: &str) -> Live {
    let manifest = Manifest::read(text).unwrap();
    manifest.live().unwrap().clone()
}

#[test]
fn the_least_event() {
    let live = event(LEAST);
    assert_eq!(live.title, "arena");
    assert_eq!(live.sound.as_str(), "north");
    assert_eq!(live.retention(), Duration::from_secs(30));
    assert_eq!(live.ingest.video, VideoCodec::ALL);
    let names: Vec<&str> = live.renditions.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["high", "medium", "low"]);
    let camera = &live.cameras[0];
    assert_eq!(camera.title, "north");
    assert_eq!(camera.direction.yaw.as_degrees(), -90.0);
    assert!((camera.direction.pitch.as_degrees() + 8.53).abs() < 0.01);
    assert_eq!(camera.field_of_view.as_degrees(), 60.0);
}

#[test]
fn all_that_can_be_said() {
    let live = event(
        "name = 'arena'
         kind = 'live'
         title = 'Arena'
         center = [1, 2, 0]
         sound = 'crowd'
         retention_secs = 0
         [[cameras]]
         name = 'crowd'
         title = 'The crowd'
         position = [0, 0, 5]
         yaw_degrees = 350
         field_of_view_degrees = 90
         [[cameras]]
         name = 'goal'
         position = [5, 0, 1]
         look_at = [5, 8, 1]
         [[renditions]]
         name = 'small'
         height = 180
         bitrate_kbps = 200
         group_ms = 200
         [[renditions]]
         name = 'large'
         height = 1080
         max_fps = 60
         bitrate_kbps = 6000
         [ingest]
         video = ['h264']
         audio = []
         group_max_ms = 1000
         [access]
         public = true",
    );
    assert_eq!(live.cameras[0].direction.yaw.as_degrees(), -10.0);
    assert_eq!(live.cameras[1].direction.yaw.as_degrees(), 90.0);
    assert_eq!(live.renditions[0].name.as_str(), "large");
    assert_eq!(live.renditions[1].group(), Duration::from_millis(200));
    assert_eq!(live.ingest.group_max(), Duration::from_secs(1));
    let manifest = Manifest::Live(live);
    assert!(manifest.access().public);
    let text = toml::to_string(&manifest).unwrap();
    assert_eq!(Manifest::read(&text).unwrap(), manifest, "{text}");
    assert_eq!(toml::from_str::<Manifest>(&text).unwrap(), manifest);
}

#[test]
fn no_rendition_but_the_cameras_own_can_be_meant() {
    let live = event(&format!("renditions = []\n{LEAST}"));
    assert!(live.renditions.is_empty());
}

#[test]
fn an_event_that_is_wrong_as_a_whole_says_so() {
    let wrong = |text: &str| Manifest::read(text).unwrap_err().to_string();
    let none = wrong("name = 'a'\nkind = 'live'");
    assert!(
        none.starts_with("the event has no camera; add [[cameras]]"),
        "{none}"
    );
    let sound = wrong(&format!("sound = 'nroth'\n{LEAST}"));
    assert_eq!(
        sound,
        "line 1, column 9: the sound comes from `nroth`, which is no camera of this event; did you mean `north`?"
    );
    let long = wrong(&format!("retention_secs = 3601\n{LEAST}"));
    assert!(
        long.starts_with("line 1, column 18: retention_secs is 3601: expected 0 to 3600"),
        "{long}"
    );
}

#[test]
fn a_camera_that_is_wrong_is_named() {
    more(
        "[[cameras]]\nname = 'north'\nposition = [1, 1, 1]",
        "line 7, column 8: there is a camera `north` already",
    );
    more(
        "look_at = [0, 0, 0]\nyaw_degrees = 5",
        "line 6, column 11: camera `north` has two directions; write either",
    );
    more(
        "pitch_degrees = 5",
        "line 6, column 17: camera `north` has a pitch but no yaw",
    );
    more(
        "look_at = [0, 20, 3]",
        "line 5, column 12: camera `north` stands where it looks at; move it",
    );
    more(
        "pitch_degrees = 91",
        "line 6, column 17: the pitch is 91: expected -90 to 90",
    );
    more(
        "field_of_view_degrees = 0",
        "line 6, column 25: the field of view is 0: expected 1 to 179",
    );
    more(
        "[[cameras]]\nname = 'n'\nposition = [1, 1]",
        "line 8, column 12: invalid length 2",
    );
    more(
        "[[cameras]]\nname = 'n'\nposition = [1e9, 1, 1]",
        "line 8, column 12: [1000000000, 1, 1] is not a point",
    );
    more("directoin = 5", "line 6, column 1: unknown key `directoin`");
}

#[test]
fn renditions_and_codecs_that_are_wrong_are_named() {
    let rendition =
        |name| format!("[[renditions]]\nname = '{name}'\nheight = 240\nbitrate_kbps = 300\n");
    more(
        &rendition("source"),
        "line 7, column 8: the name `source` is taken",
    );
    more(
        &rendition("low").repeat(2),
        "line 11, column 8: there is a rendition `low` already",
    );
    more(
        &rendition("low").replace("300", "3"),
        "line 9, column 16: the bitrate in kbit/s is 3: expected 50 to 50000",
    );
    more(
        &rendition("low").replace("240", "241"),
        "line 8, column 10: the height is 241: video needs even numbers, so 240 would do",
    );
    more(
        "[ingest]\nvideo = ['h265']",
        "line 7, column 10: unknown value `h265`; did you mean `h264`?",
    );
    more(
        "[ingest]\nvideo = []",
        "line 7, column 9: no codec of pictures is allowed",
    );
}

#[track_caller]
fn more(more: &str, expected: &str) {
    let error = Manifest::read(&format!("{LEAST}{more}"))
        .unwrap_err()
        .to_string();
    assert!(error.starts_with(expected), "{error}");
}
