//! Real X servers, sound daemons and apps.
#![expect(clippy::unwrap_used, reason = "a test helper fails its test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use logic::backoff::Policy;
use runtime::display::{Size, StartError, Xvfb, XvfbConfig};
use runtime::instance::{Instance, InstanceConfig, Phase, Sound, SoundWish, State};
use runtime::log::Log;
use runtime::mark::{Mark, Owner};
use runtime::process::Limits;
use runtime::sound::{Pulse, PulseConfig};
use x11rb::connection::Connection as _;
use x11rb::protocol::randr::ConnectionExt as _;
use x11rb::protocol::xproto::ConnectionExt as _;
use x11rb::rust_connection::{DefaultStream, RustConnection};

const PATIENCE: Duration = Duration::from_secs(20);

const SMALL: Size = Size {
    width: 640,
    height: 360,
};
const LARGE: Size = Size {
    width: 1920,
    height: 1200,
};

#[tokio::test]
async fn a_screen_has_its_size_its_extensions_and_a_door() {
    let dir = tempfile::tempdir().unwrap();
    let mut xvfb = Xvfb::start(xvfb_config(dir.path())).await.unwrap();
    let display = xvfb.display().clone();

    let connection = connect(&display, display.cookie().data()).unwrap();
    let root = connection.setup().roots[0].root;
    let geometry = connection.get_geometry(root).unwrap().reply().unwrap();
    assert_eq!((geometry.width, geometry.height), (640, 360));
    for extension in ["DAMAGE", "XTEST", "RANDR", "MIT-SHM", "XFIXES"] {
        let found = connection
            .query_extension(extension.as_bytes())
            .unwrap()
            .reply()
            .unwrap();
        assert!(found.present, "{extension}");
    }

    // Toolkits look at the monitor rather than at the root window.
    for size in [
        LARGE,
        SMALL,
        Size {
            width: 361,
            height: 721,
        },
        LARGE,
    ] {
        xvfb.resize(size).await.unwrap();
        let monitors = connection.randr_get_monitors(root, true).unwrap();
        let monitor = &monitors.reply().unwrap().monitors[0];
        assert_eq!((monitor.width, monitor.height), (size.width, size.height));
        let geometry = connection.get_geometry(root).unwrap().reply().unwrap();
        assert_eq!((geometry.width, geometry.height), (size.width, size.height));
    }
    // A window that is dragged larger: what it was on the way is forgotten.
    let modes = || {
        let resources = connection.randr_get_screen_resources(root).unwrap();
        resources.reply().unwrap().modes.len()
    };
    let before = modes();
    for step in 0..20 {
        let size = Size {
            width: 700 + step,
            height: 400 + step,
        };
        xvfb.resize(size).await.unwrap();
    }
    assert_eq!(modes(), before + 1);
    xvfb.resize(LARGE).await.unwrap();
    assert_eq!(modes(), before);

    let too_large = Size {
        width: 1921,
        height: 1200,
    };
    let error = xvfb.resize(too_large).await.unwrap_err();
    assert!(error.to_string().contains("1920x1200"), "{error}");

    assert!(connect(&display, &[0; 16]).is_none(), "a wrong cookie");
    assert!(connect(&display, &[]).is_none(), "no cookie");

    let (pid, socket) = (xvfb.pid(), display.socket());
    xvfb.stop().await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!socket.exists());
}

#[tokio::test]
async fn two_screens_take_two_displays_and_a_death_is_noticed() {
    let (one_dir, two_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = tokio::join!(
        Xvfb::start(xvfb_config(one_dir.path())),
        Xvfb::start(xvfb_config(two_dir.path())),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_ne!(one.display().number(), two.display().number());
    let foreign = connect(two.display(), one.display().cookie().data());
    assert!(foreign.is_none(), "the cookie of one opens the other");

    kill(one.pid());
    let exit = tokio::time::timeout(PATIENCE, one.exited()).await.unwrap();
    assert_eq!(exit.to_string(), "crashed (signal: 9 (SIGKILL))");
    assert!(!one.is_alive() && two.is_alive());
    let socket = one.display().socket();
    one.stop().await;
    assert!(!socket.exists(), "a killed server's socket stays");
    two.stop().await;
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = xvfb_config(dir.path());
    config.max_size = Size {
        width: 0,
        height: 0,
    };
    match Xvfb::start(config).await {
        Err(StartError::Ended { said, .. }) => assert!(!said.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn sound_has_a_source_to_record() {
    let dir = tempfile::tempdir().unwrap();
    let pulse = Pulse::start(PulseConfig {
        mark: unique(),
        dir: dir.path().join("pulse"),
        log: Log::new(),
    })
    .await
    .unwrap();
    let listed = Command::new("pactl")
        .args(["list", "short", "sources"])
        .env("PULSE_SERVER", pulse.server())
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains(&pulse.monitor()), "{listed}");

    let pid = pulse.pid();
    pulse.stop().await;
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test]
async fn an_instance_runs_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = instance_config(dir.path(), &["xterm"]);
    config.services = vec![vec!["openbox".to_owned()]];
    let mark = config.mark.to_string();
    let home = config.dir.clone();
    let instance = Instance::start(config).await.unwrap();

    let state = instance.state();
    assert_eq!((state.phase, state.starts), (Phase::Running, 1));
    let display = state.display.unwrap();
    let connection = connect(&display, display.cookie().data()).unwrap();
    until("the window manager and xterm show", || {
        windows(&connection) >= 2
    })
    .await;
    let Sound::On { socket, .. } = state.sound else {
        panic!("{:?}", state.sound);
    };
    assert!(socket.exists());
    // The window manager, xterm and its shell.
    let deadline = Instant::now() + PATIENCE;
    while instance.usage().await.app.processes < 3 {
        assert!(Instant::now() < deadline, "{:?}", instance.usage().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let usage = instance.usage().await;
    assert_eq!((usage.display.processes, usage.sound.processes), (1, 1));

    instance.resize(LARGE).await.unwrap();
    let root = connection.setup().roots[0].root;
    let geometry = connection.get_geometry(root).unwrap().reply().unwrap();
    assert_eq!((geometry.width, geometry.height), (1920, 1200));
    drop(connection);

    let started = Instant::now();
    instance.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(marked(&mark), 0);
    assert!(!home.exists());
}

#[tokio::test]
async fn an_app_that_crashes_comes_back_until_it_is_too_often() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = instance_config(dir.path(), &["sh", "-c", "echo up; exit 7"]);
    config.backoff.crashes_max = 3;
    config.sound = SoundWish::Silent;
    let mark = config.mark.part("screen").unwrap().to_string();
    let instance = Instance::start(config).await.unwrap();
    let state = reached(&instance, |it| matches!(it.phase, Phase::Failed { .. })).await;
    assert_eq!(state.starts, 3);
    assert_eq!(state.sound, Sound::Off);
    assert!(
        state.display.is_some(),
        "the screen outlives an app's crash"
    );
    let said: Vec<String> = instance
        .log()
        .since(0)
        .into_iter()
        .map(|it| it.text)
        .collect();
    assert_eq!(said.iter().filter(|it| *it == "up").count(), 3, "{said:#?}");
    assert!(
        said.iter()
            .any(|it| it.contains("crashed (exit status: 7); starting it again in")),
        "{said:#?}"
    );

    // Whatever else ends, it is not taken up again.
    let server = processes().find(|pid| carries(*pid, &mark));
    kill(server.expect("an X server runs"));
    let state = reached(&instance, |it| it.display.is_none()).await;
    assert!(matches!(state.phase, Phase::Failed { .. }) && state.starts == 3);
    instance.stop().await;
}

#[tokio::test]
async fn a_screen_that_crashes_is_replaced_with_its_app() {
    let dir = tempfile::tempdir().unwrap();
    let config = instance_config(dir.path(), &["xterm"]);
    let mark = config.mark.part("screen").unwrap().to_string();
    let instance = Instance::start(config).await.unwrap();
    let first = instance.state().display.unwrap();
    instance.resize(LARGE).await.unwrap();

    let server = processes().find(|pid| carries(*pid, &mark));
    kill(server.expect("an X server runs"));
    let state = reached(&instance, |it| it.starts == 2 && it.phase == Phase::Running).await;
    let second = state.display.unwrap();
    assert_ne!(second.cookie(), first.cookie());
    let connection = connect(&second, second.cookie().data()).unwrap();
    let root = connection.setup().roots[0].root;
    let geometry = connection.get_geometry(root).unwrap().reply().unwrap();
    assert_eq!(
        (geometry.width, geometry.height),
        (1920, 1200),
        "it keeps its size"
    );
    until("xterm shows again", || windows(&connection) >= 1).await;

    // What is wanted while there is none, the next one has.
    let server = processes().find(|pid| carries(*pid, &mark));
    kill(server.expect("an X server runs"));
    reached(&instance, |it| it.display.is_none()).await;
    instance.resize(SMALL).await.unwrap();
    let state = reached(&instance, |it| it.starts == 3 && it.phase == Phase::Running).await;
    let third = state.display.unwrap();
    let connection = connect(&third, third.cookie().data()).unwrap();
    let geometry = connection.get_geometry(root).unwrap().reply().unwrap();
    assert_eq!((geometry.width, geometry.height), (640, 360));
    let said: Vec<String> = instance
        .log()
        .since(0)
        .into_iter()
        .map(|it| it.text)
        .collect();
    assert!(
        said.iter().any(|it| it.contains("X server) crashed")),
        "{said:#?}"
    );
    instance.stop().await;
}

#[tokio::test]
async fn a_helper_may_prepare_but_not_fail() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = instance_config(dir.path(), &["sh", "-c", "sleep 1000"]);
    config.sound = SoundWish::Silent;
    config.backoff.crashes_max = 1;
    config.services = [["true"], ["false"]]
        .map(|it| it.map(str::to_owned).to_vec())
        .to_vec();
    let instance = Instance::start(config).await.unwrap();
    let state = reached(&instance, |it| it.phase != Phase::Running).await;
    let Phase::Failed { why } = state.phase else {
        panic!("{state:?}");
    };
    assert!(why.starts_with("the helper false crashed"), "{why}");
    instance.stop().await;
}

#[tokio::test]
async fn sound_that_dies_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let config = instance_config(dir.path(), &["sh", "-c", "sleep 1000"]);
    let mark = config.mark.part("sound").unwrap().to_string();
    let instance = Instance::start(config).await.unwrap();
    let daemon = processes()
        .find(|pid| carries(*pid, &mark))
        .expect("a sound daemon runs");
    kill(daemon);
    let state = reached(&instance, |it| !matches!(it.sound, Sound::On { .. })).await;
    assert_eq!(state.phase, Phase::Running);
    let Sound::Unavailable { why } = state.sound else {
        panic!("{state:?}");
    };
    assert!(why.contains("the sound daemon crashed"), "{why}");
    instance.stop().await;
}

#[tokio::test]
async fn what_can_not_start_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = instance_config(dir.path(), &["no-such-program"]);
    let (mark, home) = (config.mark.to_string(), config.dir.clone());
    let error = Instance::start(config).await.unwrap_err();
    assert_eq!(error.to_string(), "start the app");
    assert_eq!(marked(&mark), 0);
    assert!(!home.exists());
}

fn xvfb_config(dir: &Path) -> XvfbConfig {
    XvfbConfig {
        mark: unique(),
        max_size: LARGE,
        size: SMALL,
        dir: dir.to_owned(),
        log: Log::new(),
    }
}

fn instance_config(dir: &Path, command: &[&str]) -> InstanceConfig {
    InstanceConfig {
        mark: unique(),
        dir: dir.join("i"),
        command: command.iter().map(|it| (*it).to_owned()).collect(),
        services: Vec::new(),
        env: BTreeMap::new(),
        size: SMALL,
        max_size: LARGE,
        sound: SoundWish::Heard,
        limits: Limits::default(),
        backoff: Policy::default(),
        seed: 1,
    }
}

fn unique() -> Mark {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let owner = Owner::new(format!("test-{}", std::process::id())).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    owner.unit(number.to_string()).unwrap()
}

fn connect(display: &runtime::display::Display, cookie: &[u8]) -> Option<RustConnection> {
    let stream = std::os::unix::net::UnixStream::connect(display.socket()).ok()?;
    let stream = DefaultStream::from_unix_stream(stream).ok()?.0;
    let method = match cookie {
        [] => Vec::new(),
        _ => display.cookie().method().as_bytes().to_vec(),
    };
    RustConnection::connect_to_stream_with_auth_info(stream, 0, method, cookie.to_vec()).ok()
}

/// The windows that show at the top of a screen.
fn windows(connection: &RustConnection) -> usize {
    let root = connection.setup().roots[0].root;
    let tree = connection.query_tree(root).unwrap().reply().unwrap();
    tree.children.len()
}

/// How many processes carry a mark or that of a part of it.
fn marked(mark: &str) -> usize {
    processes().filter(|pid| carries(*pid, mark)).count()
}

fn carries(pid: u32, mark: &str) -> bool {
    let wanted = format!("{}={mark}", runtime::mark::VARIABLE);
    let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ
        .split(|it| *it == 0)
        .filter_map(|it| it.strip_prefix(wanted.as_bytes()))
        .any(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

fn processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok())
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

async fn reached(instance: &Instance, wanted: impl FnMut(&State) -> bool) -> State {
    let mut watch = instance.watch();
    let reached = tokio::time::timeout(PATIENCE, watch.wait_for(wanted)).await;
    let state = reached.map(|it| it.expect("the instance lives").clone());
    state.unwrap_or_else(|_| panic!("it stays {:?}", instance.state()))
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
