//! Rules for source files.

use std::fs;
use std::path::{Path, PathBuf};

/// The most lines of a source file, beyond which nobody keeps it in mind.
const LINES_MAX: usize = 600;

/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[];

/// Where our own source files are.
const SOURCES: &[&str] = &["crates", "xtask", "console/js", "console/css", "tests"];

/// What is in there that is not ours.
const NOT_OURS: &[&str] = &["node_modules", "vendor", "target"];

/// Looks for `crate::other` in each top-level module of `src`.
pub(super) fn modules_know_only_the_model(
    src: &Path,
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    let lib = fs::read_to_string(src.join("lib.rs"))?;
    let modules: Vec<&str> = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();

    for module in &modules {
        let mut files = vec![src.join(module).with_extension("rs")];
        files.extend(below(&src.join(module))?);
        for file in files {
            let text = fs::read_to_string(&file)?;
            for other in modules.iter().filter(|it| *it != module) {
                if names_module(&text, other) {
                    faults.push(format!("logic::{module} may not use logic::{other}"));
                }
            }
        }
    }
    Ok(())
}

/// Whether a text has the path `crate::module`, not merely one that begins alike.
fn names_module(text: &str, module: &str) -> bool {
    let path = format!("crate::{module}");
    text.match_indices(&path).any(|(at, _)| {
        let next = text[at + path.len()..].chars().next();
        !next.is_some_and(|it| it.is_alphanumeric() || it == '_')
    })
}

pub(super) fn are_short_and_well_named(
    root: &Path,
    faults: &mut Vec<String>,
) -> anyhow::Result<()> {
    for source in SOURCES {
        for path in below(&root.join(source))? {
            let name = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .display()
                .to_string();
            let kind = path
                .extension()
                .and_then(|it| it.to_str())
                .unwrap_or_default();
            if !["rs", "js", "mjs", "css"].contains(&kind) {
                continue;
            }
            if path.ends_with("mod.rs") {
                faults.push(format!("{name}: write foo.rs beside foo/, not foo/mod.rs"));
            }
            let lines = fs::read_to_string(&path)?.lines().count();
            if lines > LINES_MAX && !LONG.iter().any(|(it, _)| *it == name) {
                faults.push(format!(
                    "{name} has {lines} lines, more than {LINES_MAX}: split it, or give a reason in LONG"
                ));
            }
        }
    }
    for (name, _) in LONG {
        let lines = fs::read_to_string(root.join(name)).map_or(0, |it| it.lines().count());
        if lines <= LINES_MAX {
            faults.push(format!("{name} is short or gone: take it out of LONG"));
        }
    }
    Ok(())
}

/// All files below a folder that are ours; none if there is no such folder.
fn below(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        if !dir.is_dir() {
            continue;
        }
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() {
                if !NOT_OURS.iter().any(|it| *it == name) {
                    dirs.push(path);
                }
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_by_its_whole_name() {
        assert!(names_module("use crate::rate::Rate;", "rate"));
        assert!(!names_module("use crate::rates;", "rate"));
        assert!(!names_module("use model::rate;", "rate"));
    }
}
