//! From an app that plays to packets, through a real sound daemon.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use render::sound::{Packet, Recording, SoundError};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::support::{DEADLINE, QUIET, eventually};

const MONITOR: &str = "edge.monitor";

/// A sound daemon as the platform starts it.
struct Daemon {
    child: Child,
    dir: TempDir,
}

impl Daemon {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("native");
        let module = format!(
            "module-native-protocol-unix auth-anonymous=1 socket={}",
            socket.display()
        );
        let child = Command::new("pulseaudio")
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1"])
            .args(["--use-pid-file=no", "--realtime=no", "--high-priority=no"])
            .args(["-L", "module-null-sink sink_name=edge rate=48000"])
            .args(["-L", &module])
            .envs(
                ["XDG_CONFIG_HOME", "XDG_RUNTIME_DIR", "PULSE_STATE_PATH"]
                    .map(|name| (name, dir.path())),
            )
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pulseaudio is installed");
        eventually("the daemon's socket", || {
            std::os::unix::net::UnixStream::connect(&socket).ok()
        });
        Self { child, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("native")
    }

    /// Plays a tone of 1 kHz until dropped.
    fn play(&self) -> Player {
        let mut child = Command::new("pacat")
            .args(["--playback", "--raw", "--rate=48000", "--channels=2"])
            .args(["--format=s16le", "--latency-msec=20", "-s"])
            .arg(format!("unix:{}", self.socket().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("pacat is installed");
        let mut stdin = child.stdin.take().unwrap();
        // Writes block when the daemon has enough, and fail when the program is gone.
        std::thread::spawn(move || while std::io::Write::write_all(&mut stdin, &tone()).is_ok() {});
        Player(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Player(Child);

impl Drop for Player {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// 100 ms of a tone.
fn tone() -> Vec<u8> {
    let sample = |at: usize| {
        let angle = at as f32 / 48.0 * std::f32::consts::TAU;
        ((angle.sin() * 12_000.0) as i16).to_le_bytes()
    };
    (0..4800)
        .flat_map(|at| [sample(at), sample(at)].concat())
        .collect()
}

struct Listener {
    runtime: Runtime,
    recording: Recording,
}

impl Listener {
    fn start(daemon: &Daemon) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let socket = daemon.socket();
        let started = Recording::start(&socket, MONITOR);
        let recording = runtime.block_on(started).unwrap();
        Self { runtime, recording }
    }

    fn next_within(&mut self, time: Duration) -> Option<Packet> {
        let next = self.recording.next();
        let within = async { tokio::time::timeout(time, next).await };
        self.runtime
            .block_on(within)
            .ok()
            .map(|packet| packet.expect("the daemon runs"))
    }

    fn next(&mut self) -> Packet {
        self.next_within(DEADLINE).expect("a packet in time")
    }

    fn until_quiet(&mut self) {
        let end = Instant::now() + DEADLINE;
        while self.next_within(QUIET).is_some() {
            assert!(Instant::now() < end, "it never gets quiet");
        }
    }
}

#[test]
fn what_an_app_plays_comes_out_and_a_resting_sink_gives_nothing() {
    let daemon = Daemon::start();
    let mut listener = Listener::start(&daemon);
    assert!(listener.next_within(QUIET).is_none(), "nothing plays");

    let player = daemon.play();
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
    let mut heard = VecDeque::new();
    let end = Instant::now() + DEADLINE;
    loop {
        let packet = listener.next();
        let mut samples = [0_i16; 960];
        assert_eq!(
            decoder.decode(&packet.data, &mut samples, false).unwrap(),
            480
        );
        heard.push_back((packet.captured_at, *samples.iter().max().unwrap()));
        if heard.len() > 50 {
            heard.pop_front();
        }
        let loud = heard
            .iter()
            .all(|(_, peak)| (10_000..14_000).contains(peak));
        if heard.len() == 50 && loud {
            break;
        }
        assert!(Instant::now() < end, "no clean tone: {heard:?}");
    }
    let took = heard.back().unwrap().0 - heard.front().unwrap().0;
    assert!(
        (Duration::from_millis(350)..Duration::from_millis(650)).contains(&took),
        "half a second of sound in {took:?}"
    );

    drop(player);
    listener.until_quiet();
    let _player = daemon.play();
    listener.next();
}

#[test]
fn nothing_comes_while_paused() {
    let daemon = Daemon::start();
    let _player = daemon.play();
    let mut listener = Listener::start(&daemon);
    listener.next();
    listener.recording.pause();
    listener.until_quiet();
    listener.recording.resume();
    listener.next();
}

#[test]
fn a_missing_daemon_a_missing_source_and_the_end_are_told() {
    let daemon = Daemon::start();
    let mut listener = Listener::start(&daemon);
    let socket = daemon.socket();
    let missing = Recording::start(&socket, "nothing.monitor");
    let missing = listener.runtime.block_on(missing);
    assert!(
        matches!(missing, Err(SoundError::Refused { .. })),
        "{missing:?}"
    );
    let socket = daemon.dir.path().join("nowhere");
    let nowhere = Recording::start(&socket, MONITOR);
    let nowhere = listener.runtime.block_on(nowhere);
    assert!(
        matches!(nowhere, Err(SoundError::Connect { .. })),
        "{nowhere:?}"
    );

    drop(daemon);
    let end = async { tokio::time::timeout(DEADLINE, listener.recording.next()).await };
    assert!(listener.runtime.block_on(end).unwrap().is_none());
}
