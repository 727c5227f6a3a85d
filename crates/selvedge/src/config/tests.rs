use clap::Parser;

use super::*;
use crate::settings::Layer as _;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    edge: EdgeSettings,
}

/// What an edge is told by flags and a file; variables are covered with a real process in `tests/`.
fn edge(flags: &str, file: &str) -> EdgeSettings {
    let words = std::iter::once("edge").chain(flags.split_whitespace());
    let flags = Flags::try_parse_from(words).unwrap().edge;
    let file: File = document::read(file).unwrap();
    flags.over(file.edge.unwrap_or_default())
}

#[test]
fn flags_win_over_the_file_and_leave_the_rest() {
    let file = "[edge]\ncenter = 'a:1'\nsite = 'berlin'\nsite_position = { lat = 1, lon = 2 }";
    let settings = edge("--center b:2 --site-position=-23.55,-46.63", file);
    assert_eq!(settings.center.as_deref(), Some("b:2"));
    assert_eq!(settings.site.unwrap().as_str(), "berlin");
    assert_eq!(settings.site_position, Position::new(-23.55, -46.63).ok());
    assert_eq!(settings.listen, None);
}

#[test]
fn lists_are_replaced_not_joined() {
    let file = "[[edge.endpoints]]\naddress = 'file:1'";
    assert_eq!(edge("", file).endpoints.unwrap()[0].address, "file:1");
    let flags = "--endpoints 26201=10.0.0.1:443,e.example:443";
    let endpoints = edge(flags, file).endpoints.unwrap();
    assert_eq!(endpoints.len(), 2);
    assert_eq!(endpoints[0].network.as_ref().unwrap().as_str(), "26201");
    assert_eq!(endpoints[1].network, None);
}

#[test]
fn amounts_are_whole_or_refused() {
    let settings = edge("--capacity cpu=1.5,memory=4GB,encoders=8", "");
    let capacity = settings.capacity.unwrap();
    assert_eq!(capacity.cpu_millis, 1_500);
    assert_eq!(capacity.memory.get(), 4_000_000_000);
    for wrong in ["", "cpu=1", "cpu=0,memory=1GB,encoders=1", "disk=3"] {
        assert!(parse::capacity(wrong).is_err(), "{wrong}");
    }
    for wrong in ["", "host", "host:0", "host:x", "é=host:1"] {
        assert!(parse::endpoint(wrong).is_err(), "{wrong}");
    }
    for wrong in ["", "1", "91,0", "north,east"] {
        assert!(parse::position(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn an_unknown_key_is_answered_with_place_and_nearest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("selvedge.toml");
    let wrong = |text: &str, end: &str| {
        std::fs::write(&path, text).unwrap();
        let error = read(Some(&path)).unwrap_err().to_string();
        assert!(error.ends_with(end), "{error}");
    };
    wrong(
        "[center]\nlisten = '127.0.0.1:1'\ndata_dri = 'x'",
        "selvedge.toml:3:1: unknown key `data_dri`",
    );
    wrong("[centre]", "selvedge.toml:1:2: unknown key `centre`");
    wrong("[edge]\nsite = 'São'", "starting with a letter");
}

#[test]
fn a_written_file_reads_back() {
    let file = File {
        center: None,
        edge: Some(edge(
            "--listen 127.0.0.1:5 --site x --site-position 1,2 --endpoints a=b:1 --log-format json",
            "",
        )),
    };
    let text = toml::to_string(&file).unwrap();
    let again: File = document::read(&text).unwrap();
    assert_eq!(format!("{again:?}"), format!("{file:?}"));
}
