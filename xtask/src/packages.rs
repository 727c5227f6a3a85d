//! What this machine must have: what for, how it is found, and which package brings it.

mod system;

use anyhow::{bail, ensure};

use crate::shell;
use system::System;

/// What a package is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Compiling.
    Build,
    /// Running any app.
    Run,
    /// The demo apps.
    Demo,
    /// The tests.
    Test,
}

/// Whether something may be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Install {
    Yes,
    No,
}

/// Whether one can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Nothing works without it.
    Must,
    /// Something is left out without it.
    May,
}

/// One thing that is needed.
struct Tool {
    name: &'static str,
    why: &'static str,
    uses: &'static [Use],
    need: Need,
    /// Any of these programs or files shows that it is there; `a & b` wants both.
    signs: &'static [&'static str],
    debian: &'static [&'static str],
    fedora: &'static [&'static str],
    arch: &'static [&'static str],
}

const TOOLS: &[Tool] = &[
    Tool {
        name: "C++ compiler",
        why: "compiles the video encoder",
        uses: &[Use::Build],
        need: Need::Must,
        signs: &["c++", "g++", "clang++"],
        debian: &["g++"],
        fedora: &["gcc-c++"],
        arch: &["gcc"],
    },
    Tool {
        name: "CMake and make",
        why: "compile the sound encoder",
        uses: &[Use::Build],
        need: Need::Must,
        signs: &["cmake & make"],
        debian: &["cmake", "make"],
        fedora: &["cmake", "make"],
        arch: &["cmake", "make"],
    },
    Tool {
        name: NASM,
        why: "assembles the fast parts of the video encoder; without it each picture costs 2.5 times the processor",
        uses: &[Use::Build],
        need: Need::May,
        signs: &["nasm"],
        debian: &["nasm"],
        fedora: &["nasm"],
        arch: &["nasm"],
    },
    Tool {
        name: "Xvfb",
        why: "the screen that each app gets",
        uses: &[Use::Run, Use::Test],
        need: Need::Must,
        signs: &["Xvfb & xkbcomp"],
        debian: &["xvfb", "x11-xkb-utils"],
        fedora: &["xorg-x11-server-Xvfb", "xkbcomp"],
        arch: &["xorg-server-xvfb", "xorg-xkbcomp"],
    },
    Tool {
        name: "PulseAudio",
        why: "the sound of apps; without it they are silent",
        uses: &[Use::Run],
        need: Need::May,
        signs: &["pulseaudio"],
        debian: &["pulseaudio"],
        fedora: &["pulseaudio"],
        arch: &["pulseaudio"],
    },
    Tool {
        name: "PulseAudio and its tools",
        why: "the tests of sound",
        uses: &[Use::Test],
        need: Need::Must,
        signs: &["pulseaudio & pactl"],
        debian: &["pulseaudio", "pulseaudio-utils"],
        fedora: &["pulseaudio", "pulseaudio-utils"],
        arch: &["pulseaudio", "libpulse"],
    },
    Tool {
        name: "Crispy Doom and Freedoom",
        why: "the demo app doom",
        uses: &[Use::Demo, Use::Test],
        need: Need::May,
        signs: &["crispy-doom & /usr/share/games/doom/freedoom1.wad"],
        debian: &["crispy-doom", "freedoom"],
        fedora: &["crispy-doom", "freedoom"],
        arch: &["crispy-doom", "freedoom"],
    },
    Tool {
        name: "xterm and Openbox",
        why: "the demo app desktop",
        uses: &[Use::Demo],
        need: Need::May,
        signs: &["xterm & openbox"],
        debian: &["xterm", "openbox", "fonts-dejavu-core"],
        fedora: &["xterm", "openbox", "dejavu-sans-mono-fonts"],
        arch: &["xterm", "openbox", "ttf-dejavu"],
    },
    Tool {
        name: "xterm and Openbox",
        why: "the tests of running, showing and feeding apps",
        uses: &[Use::Test],
        need: Need::Must,
        signs: &["xterm & openbox"],
        debian: &["xterm", "openbox", "fonts-dejavu-core"],
        fedora: &["xterm", "openbox", "dejavu-sans-mono-fonts"],
        arch: &["xterm", "openbox", "ttf-dejavu"],
    },
    Tool {
        name: "Chromium",
        why: "the demo app browser",
        uses: &[Use::Demo],
        need: Need::May,
        signs: CHROMIUM,
        debian: &["chromium"],
        fedora: &["chromium"],
        arch: &["chromium"],
    },
    Tool {
        name: "Phosh",
        why: "the demo app phone",
        uses: &[Use::Demo],
        need: Need::May,
        signs: &["/usr/libexec/phosh & phoc & squeekboard & dbus-run-session"],
        debian: &[
            "phosh",
            "phoc",
            "squeekboard",
            "dbus-daemon",
            "dbus-user-session",
            "gnome-settings-daemon-common",
            "gnome-calculator",
            "adwaita-icon-theme",
            "librsvg2-common",
        ],
        fedora: &["phosh", "phoc", "squeekboard", "dbus-daemon"],
        arch: &["phosh", "phoc", "squeekboard", "dbus"],
    },
    Tool {
        name: "ffmpeg",
        why: "encodes and publishes the demo event arena",
        uses: &[Use::Demo],
        need: Need::May,
        signs: &["ffmpeg"],
        debian: &["ffmpeg"],
        fedora: &["ffmpeg-free"],
        arch: &["ffmpeg"],
    },
    Tool {
        name: "ffmpeg and ffprobe",
        why: "the tests of publishing live events, as cameras and encoders do it",
        uses: &[Use::Test],
        need: Need::Must,
        signs: &["ffmpeg & ffprobe"],
        debian: &["ffmpeg"],
        fedora: &["ffmpeg-free"],
        arch: &["ffmpeg"],
    },
    Tool {
        name: "Chromium",
        why: "the browser tests",
        uses: &[Use::Test],
        need: Need::Must,
        signs: CHROMIUM,
        debian: &["chromium"],
        fedora: &["chromium"],
        arch: &["chromium"],
    },
    Tool {
        name: "Node.js 18 or later",
        why: "drives the browser in tests and checks the types of the console",
        uses: &[Use::Test],
        need: Need::Must,
        signs: &["node>=18 & npm"],
        debian: &["nodejs", "npm"],
        fedora: &["nodejs", "npm"],
        arch: &["nodejs", "npm"],
    },
];

/// The assembler, and the crate that is slow without it.
const NASM: &str = "nasm";
const ENCODER: &str = "openh264-sys2";

/// Where a Chromium may be that is not confined: see [`System::find`].
const CHROMIUM: &[&str] = &[
    "chromium",
    "google-chrome-stable",
    "google-chrome",
    "chromium-browser",
];

/// Sees to it that what these uses need is there. What one can do without is installed too, if
/// that is allowed.
///
/// # Errors
/// When something is missing that nothing works without.
pub(crate) fn provide(uses: &[Use], install: Install) -> anyhow::Result<()> {
    let system = System::detect()?;
    let missing = missing(uses);
    if missing.is_empty() {
        eprintln!("nothing is missing");
        return Ok(());
    }
    for tool in &missing {
        eprintln!("missing: {} ({})", tool.name, tool.why);
    }
    let packages = system.packages(&missing);
    for note in system.notes(&missing) {
        eprintln!("note: {note}");
    }
    match (install, system.installer(&packages)) {
        (_, Some(_)) if packages.is_empty() => {}
        (Install::Yes, Some(installer)) => installer.install(&missing_names(&missing))?,
        (Install::No, Some(installer)) => {
            eprintln!("to install it:\n\n    {}\n", installer.line());
        }
        (_, None) => {
            let packages = packages.join(" ");
            eprintln!("install with your system's package manager: {packages}");
        }
    }
    encoder_anew(&missing)?;
    let still: Vec<_> = missing.into_iter().filter(|it| !it.is_there()).collect();
    for tool in still.iter().filter(|it| it.need == Need::May) {
        left_out(tool);
    }
    let needed: Vec<&str> = still
        .iter()
        .filter(|it| it.need == Need::Must)
        .map(|it| it.name)
        .collect();
    ensure!(
        needed.is_empty(),
        "this does not work without {}; install what is named above and try again",
        needed.join(", ")
    );
    Ok(())
}

/// What was built while there was no nasm is slow; cargo can't know that there is one now.
fn encoder_anew(missing: &[&Tool]) -> anyhow::Result<()> {
    let came = missing.iter().any(|it| it.name == NASM && it.is_there());
    for (profile, flag) in [("debug", None), ("release", Some("--release"))] {
        if came && shell::built(profile).exists() {
            let mut clean = shell::cargo(["clean", "--package", ENCODER]);
            shell::succeeds(clean.args(flag))?;
        }
    }
    Ok(())
}

/// Says what is missing and goes on.
pub(crate) fn warn_of_missing(uses: &[Use]) {
    for tool in missing(uses) {
        left_out(tool);
    }
}

fn missing(uses: &[Use]) -> Vec<&'static Tool> {
    TOOLS
        .iter()
        .filter(|it| it.uses.iter().any(|it| uses.contains(it)) && !it.is_there())
        .collect()
}

fn missing_names(missing: &[&Tool]) -> String {
    let names: Vec<&str> = missing.iter().map(|it| it.name).collect();
    names.join(", ")
}

fn left_out(tool: &Tool) {
    if tool.name == NASM {
        eprintln!(
            "\n  ****  WARNING: nasm is missing, so the video encoder is built without SIMD.  ****\n\
             \x20 ****  Pictures will cost 2.5 times the processor. To mend it: install nasm,  ****\n\
             \x20 ****  then `cargo clean -p openh264-sys2 --release` and build again.         ****\n"
        );
    } else {
        eprintln!("left out: {} ({})", tool.name, tool.why);
    }
}

impl Tool {
    fn is_there(&self) -> bool {
        self.signs
            .iter()
            .any(|sign| sign.split(" & ").all(system::find))
    }
}

/// A way to install packages on this machine.
struct Installer {
    /// What to put before a command that needs rights.
    rights: Vec<&'static str>,
    packages: Vec<&'static str>,
}

impl Installer {
    /// What one would type.
    fn line(&self) -> String {
        let mut words = self.rights.clone();
        words.extend(["apt-get", "install", "--no-install-recommends"]);
        words.extend(&self.packages);
        words.join(" ")
    }

    fn install(&self, names: &str) -> anyhow::Result<()> {
        shell::say(&format!("installing {names}\n    {}", self.line()));
        // Old lists name versions that are gone, and fresh machines have no lists at all; but
        // fetching them takes long, so not unless it must be.
        if system::apt_knows(&self.packages) && self.apt(&self.install_words())? {
            return Ok(());
        }
        self.apt(&["update".to_owned()])?;
        let (known, unknown): (Vec<_>, Vec<_>) = self
            .packages
            .iter()
            .partition(|it| system::apt_knows(&[**it]));
        for package in unknown {
            eprintln!("this system has no package {package}");
        }
        let known = Self {
            rights: self.rights.clone(),
            packages: known,
        };
        if known.packages.is_empty() || known.apt(&known.install_words())? {
            return Ok(());
        }
        bail!("apt-get failed; see above");
    }

    fn install_words(&self) -> Vec<String> {
        ["install", "--yes", "--no-install-recommends"]
            .iter()
            .chain(&self.packages)
            .map(|it| (*it).to_owned())
            .collect()
    }

    fn apt(&self, arguments: &[String]) -> anyhow::Result<bool> {
        let mut words = self.rights.iter().chain(&["apt-get"]);
        let program = words.next().expect("at least apt-get");
        let mut command = std::process::Command::new(program);
        command
            .args(words)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        shell::succeeds(&mut command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_this_very_test_is_found() {
        let missing = missing(&[Use::Build]);
        let names: Vec<&str> = missing
            .iter()
            .filter(|it| it.need == Need::Must)
            .map(|it| it.name)
            .collect();
        assert!(names.is_empty(), "{names:?}");
    }

    #[test]
    fn every_tool_can_be_found_and_installed() {
        for tool in TOOLS {
            for sign in tool.signs.iter().flat_map(|it| it.split(" & ")) {
                assert!(sign.starts_with(|it: char| it.is_alphabetic() || it == '/'));
            }
            for packages in [tool.debian, tool.fedora, tool.arch] {
                assert!(!packages.is_empty(), "{}", tool.name);
            }
        }
    }
}
