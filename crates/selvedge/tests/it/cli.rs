//! Commands that ask a center: what they print, what they ask, how they end.

use std::fs;

use serde_json::{Value, json};

use crate::fake::FakeCenter;
use crate::run::{Ran, run, run_in};

#[test]
fn lists_are_tables_for_people_and_the_answer_for_programs() {
    let sites =
        json!({"items": [site("frankfurt", "Frankfurt", 3), site("sao-paulo", "São Paulo", 12)]});
    let center = FakeCenter::start(vec![("GET /v1/sites", 200, sites.to_string())]);
    let ran = ask(&center, "site list");
    assert_eq!(
        ran.stdout,
        "SITE       TITLE      STATE  LOAD  SESSIONS  NODES\n\
         frankfurt  Frankfurt  up     25 %         3  a1\n\
         sao-paulo  São Paulo  up     25 %        12  a1\n"
    );
    let ran = ask(&center, "--json site list");
    assert_eq!(json_of(&ran), sites);
    assert_eq!(ran.stderr, "");
    assert_eq!(center.asked()[0], "GET /v1/sites [secret] ");
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let refusal = json!({"error": {
        "code": "unauthorized", "message": "this needs a token", "hint": "give one by --token"
    }});
    let center = FakeCenter::start(vec![
        ("GET /v1/nodes", 401, refusal.to_string()),
        ("GET /v1/apps", 200, "<html>".into()),
    ]);
    let ran = ask(&center, "node list");
    assert_eq!(ran.code, 4);
    assert_eq!(
        ran.stderr,
        "selvedge: this needs a token\nhint: give one by --token\n"
    );
    assert_eq!(ask(&center, "session show 4f2a").code, 3);
    assert_eq!(ask(&center, "session show nonsense").code, 2);
    assert_eq!(ask(&center, "app list").code, 1);
    assert_eq!(run("frobnicate").code, 2);

    let ran = run("status --center 127.0.0.1:1");
    assert_eq!(ran.code, 5);
    assert!(
        ran.stderr.contains("hint: is it running?"),
        "{}",
        ran.stderr
    );
    let ran = run("status");
    assert_eq!(ran.code, 5);
    assert!(
        ran.stderr.contains("start `selvedge dev`"),
        "{}",
        ran.stderr
    );
    for ran in [run("--help"), run("--version")] {
        assert_eq!(ran.code, 0);
    }
}

#[test]
fn the_center_that_runs_here_is_found() {
    let center = FakeCenter::start(vec![("GET /v1/sites", 200, r#"{"items":[]}"#.into())]);
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state/selvedge");
    fs::create_dir_all(&state).unwrap();
    let announce = |pid: u32| {
        let current = json!({
            "center": format!("http://{}", center.address), "token": "found", "pid": pid
        });
        fs::write(state.join("current.json"), current.to_string()).unwrap();
    };
    announce(std::process::id());
    assert_eq!(run_in(home.path(), "site list", &[]).code, 0);
    assert_eq!(center.asked(), ["GET /v1/sites [found] "]);
    // The token is for that center only.
    let elsewhere = FakeCenter::start(Vec::new());
    let args = format!("site list --center {}", elsewhere.address);
    assert_eq!(run_in(home.path(), &args, &[]).code, 3);
    assert_eq!(elsewhere.asked(), ["GET /v1/sites [] "]);
    // The file of somebody who was killed.
    announce(u32::MAX);
    assert_eq!(run_in(home.path(), "site list", &[]).code, 5);
}

#[test]
fn a_wrong_manifest_is_refused_here_with_place_and_remedy() {
    let center = FakeCenter::start(Vec::new());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("selvedge.toml");
    fs::write(&file, "name = 'x'\nkind = 'stream'\ncomand = ['xterm']\n").unwrap();
    for path in [dir.path(), &file] {
        let ran = ask(&center, &format!("app deploy {}", path.display()));
        assert_eq!(ran.code, 2);
        assert_eq!(
            ran.stderr,
            format!(
                "selvedge: {}:3:1: unknown key `comand`\nhint: did you mean `command`?\n",
                file.display()
            )
        );
    }
    assert_eq!(center.asked(), [""; 0]);
    assert_eq!(ask(&center, "app deploy /nowhere").code, 1);
}

#[test]
fn a_right_manifest_is_sent_as_it_stands() {
    let text = "name = 'demo' # mine\nkind = 'stream'\ncommand = ['xterm']\n";
    let center = FakeCenter::start(vec![("POST /v1/apps", 200, app(text).to_string())]);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("selvedge.toml"), text).unwrap();
    let ran = ask(&center, &format!("app deploy {}", dir.path().display()));
    assert_eq!(ran.stdout, "deployed demo release 2\n", "{}", ran.stderr);
    let asked = &center.asked()[0];
    let body = asked.strip_prefix("POST /v1/apps [secret] ").unwrap();
    let sent: Value = serde_json::from_str(body).unwrap();
    assert_eq!(sent, json!({"manifest": text}));
}

#[test]
fn a_session_moves_to_a_place_by_name() {
    let places = json!({"items": [
        {"name": "Berlin", "network": "dev:berlin", "position": {"lat": 52.5, "lon": 13.4}},
    ]});
    let entry = json!({
        "site": "frankfurt", "node": "a1", "address": "127.0.0.1:1", "websocket": "ws://x/moq"
    });
    let ticket = json!({
        "session": "4f2a", "epoch": 2, "app": "doom", "host_site": "frankfurt", "entry": entry,
        "token": "t", "expires_unix_ms": 0, "round_trip_ms": 14.5
    });
    let renewed = json!({"ticket": ticket, "outcome": "restarted", "why": "Frankfurt is nearer"});
    let center = FakeCenter::start(vec![
        ("GET /v1/places", 200, places.to_string()),
        ("POST /v1/sessions/4f2a/move", 200, renewed.to_string()),
    ]);
    let ran = ask(&center, "session move 4f2a --place berlin --mode restart");
    assert_eq!(
        ran.stdout,
        "starts anew elsewhere: runs at frankfurt, enters at frankfurt\nFrankfurt is nearer\n",
        "{}",
        ran.stderr
    );
    let asked = center.asked();
    let body = asked[1].rsplit("] ").next().unwrap();
    let sent: Value = serde_json::from_str(body).unwrap();
    assert_eq!(sent["mode"], "restart");
    assert_eq!(sent["terminal"]["network"], "dev:berlin");
    let ran = ask(&center, "session move 4f2a --place Berlim");
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("did you mean Berlin?"),
        "{}",
        ran.stderr
    );
    assert_eq!(json_of(&ask(&center, "session move 4f2a --json")), renewed);
}

#[test]
fn every_answer_is_one_json_document() {
    let status = json!({
        "version": "0.1.0", "started_unix_ms": 0, "sites": 3, "nodes_ready": 2, "nodes": 3,
        "apps": 1, "sessions": 0, "revision": 7, "warnings": ["one node is silent"]
    });
    let explain = json!({"decisions": [{
        "decided_unix_ms": 0, "cause": "the terminal came", "site": "frankfurt", "node": "a1",
        "why": "the nearest", "passed": [{"site": "shanghai", "node": "b2", "why": "too far"}]
    }]});
    let token = json!({"token": "j", "expires_unix_ms": 0});
    let logs = json!({"lines": ["one", "two"]});
    let center = FakeCenter::start(vec![
        ("GET /v1/status", 200, status.to_string()),
        ("GET /v1/sessions/4f2a/explain", 200, explain.to_string()),
        ("GET /v1/sessions/4f2a/logs", 200, logs.to_string()),
        ("DELETE /v1/sessions/4f2a", 204, String::new()),
        ("DELETE /v1/apps/doom", 204, String::new()),
        ("POST /v1/join-tokens", 200, token.to_string()),
    ]);
    for (command, wanted, words) in [
        ("status", status, "nodes     2 of 3 ready"),
        ("explain 4f2a", explain, "  shanghai  b2    too far"),
        ("session logs 4f2a", logs, "one\ntwo\n"),
        (
            "session close 4f2a",
            json!({"closed": "4f2a"}),
            "closed 4f2a",
        ),
        (
            "app remove doom",
            json!({"removed": "doom"}),
            "removed doom",
        ),
        ("node token", token, "j\n"),
    ] {
        let ran = ask(&center, &format!("{command} --json"));
        assert_eq!(json_of(&ran), wanted, "{command}");
        assert_eq!(ran.stderr, "", "{command}");
        let ran = ask(&center, command);
        assert!(ran.stdout.contains(words), "{command}: {}", ran.stdout);
    }
}

#[test]
fn completion_is_there_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&format!("completion {shell}"));
        assert_eq!(ran.code, 0, "{shell}");
        assert!(ran.stdout.contains("session"), "{shell}");
    }
}

fn ask(center: &FakeCenter, args: &str) -> Ran {
    let home = tempfile::tempdir().unwrap();
    let variables = [
        ("SELVEDGE_CENTER", center.address.as_str()),
        ("SELVEDGE_TOKEN", "secret"),
    ];
    run_in(home.path(), args, &variables)
}

fn json_of(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout.lines().count(), 1);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn site(name: &str, title: &str, sessions: u32) -> Value {
    json!({
        "name": name, "title": title, "position": {"lat": 1.0, "lon": 2.0}, "nodes": ["a1"],
        "up": true, "sessions": sessions, "load": 0.25
    })
}

fn app(manifest: &str) -> Value {
    let manifest = model::Manifest::read(manifest).unwrap();
    json!({
        "name": "demo", "sites": [], "sessions": 0,
        "release": {"number": 2, "manifest": manifest, "created_unix_ms": 0}
    })
}
