//! The demo apps, run as a node runs them: each must draw, fill its screen and end cleanly.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test helper fails its test, or says why it is left out"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use logic::backoff::Policy;
use model::Manifest;
use model::manifest::Stream;
use runtime::display::Size;
use runtime::instance::{Instance, InstanceConfig, Phase, SoundWish};
use runtime::mark::Owner;
use runtime::process::Limits;
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat};
use x11rb::rust_connection::{DefaultStream, RustConnection};

/// For a browser to start on a slow machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn doom_draws() {
    draws("doom").await;
}

#[tokio::test]
async fn desktop_draws() {
    draws("desktop").await;
}

#[tokio::test]
async fn browser_draws() {
    draws("browser").await;
}

#[tokio::test]
async fn phone_draws() {
    draws("phone").await;
}

/// Runs an app of ours, unless this machine lacks what it requires.
async fn draws(name: &str) {
    let path = format!("../../apps/{name}/selvedge.toml");
    let manifest = Manifest::read(&std::fs::read_to_string(path).unwrap()).unwrap();
    let manifest = manifest.stream().unwrap();
    if let Some(missing) = manifest.requires.iter().find(|it| !Path::new(it).exists()) {
        eprintln!("left out: {missing} is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let instance = Instance::start(config(manifest, dir.path())).await.unwrap();
    let display = instance.state().display.unwrap();
    let stream = std::os::unix::net::UnixStream::connect(display.socket()).unwrap();
    let cookie = display.cookie();
    let connection = RustConnection::connect_to_stream_with_auth_info(
        DefaultStream::from_unix_stream(stream).unwrap().0,
        0,
        cookie.method().as_bytes().to_vec(),
        cookie.data().to_vec(),
    )
    .unwrap();

    let deadline = Instant::now() + PATIENCE;
    while !is_drawn(&connection, manifest) {
        let state = instance.state();
        let log = instance.log().tail(30);
        assert_eq!(state.phase, Phase::Running, "{log:#?}");
        assert!(Instant::now() < deadline, "{name} draws nothing: {log:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(instance.state().starts, 1, "{:#?}", instance.log().tail(30));

    let stopping = Instant::now();
    instance.stop().await;
    assert!(
        stopping.elapsed() < Duration::from_secs(3),
        "{:?}",
        stopping.elapsed()
    );
}

/// Whether the picture has more colours than an empty screen or a bare frame.
fn is_drawn(connection: &RustConnection, manifest: &Stream) -> bool {
    let root = connection.setup().roots[0].root;
    let (width, height) = (manifest.screen.width, manifest.screen.height);
    let image = connection
        .get_image(ImageFormat::Z_PIXMAP, root, 0, 0, width, height, u32::MAX)
        .unwrap()
        .reply()
        .unwrap();
    let (pixels, _) = image.data.as_chunks::<4>();
    pixels.iter().collect::<BTreeSet<_>>().len() >= 8
}

fn config(manifest: &Stream, dir: &Path) -> InstanceConfig {
    let owner = Owner::new(format!("test-{}", std::process::id())).unwrap();
    let size = Size {
        width: manifest.screen.width,
        height: manifest.screen.height,
    };
    InstanceConfig {
        mark: owner.unit(manifest.name.to_string()).unwrap(),
        dir: dir.join("i"),
        command: manifest.command.clone(),
        services: manifest.services.clone(),
        env: manifest.env.clone(),
        size,
        max_size: Size {
            width: 1920,
            height: 1200,
        },
        sound: match manifest.sound.enabled {
            true => SoundWish::Heard,
            false => SoundWish::Silent,
        },
        limits: Limits {
            memory: Some(manifest.resources.memory),
            ..Limits::default()
        },
        backoff: Policy::default(),
        seed: 1,
    }
}
