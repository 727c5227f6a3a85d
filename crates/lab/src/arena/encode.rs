//! The ffmpeg that encodes, and files that are there whole or not at all.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use super::{ArenaError, FPS, GOP_FRAMES, SOUND_HZ, Settings};

/// How much of what ffmpeg said goes into an error, in bytes: its end tells why.
const SAID_MAX: usize = 600;

/// An ffmpeg that takes frames and makes a file of them. Dropped before [`Encoder::finish`], there
/// is no file.
#[derive(Debug)]
pub(super) struct Encoder {
    run: Run,
}

impl Encoder {
    /// Starts it. `sound` goes into the file as it is.
    pub(super) fn start(
        settings: &Settings,
        sound: &Path,
        path: &Path,
    ) -> Result<Self, ArenaError> {
        let rate = format!("{}k", settings.video_kbps);
        let buffer = format!("{}k", settings.video_kbps / 4);
        let size = format!("{}x{}", settings.width, settings.height);
        let (fps, gop) = (FPS.to_string(), GOP_FRAMES.to_string());
        let mut command = ffmpeg();
        command.args([
            "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-r", &fps,
        ]);
        command.args(["-i", "pipe:0", "-i"]).arg(sound);
        command.args(["-map", "0:v", "-map", "1:a", "-c:a", "copy"]);
        // Baseline without B-frames: what every browser takes by WebRTC too. One thread, so that
        // the same frames give the same file.
        command.args([
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-profile:v",
            "baseline",
        ]);
        command.args([
            "-threads",
            "1",
            "-g",
            &gop,
            "-keyint_min",
            &gop,
            "-sc_threshold",
            "0",
        ]);
        command.args([
            "-bf",
            "0",
            "-flags",
            "+cgop+bitexact",
            "-fflags",
            "+bitexact",
        ]);
        // A quarter of a second of buffer: keyframes are what a viewer who turns waits for.
        command.args(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &buffer]);
        command.args(["-color_primaries", "bt709", "-color_trc", "bt709"]);
        command.args(["-colorspace", "bt709", "-color_range", "tv"]);
        command.args([
            "-bsf:v",
            "dump_extra=freq=keyframe",
            "-bsf:a",
            "aac_adtstoasc",
            "-f",
            "flv",
        ]);
        Run::start(command, path).map(|run| Self { run })
    }

    /// Takes a frame.
    pub(super) fn write(&mut self, planes: &[u8]) -> Result<(), ArenaError> {
        self.run.write(planes)
    }

    /// Waits until the file is there.
    pub(super) fn finish(self) -> Result<(), ArenaError> {
        let run = self.run;
        let path = run.path.clone();
        let part = run.finish()?;
        fs::rename(&part, &path).map_err(file_error("name", &path))
    }
}

/// Encodes these samples, one after the other, as AAC in ADTS. Files lie beside `path` meanwhile.
pub(super) fn sound(samples: &[&[u8]], path: &Path) -> Result<Vec<u8>, ArenaError> {
    let hz = SOUND_HZ.to_string();
    let mut command = ffmpeg();
    command.args(["-f", "s16le", "-ar", &hz, "-ac", "2", "-i", "pipe:0"]);
    command.args([
        "-c:a",
        "aac",
        "-b:a",
        "96k",
        "-flags",
        "+bitexact",
        "-f",
        "adts",
    ]);
    let mut run = Run::start(command, path)?;
    for part in samples {
        run.write(part)?;
    }
    let part = run.finish()?;
    let adts = fs::read(&part).map_err(file_error("read", &part))?;
    fs::remove_file(&part).map_err(file_error("remove", &part))?;
    Ok(adts)
}

/// Writes a file so that it is never seen half written.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ArenaError> {
    let part = part_of(path);
    fs::write(&part, bytes).map_err(file_error("write", &part))?;
    fs::rename(&part, path).map_err(file_error("name", path))
}

/// Says what could not be done with which file.
pub(super) fn file_error(
    what: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> ArenaError {
    let path = path.to_owned();
    move |source| ArenaError::File { what, path, source }
}

/// Where a file is while it isn't whole.
pub(super) fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-y"]);
    command
}

/// A running ffmpeg. Ends with it, at the latest.
#[derive(Debug)]
struct Run {
    child: Child,
    input: Option<ChildStdin>,
    path: PathBuf,
    log: PathBuf,
}

impl Run {
    fn start(mut command: Command, path: &Path) -> Result<Self, ArenaError> {
        let mut log = path.as_os_str().to_owned();
        log.push(".log");
        let log = PathBuf::from(log);
        let said = File::create(&log).map_err(file_error("write", &log))?;
        command.arg(part_of(path));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(said);
        let mut child = command
            .spawn()
            .map_err(|source| ArenaError::NoFfmpeg { source })?;
        Ok(Self {
            input: child.stdin.take(),
            child,
            path: path.to_owned(),
            log,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArenaError> {
        let input = self.input.as_mut().expect("taken by finish only");
        // It fails when ffmpeg has ended, and that then says why.
        input
            .write_all(bytes)
            .map_err(|source| self.failure(source))
    }

    /// Waits for the end; what it made is where [`part_of`] says.
    fn finish(mut self) -> Result<PathBuf, ArenaError> {
        drop(self.input.take());
        let status = self
            .child
            .wait()
            .map_err(file_error("finish", &self.path))?;
        if !status.success() {
            return Err(self.said(status));
        }
        Ok(part_of(&self.path))
    }

    fn failure(&mut self, source: std::io::Error) -> ArenaError {
        match self.child.wait() {
            Ok(status) if !status.success() => self.said(status),
            _ => file_error("write", &self.path)(source),
        }
    }

    fn said(&self, status: std::process::ExitStatus) -> ArenaError {
        let said = fs::read(&self.log).unwrap_or_default();
        let end = &said[said.len().saturating_sub(SAID_MAX)..];
        ArenaError::Ffmpeg {
            file: self.path.display().to_string(),
            status,
            said: String::from_utf8_lossy(end).trim().to_owned(),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill(); // it may have ended by itself
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.log);
    }
}
