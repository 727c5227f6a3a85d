//! From a key to a decoded picture, and everything that may happen on the way.

use std::time::{Duration, Instant};

use logic::cadence::SHARP;
use logic::content::Mode;
use logic::rate::{FrameRate, Scale};
use model::Bitrate;
use model::input::{InputEvent, InputSeq};
use model::manifest::Content;
use render::Authority;
use render::input::set_layout;
use render::picture::Size;
use render::pipeline::{Pipeline, PipelineError};
use x11rb::protocol::xproto::ConnectionExt as _;

use crate::support::app::{App, EVEN, ODD};
use crate::support::{QUIET, Viewer, Xvfb, config, eventually};

const HD: Size = Size::new(1280, 720);

fn key(seq: u32, down: bool) -> InputEvent {
    InputEvent::Key {
        seq: InputSeq(seq),
        code: "KeyA".into(),
        down,
    }
}

#[test]
fn a_key_turns_up_in_the_decoded_picture_with_its_number() {
    let xvfb = Xvfb::start(HD);
    let _app = App::start(&xvfb.display);
    let mut viewer = Viewer::start(config(&xvfb.display));
    viewer.handle.resume();
    let first = viewer.next();
    assert!(first.keyframe, "a stream begins with a keyframe");
    viewer.until(|_, picture| picture.shows(640, 360, EVEN));

    for (seq, colour) in [(1, ODD), (3, EVEN), (5, ODD)] {
        viewer
            .handle
            .input(vec![key(seq, true), key(seq + 1, false)]);
        let frame = viewer.until(|_, picture| picture.shows(640, 360, colour));
        assert_eq!(frame.input_seq, InputSeq(seq + 1));
        assert!(frame.encode_time < Duration::from_secs(1));
    }
    viewer.handle.release_all();
    viewer.handle.input(vec![key(1, true), key(2, false)]);
    let frame = viewer.until(|_, picture| picture.shows(640, 360, EVEN));
    assert_eq!(frame.input_seq, InputSeq(2), "another terminal counts anew");
}

#[test]
fn a_resting_screen_gives_nothing_and_a_moving_pointer_no_picture() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let mut viewer = Viewer::start(config(&xvfb.display));
    assert_eq!(viewer.until_quiet(), 0, "paused from the start");
    viewer.handle.resume();
    viewer.until_quiet();
    for step in 1..=10_u8 {
        let at = f32::from(step) / 20.0;
        viewer.handle.input(vec![InputEvent::Move {
            seq: InputSeq(step.into()),
            x: at,
            y: at,
        }]);
    }
    eventually("the pointer moves", || {
        let pointer = app.connection.query_pointer(app.window).unwrap();
        (pointer.reply().unwrap().win_x == 640).then_some(())
    });
    assert_eq!(viewer.until_quiet(), 0, "the terminal draws the cursor");

    viewer.handle.pause();
    app.fill(0, 0, 1280, 720, ODD);
    assert_eq!(viewer.until_quiet(), 0, "paused");
    viewer.handle.resume();
    assert!(viewer.next().keyframe);
    viewer.until(|_, picture| picture.shows(100, 100, ODD));
}

#[test]
fn a_keyframe_comes_when_asked_for_even_from_a_resting_screen() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let mut viewer = Viewer::start(config(&xvfb.display));
    viewer.handle.resume();
    viewer.until_quiet();
    for _ in 0..5 {
        viewer.handle.request_keyframe();
    }
    assert!(viewer.next().keyframe);
    let more = (0..).map_while(|_| viewer.next_within(Duration::from_millis(600)));
    let keyframes = more.filter(|frame| frame.keyframe).count();
    assert!(
        keyframes <= 1,
        "{keyframes} more for requests of one moment"
    );
    assert!(viewer.shown.as_ref().unwrap().shows(640, 360, EVEN));

    app.fill(600, 300, 80, 80, ODD);
    let frame = viewer.until(|_, picture| picture.shows(640, 340, ODD));
    assert!(!frame.keyframe, "a small change is a small frame");
    assert!(frame.data.len() < 4_000, "{} bytes", frame.data.len());
}

#[test]
fn the_size_of_the_screen_is_followed() {
    let xvfb = Xvfb::start(Size::new(1600, 900));
    let app = App::start(&xvfb.display);
    app.set_screen(1280, 720);
    let mut viewer = Viewer::start(config(&xvfb.display));
    assert_eq!(*viewer.outputs.size.borrow(), HD);
    viewer.handle.resume();
    let first = viewer.next();
    assert_eq!((first.size, first.keyframe), (HD, true));

    for (wanted, given) in [
        ((1000, 700), Size::new(1000, 700)),
        ((1600, 900), Size::new(1600, 900)),
        ((801, 601), Size::new(800, 600)),
        ((360, 720), Size::new(360, 720)),
        ((1280, 720), HD),
    ] {
        app.set_screen(wanted.0, wanted.1);
        let frame = viewer.until(|frame, _| frame.size == given);
        assert!(frame.keyframe, "another size begins anew");
        assert_eq!(*viewer.outputs.size.borrow(), given);
        app.resize(given.width(), given.height());
        app.fill(0, 0, given.width(), given.height(), ODD);
        let (right, bottom) = (given.width() - 4, given.height() - 4);
        viewer.until(|_, picture| picture.shows(right.into(), bottom.into(), ODD));
        app.fill(0, 0, given.width(), given.height(), EVEN);
        // Positions are parts of the screen as it is now.
        viewer.handle.input(vec![InputEvent::Move {
            seq: InputSeq(1),
            x: 1.0,
            y: 1.0,
        }]);
        eventually("the pointer in the corner", || {
            let pointer = app.connection.query_pointer(app.window).unwrap();
            let pointer = pointer.reply().unwrap();
            let corner = (given.width() - 1, given.height() - 1);
            let at = (pointer.win_x.cast_unsigned(), pointer.win_y.cast_unsigned());
            (at == corner).then_some(())
        });
    }
}

/// Between two sizes the server refuses to copy what is no longer there.
#[test]
fn a_screen_that_does_not_settle_is_no_end() {
    let xvfb = Xvfb::start(Size::new(1600, 900));
    let app = App::start(&xvfb.display);
    let mut viewer = Viewer::start(config(&xvfb.display));
    viewer.handle.resume();
    viewer.next();
    for round in 0..40_u16 {
        let side = 700 - round % 7 * 90;
        app.fill(0, 0, 1600, 900, u32::from(round) * 0x03_0507);
        app.set_screen(2 * side, side);
        while viewer.next_within(Duration::from_millis(2)).is_some() {}
    }
    app.set_screen(640, 480);
    viewer.until(|frame, _| frame.size == Size::new(640, 480));
}

#[test]
fn what_is_held_back_comes_at_once_and_is_no_keyframe() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let mut viewer = Viewer::start(config(&xvfb.display));
    viewer.handle.resume();
    viewer.until_quiet();
    viewer.handle.hold();
    app.fill(0, 0, 64, 64, ODD);
    assert_eq!(viewer.until_quiet(), 0, "held");
    app.fill(100, 0, 64, 64, ODD);
    viewer.handle.go();
    let frame = viewer.next();
    assert!(!frame.keyframe, "the stream goes on where it was");
    let picture = viewer.shown.as_ref().unwrap();
    assert!(picture.shows(32, 32, ODD) && picture.shows(132, 32, ODD));
    viewer.until_quiet();

    viewer.handle.hold();
    viewer.handle.request_keyframe();
    assert_eq!(viewer.until_quiet(), 0, "held, though somebody asks");
    viewer.handle.go();
    assert!(viewer.next().keyframe);
}

#[test]
fn pictures_are_scaled_down_on_demand() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let mut viewer = Viewer::start(config(&xvfb.display));
    app.fill(640, 0, 640, 720, ODD);
    viewer.handle.resume();
    for (scale, expected) in [
        (Scale::Half, Size::new(640, 360)),
        (Scale::ThreeQuarters, Size::new(960, 540)),
        (Scale::Full, HD),
    ] {
        viewer.handle.set_scale(scale);
        let frame = viewer.until(|frame, _| frame.size == expected);
        assert!(frame.keyframe);
        let picture = viewer.shown.as_ref().unwrap();
        let (middle, bottom) = (picture.width / 2, picture.height - 4);
        assert!(picture.shows(middle - 12, bottom, EVEN), "{scale:?} left");
        assert!(picture.shows(middle + 12, bottom, ODD), "{scale:?} right");
    }
}

#[test]
fn a_lower_bitrate_makes_smaller_frames() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let mut config = config(&xvfb.display);
    config.content = Content::Motion;
    config.bitrate = Bitrate::kbps(20_000);
    let mut viewer = Viewer::start(config);
    viewer.handle.resume();
    let mut seed = 0;
    let mut mean_of = |viewer: &mut Viewer, frames: usize| {
        let mut bytes = 0;
        for _ in 0..frames {
            seed += 7;
            app.scribble(seed);
            bytes += viewer.next().data.len();
        }
        bytes / frames
    };
    mean_of(&mut viewer, 10);
    let before = mean_of(&mut viewer, 30);
    viewer.handle.set_bitrate(Bitrate::kbps(2_000));
    mean_of(&mut viewer, 10);
    let after = mean_of(&mut viewer, 30);
    assert!(after * 2 < before, "{before} bytes, then {after}");
}

#[test]
fn frames_come_no_faster_than_the_rate() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let mut viewer = Viewer::start(config(&xvfb.display));
    viewer.handle.set_max_fps(FrameRate::fps(10));
    viewer.handle.resume();
    viewer.until_quiet();
    let start = Instant::now();
    let mut frames = 0;
    let mut colour = 0;
    while start.elapsed() < Duration::from_secs(2) {
        colour += 0x1003;
        app.fill(0, 0, 64, 64, colour);
        while viewer.next_within(Duration::from_millis(1)).is_some() {
            frames += 1;
        }
    }
    assert!((10..=24).contains(&frames), "{frames} in two seconds");
}

#[test]
fn a_slow_receiver_gets_the_newest_and_no_gap() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let mut viewer = Viewer::start(config(&xvfb.display));
    viewer.handle.resume();
    viewer.until_quiet();
    for colour in 0..100 {
        app.fill(0, 0, 64, 64, colour * 0x01_0203);
        std::thread::sleep(Duration::from_millis(10)); // an app that draws at its own pace
    }
    app.fill(0, 0, 64, 64, ODD);
    let mut frames = 0;
    // Every frame is decoded on the way, and the decoder complains about gaps.
    viewer.until(|_, picture| {
        frames += 1;
        picture.shows(32, 32, ODD)
    });
    assert!(frames <= 8, "{frames} frames waited");
}

#[test]
fn a_still_picture_gets_sharp_and_then_silent() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let mut config = config(&xvfb.display);
    config.bitrate = Bitrate::kbps(1_000);
    let mut viewer = Viewer::start(config);
    viewer.handle.resume();
    viewer.next();
    for seed in 0..20 {
        app.scribble(seed);
        viewer.next();
    }
    let blurred = viewer.until(|frame, _| frame.quantizer > 30);
    let mut quantizers = vec![blurred.quantizer];
    while let Some(frame) = viewer.next_within(QUIET) {
        quantizers.push(frame.quantizer);
    }
    assert_eq!(quantizers.last(), Some(&SHARP), "{quantizers:?}");
    assert!(quantizers.len() < 10, "{quantizers:?}");

    app.fill(100, 100, 12, 16, ODD);
    let letter = viewer.next();
    assert_eq!(letter.quantizer, SHARP, "a small change is sharp at once");
    assert_eq!(viewer.until_quiet(), 0, "and needs no more");
}

#[test]
fn the_mode_follows_what_the_screen_shows() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let mut config = config(&xvfb.display);
    config.content = Content::Auto;
    let mut viewer = Viewer::start(config);
    viewer.handle.resume();
    assert_eq!(viewer.next().mode, Mode::Text);
    let mut colour = 0;
    let frame = viewer.until(|frame, _| {
        colour += 0x02_0305;
        app.fill(0, 0, 1280, 720, colour & 0xff_ffff);
        frame.mode == Mode::Motion
    });
    assert!(frame.keyframe);
}

#[test]
fn the_cursor_comes_beside_the_picture() {
    let xvfb = Xvfb::start(HD);
    let app = App::start(&xvfb.display);
    let viewer = Viewer::start(config(&xvfb.display));
    viewer.handle.resume();
    let shape = || viewer.outputs.cursor.borrow().clone();
    let first = eventually("a first shape", shape);
    assert_eq!(
        first.rgba.len(),
        usize::from(first.width) * usize::from(first.height) * 4
    );
    viewer.handle.input(vec![InputEvent::Move {
        seq: InputSeq(1),
        x: 0.5,
        y: 0.5,
    }]);
    app.hide_cursor();
    eventually("a hidden cursor", || {
        shape().filter(|cursor| !cursor.visible)
    });
    app.show_cross();
    let cross = eventually("a visible cursor", || {
        shape().filter(|cursor| cursor.visible)
    });
    assert!(cross.hot_x > 0 && cross.hot_y > 0, "{cross:?}");
}

#[test]
fn the_end_is_told_with_its_cause() {
    let mut xvfb = Xvfb::start(HD);
    let viewer = Viewer::start(config(&xvfb.display));
    viewer.handle.resume();
    xvfb.kill();
    let ended = viewer.runtime.block_on(viewer.outputs.ended).unwrap();
    assert!(matches!(ended, Err(PipelineError::Screen(_))), "{ended:?}");

    let missing = Pipeline::start(config(&xvfb.display));
    assert!(matches!(missing, Err(PipelineError::Screen(_))));

    let xvfb = Xvfb::start(HD);
    let viewer = Viewer::start(config(&xvfb.display));
    viewer.handle.stop();
    let ended = viewer.runtime.block_on(viewer.outputs.ended).unwrap();
    assert!(ended.is_ok(), "{ended:?}");
    drop(viewer.handle);
    let viewer = Viewer::start(config(&xvfb.display));
    drop(viewer.handle);
    let ended = viewer.runtime.block_on(viewer.outputs.ended).unwrap();
    assert!(ended.is_ok(), "{ended:?}");
}

/// A server that wants a cookie, which our own environment does not have.
#[test]
fn a_guarded_server_is_reached_by_its_cookie_only() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = *b"sixteen letters!";
    let file = dir.path().join("authority");
    let name = b"MIT-MAGIC-COOKIE-1";
    // Any host, any display; each field with its length before.
    let mut entry = vec![0xff, 0xff, 0, 0, 0, 0, 0, 18];
    entry.extend_from_slice(name);
    entry.extend_from_slice(&[0, 16]);
    entry.extend_from_slice(&cookie);
    std::fs::write(&file, entry).unwrap();
    let xvfb = Xvfb::start_with(HD, &["-auth", file.to_str().unwrap()]);

    let stranger = Pipeline::start(config(&xvfb.display));
    assert!(matches!(stranger, Err(PipelineError::Screen(_))));
    let mut config = config(&xvfb.display);
    config.server.authority = Some(Authority { cookie, file });
    set_layout(&config.server, "de").unwrap();
    let mut viewer = Viewer::start(config);
    viewer.handle.resume();
    assert!(viewer.next().keyframe);
}
