//! Where settings come from, with a real process and real variables.
//!
//! A log filter that makes no sense is named in the complaint: that tells which one won.

use std::fs;
use std::path::Path;

use crate::run::{Ran, run_in};

const FILE: &str = "[center]\nlog = 'x=file'\n";

#[test]
fn flags_win_over_variables_over_the_file() {
    let home = tempfile::tempdir().unwrap();
    let variable = ("SELVEDGE_LOG", "x=variable");
    assert_wins(&center(home.path(), "--log x=flag", &[variable]), "flag");
    assert_wins(&center(home.path(), "", &[variable]), "variable");
    assert_wins(&center(home.path(), "", &[]), "file");
}

#[test]
fn what_is_wrong_in_the_file_is_named_with_its_place() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("selvedge.toml");
    fs::write(
        &file,
        "[center]\n\n[edge]\nlisten = '127.0.0.1:1'\njion = 'x'\n",
    )
    .unwrap();
    let args = format!("edge --config {}", file.display());
    let ran = run_in(home.path(), &args, &[]);
    assert_eq!(ran.code, 2);
    let wanted = format!("{}:5:1: unknown key `jion`", file.display());
    assert!(ran.stderr.contains(&wanted), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("hint: did you mean `join`?"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_file_that_is_named_must_exist() {
    let home = tempfile::tempdir().unwrap();
    let ran = run_in(home.path(), "center --config /nowhere/selvedge.toml", &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("/nowhere/selvedge.toml"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_variable_that_nobody_reads_is_named_with_the_nearest() {
    let home = tempfile::tempdir().unwrap();
    let ran = run_in(home.path(), "completion bash", &[("SELVEDGE_LISTE", "1")]);
    assert_eq!(ran.code, 0);
    let wanted = "nobody reads the variable SELVEDGE_LISTE; did you mean SELVEDGE_LISTEN?";
    assert!(ran.stderr.contains(wanted), "{}", ran.stderr);
}

#[test]
fn what_an_edge_must_be_told_is_asked_for() {
    let home = tempfile::tempdir().unwrap();
    let ran = run_in(home.path(), "edge --site berlin", &[]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("SELVEDGE_SITE_POSITION"),
        "{}",
        ran.stderr
    );
}

fn center(home: &Path, flags: &str, variables: &[(&str, &str)]) -> Ran {
    let file = home.join("selvedge.toml");
    fs::write(&file, FILE).unwrap();
    let args = format!("center --config {} {flags}", file.display());
    run_in(home, &args, variables)
}

#[track_caller]
fn assert_wins(ran: &Ran, winner: &str) {
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(
        ran.stderr.contains(&format!("`x={winner}`")),
        "{}",
        ran.stderr
    );
}
