//! The demo apps: their manifests are part of this program, so that it works anywhere.

use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};
use model::Manifest;

static APPS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../apps");

/// A line of a manifest that names the Debian packages its program comes from.
const PACKAGES: &str = "# Debian:";

/// Where a node looks for programs that are named without a path, besides our own directory.
const PROGRAM_PATH: &str =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games";

/// A demo app.
#[derive(Clone, Debug)]
pub(super) struct Demo {
    pub(super) manifest: Manifest,
    /// As it stands in the repository.
    pub(super) text: &'static str,
    packages: Vec<&'static str>,
}

impl Demo {
    /// What this machine lacks for it, in words with what to do; `None` if it can run.
    pub(super) fn lack(&self) -> Option<Lack> {
        let requires: Vec<&str> = match &self.manifest {
            Manifest::Stream(stream) => stream.requires.iter().map(String::as_str).collect(),
            // Its cameras are ours, and send by it.
            Manifest::Live(_) => vec!["ffmpeg"],
        };
        let missing: Vec<&str> = requires.into_iter().filter(|it| !exists(it)).collect();
        if missing.is_empty() {
            return None;
        }
        let install =
            (!self.packages.is_empty()).then(|| format!("apt install {}", self.packages.join(" ")));
        Some(Lack {
            why: format!("{} not installed", missing.join(", ")),
            install,
        })
    }
}

/// Why a demo app is not offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lack {
    pub(super) why: String,
    /// The command that mends it.
    pub(super) install: Option<String>,
}

/// All demo apps, by name.
pub(super) fn all() -> Vec<Demo> {
    let mut demos: Vec<Demo> = APPS.dirs().filter_map(demo).collect();
    demos.sort_by(|a, b| a.manifest.name().cmp(b.manifest.name()));
    demos
}

fn demo(dir: &'static Dir<'static>) -> Option<Demo> {
    let file = dir.get_file(dir.path().join("selvedge.toml"))?;
    let text = file
        .contents_utf8()
        .expect("manifests are text: a test reads them all");
    let packages = text.lines().find_map(|line| line.strip_prefix(PACKAGES));
    Some(Demo {
        manifest: Manifest::read(text).expect("manifests are right: a test reads them all"),
        text,
        packages: packages.unwrap_or_default().split_whitespace().collect(),
    })
}

/// A path, or a program by its name.
fn exists(required: &str) -> bool {
    if required.contains('/') {
        return Path::new(required).exists();
    }
    let beside_us = std::env::current_exe().ok();
    let beside_us = beside_us.as_deref().and_then(Path::parent);
    PROGRAM_PATH
        .split(':')
        .map(PathBuf::from)
        .chain(beside_us.map(Path::to_owned))
        .any(|dir| dir.join(required).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manifest_is_right_and_says_where_its_program_comes_from() {
        let demos = all();
        assert_eq!(demos.len(), APPS.dirs().count(), "a folder has no manifest");
        for demo in demos {
            let name = demo.manifest.name();
            assert!(demo.manifest.access().public, "{name}");
            let Some(stream) = demo.manifest.stream() else {
                continue;
            };
            assert!(!stream.requires.is_empty(), "{name}");
            let ours = stream.command[0].starts_with("selvedge-");
            assert!(ours || !demo.packages.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_named_with_the_packages() {
        let mut demos = all().into_iter();
        let mut demo = demos.find(|it| it.manifest.stream().is_some()).unwrap();
        let mut require = |files: &[&str]| {
            let Manifest::Stream(stream) = &mut demo.manifest else {
                panic!("it was a program just now");
            };
            stream.requires = files.iter().map(ToString::to_string).collect();
            demo.lack()
        };
        assert_eq!(require(&["/bin/sh", "sh"]), None);
        require(&["/bin/sh", "/nowhere/game"]);
        demo.packages = vec!["game", "game-data"];
        let lack = demo.lack().unwrap();
        assert_eq!(lack.why, "/nowhere/game not installed");
        assert_eq!(lack.install.as_deref(), Some("apt install game game-data"));
    }
}
