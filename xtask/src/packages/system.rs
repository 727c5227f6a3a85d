//! The system we are on, and what is on it.

use std::fs;
use std::path::Path;

use anyhow::ensure;

use super::{Installer, Tool};
use crate::shell;

/// What a system calls its packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Debian,
    Ubuntu,
    Fedora,
    Arch,
    Other,
}

/// The system we are on.
pub(crate) struct System {
    family: Family,
    is_root: bool,
}

impl System {
    pub(crate) fn detect() -> anyhow::Result<Self> {
        ensure!(cfg!(target_os = "linux"), "Selvedge runs on Linux");
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let id = shell::output("id", &["-u"]).unwrap_or_default();
        Ok(Self {
            family: family(&release),
            is_root: id.trim() == "0",
        })
    }

    /// The packages that bring these, each once.
    pub(crate) fn packages(&self, missing: &[&Tool]) -> Vec<&'static str> {
        let mut packages = Vec::new();
        for tool in missing {
            for package in self.names(tool) {
                if !packages.contains(package) {
                    packages.push(*package);
                }
            }
        }
        packages
    }

    /// What a package can't mend, in words.
    pub(crate) fn notes(&self, missing: &[&Tool]) -> Vec<&'static str> {
        let lacks = |name| missing.iter().any(|it| it.name == name);
        let mut notes = Vec::new();
        if self.family == Family::Ubuntu && lacks("Chromium") {
            notes.push(
                "Ubuntu has Chromium as a snap only, which can't use the home that an app or a \
                 test gives it. Install Google Chrome instead: download \
                 https://dl.google.com/linux/direct/google-chrome-stable_current_amd64.deb and \
                 `sudo apt install ./google-chrome-stable_current_amd64.deb`",
            );
        }
        if lacks("Node.js 18 or later") && shell::which("node").is_some() {
            notes.push(
                "this Node.js is too old, or npm is missing; if your system has none newer take it \
                 from https://nodejs.org",
            );
        }
        notes
    }

    /// How packages are installed here, where we know how.
    pub(crate) fn installer(&self, packages: &[&'static str]) -> Option<Installer> {
        shell::which("apt-get")?;
        let rights = match self.is_root {
            true => vec![],
            false => vec!["sudo"],
        };
        Some(Installer {
            rights,
            packages: packages.to_vec(),
        })
    }

    fn names(&self, tool: &Tool) -> &'static [&'static str] {
        match self.family {
            Family::Ubuntu if tool.name == "Chromium" => &[],
            Family::Debian | Family::Ubuntu | Family::Other => tool.debian,
            Family::Fedora => tool.fedora,
            Family::Arch => tool.arch,
        }
    }
}

/// Whether a program or a file is there. `node>=18` asks for a major version.
pub(crate) fn find(sign: &str) -> bool {
    if sign.starts_with('/') {
        return Path::new(sign).exists();
    }
    let (program, least) = match sign.split_once(">=") {
        Some((program, least)) => (program, least.parse::<u32>().ok()),
        None => (sign, None),
    };
    let Some(path) = shell::which(program) else {
        return false;
    };
    if program.starts_with("chromium") && is_snap(&path) {
        return false;
    }
    let Some(least) = least else {
        return true;
    };
    let version = shell::output(program, &["--version"]).unwrap_or_default();
    let digits: String = version
        .chars()
        .skip_while(|it| !it.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse::<u32>().is_ok_and(|it| it >= least)
}

/// Whether apt's lists have all of these.
pub(crate) fn apt_knows(packages: &[&str]) -> bool {
    let mut arguments = vec!["show", "--no-all-versions"];
    arguments.extend(packages);
    shell::output("apt-cache", &arguments).is_some_and(|it| {
        let known = it.lines().filter(|it| it.starts_with("Package: ")).count();
        known >= packages.len()
    })
}

/// A script that starts a snap, or a link into where they are.
fn is_snap(path: &Path) -> bool {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if real.starts_with("/snap") || real.ends_with("usr/bin/snap") {
        return true;
    }
    let small = fs::metadata(&real).is_ok_and(|it| it.len() < 64 * 1024);
    small && fs::read_to_string(&real).is_ok_and(|it| it.contains("/snap/bin/"))
}

fn family(release: &str) -> Family {
    let value = |name: &str| {
        let line = release.lines().find_map(|it| it.strip_prefix(name))?;
        Some(line.trim_matches('"').to_owned())
    };
    let mut ids = value("ID=").unwrap_or_default();
    ids.push(' ');
    ids.push_str(&value("ID_LIKE=").unwrap_or_default());
    let known = |it| match it {
        "ubuntu" => Some(Family::Ubuntu),
        "debian" => Some(Family::Debian),
        "fedora" | "rhel" => Some(Family::Fedora),
        "arch" => Some(Family::Arch),
        _ => None,
    };
    ids.split(' ').find_map(known).unwrap_or(Family::Other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_told_by_their_own_words() {
        for (release, wanted) in [
            ("ID=debian\nVERSION_ID=\"12\"", Family::Debian),
            ("ID_LIKE=debian\nID=ubuntu", Family::Ubuntu),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"", Family::Ubuntu),
            (
                "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"",
                Family::Fedora,
            ),
            ("ID=manjaro\nID_LIKE=arch", Family::Arch),
            ("", Family::Other),
        ] {
            assert_eq!(family(release), wanted, "{release}");
        }
    }

    #[test]
    fn a_tool_is_found_by_program_file_or_version() {
        assert!(find("sh"));
        assert!(!find("no-such-program"));
        assert!(find("/etc/passwd"));
        assert!(!find("/no/such/file"));
    }
}
