//! A live event: cameras publish with what people have, viewers watch from anywhere.

mod slow;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::live::{CreateStreamKey, WatchEvent, WatchTicket};
use lab::viewer::{Arrived, Decoder, View, Viewer};
use model::{AppName, CameraName};

use crate::support::cloud::{Cloud, TWO_SITES, at};
use crate::support::{soon, until};

const EVENT: &str = "
name = 'pitch'
kind = 'live'
[access]
public = true
[[cameras]]
name = 'north'
position = [0, 20, 3]
[[cameras]]
name = 'south'
position = [0, -20, 3]
[[renditions]]
name = 'low'
height = 180
bitrate_kbps = 300
";

/// Viewers ask for the live edge and a little more.
const MAX_AGE: Duration = Duration::from_millis(500);

/// A camera that sends 640x360 at 30 pictures a second, with a keyframe each half second and sound.
struct Camera(Child);

impl Camera {
    fn start(address: &str) -> Self {
        let picture = "testsrc2=size=640x360:rate=30";
        let sound = "sine=frequency=440:sample_rate=48000";
        let command = Command::new("ffmpeg")
            .args(["-hide_banner", "-loglevel", "error", "-re"])
            .args(["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound])
            .args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
            ])
            .args([
                "-g", "15", "-b:v", "800k", "-pix_fmt", "yuv420p", "-c:a", "aac",
            ])
            .args(["-f", "flv", address])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Self(command.unwrap())
    }

    /// Waits until it gives up, and returns what it tells its user.
    fn refused(mut self) -> String {
        use std::io::Read as _;
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An event with a key to publish to it in Frankfurt.
async fn event(cloud: &Cloud) -> (AppName, String, String) {
    let event = cloud.deploy(EVENT.to_owned()).await;
    let create = CreateStreamKey::default();
    let made = cloud
        .client
        .create_stream_key(&event, &create)
        .await
        .unwrap();
    let view = cloud.client.live(&event).await.unwrap();
    let mut ingest = view.ingest.into_iter();
    let frankfurt = ingest.find(|it| it.site.as_str() == "frankfurt").unwrap();
    (event, frankfurt.rtmp.unwrap(), made.key)
}

async fn on_air(cloud: &Cloud, event: &AppName, cameras: usize) {
    until("the cameras are on air", async || {
        let view = cloud.client.live(event).await.unwrap();
        let on_air = view.cameras.iter().filter(|it| {
            let status = it.status.as_ref();
            status.is_some_and(|it| it.frames_per_second > 20.0)
        });
        (on_air.count() == cameras).then_some(())
    })
    .await;
}

async fn ticket(cloud: &Cloud, event: &AppName, city: &str) -> WatchTicket {
    let watch = WatchEvent {
        terminal: at(city),
        lost_entry: None,
    };
    cloud.client.watch(event, &watch).await.unwrap()
}

/// Decodes so many pictures; returns their size and their times.
async fn pictures(view: &mut View, count: usize) -> ((u16, u16), Vec<Duration>) {
    let mut decoder = Decoder::open().unwrap();
    let (mut size, mut times) = ((0, 0), Vec::new());
    while times.len() < count {
        let arrived = soon("a picture", view.next()).await.expect("it goes on");
        let (header, data) = arrived.picture().expect("a picture");
        if times.is_empty() && !header.keyframe {
            continue;
        }
        let picture = decoder.decode(data).expect("it can be decoded").unwrap();
        size = (picture.size().width(), picture.size().height());
        assert_eq!(size, (header.width, header.height));
        times.push(arrived.timestamp);
    }
    (size, times)
}

/// When the first camera began.
/// How long ago a picture was taken.
fn age(picture: &Arrived) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.saturating_sub(picture.timestamp)
}

/// Since when the first camera publishes, if it does.
async fn since(cloud: &Cloud, event: &AppName) -> Option<u64> {
    let view = cloud.client.live(event).await.unwrap();
    let status = view.cameras[0].status.as_ref();
    status.map(|it| it.since_unix_ms)
}

fn camera(name: &str) -> CameraName {
    name.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_in_frankfurt_is_watched_in_shanghai_in_the_form_that_is_asked_for() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    let (event, rtmp, key) = event(&cloud).await;
    let _north = Camera::start(&format!("{rtmp}/north/{key}"));
    let _south = Camera::start(&format!("{rtmp}/south/{key}"));
    on_air(&cloud, &event, 2).await;

    let far = ticket(&cloud, &event, "tokyo").await;
    assert_eq!(far.entry.site.as_str(), "shanghai");
    assert_eq!(far.on_air.len(), 2);
    let viewer = soon("a way in", Viewer::connect(&far, None)).await.unwrap();
    let info = soon("how it is coded", viewer.info(&camera("north")))
        .await
        .unwrap();
    assert_eq!(info.video.as_ref().unwrap().width, 640);
    assert!(info.audio.is_some());
    assert_eq!(info.renditions, ["low".parse().unwrap()]);

    let north_name = camera("north");
    let own = viewer.watch(&north_name, "video", MAX_AGE);
    let mut own = soon("the camera's own", own).await.unwrap();
    let (size, times) = pictures(&mut own, 30).await;
    assert_eq!(size, (640, 360));
    let low = viewer.watch(&north_name, "video/low", MAX_AGE);
    let mut low = soon("the rendition", low).await.unwrap();
    let (size, low_times) = pictures(&mut low, 30).await;
    assert_eq!(size, (320, 180));
    // Stamped by one clock, so that one can be swapped for the other.
    let last = times.last().unwrap();
    assert!(
        low_times[0].abs_diff(*last) < Duration::from_secs(5),
        "{last:?} {low_times:?}"
    );
    let view = cloud.client.live(&event).await.unwrap();
    assert_eq!(
        view.cameras[0].status.as_ref().unwrap().renditions,
        ["low".parse().unwrap()]
    );
    assert!(
        view.cameras[1]
            .status
            .as_ref()
            .unwrap()
            .renditions
            .is_empty()
    );

    let sound = viewer.watch(&north_name, "audio", MAX_AGE);
    let mut sound = soon("sound", sound).await.unwrap();
    let mut heard = Vec::new();
    while heard.len() < 20 {
        heard.push(soon("sound", sound.next()).await.unwrap().timestamp);
    }
    let step = heard[19] - heard[0];
    let wanted = Duration::from_secs(1) * 1_024 * 19 / 48_000;
    assert!(step.abs_diff(wanted) < Duration::from_millis(5), "{step:?}");

    viewer.close().await;
    cloud.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_viewers_turn_to_is_made_ready_before_they_do() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    let (event, rtmp, key) = event(&cloud).await;
    let _north = Camera::start(&format!("{rtmp}/north/{key}"));
    let _south = Camera::start(&format!("{rtmp}/south/{key}"));
    on_air(&cloud, &event, 2).await;
    let far = ticket(&cloud, &event, "tokyo").await;
    let viewer = soon("a way in", Viewer::connect(&far, None)).await.unwrap();
    let (north, south) = (camera("north"), camera("south"));
    let made = async || {
        let view = cloud.client.live(&event).await.unwrap();
        let renditions = |at: usize| Some(view.cameras[at].status.as_ref()?.renditions.len());
        [0, 1].map(|it| renditions(it).unwrap_or_default())
    };
    // To and fro: whoever is here went from north to south before.
    for name in [&north, &south, &north] {
        let view = viewer.watch(name, "video", MAX_AGE);
        let mut view = soon("a camera", view).await.unwrap();
        pictures(&mut view, 60).await;
    }
    let view = viewer.watch(&north, "video", MAX_AGE);
    let mut view = soon("a camera", view).await.unwrap();
    until("south is made ready while north is watched", async || {
        pictures(&mut view, 10).await;
        (made().await == [0, 1]).then_some(())
    })
    .await;
    drop(view);
    viewer.close().await;
    until("nobody is left to turn", async || {
        (made().await == [0, 0]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_watches_is_not_made_and_what_comes_back_shows_what_is_now() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    let (event, rtmp, key) = event(&cloud).await;
    let north = Camera::start(&format!("{rtmp}/north/{key}"));
    let _south = Camera::start(&format!("{rtmp}/south/{key}"));
    on_air(&cloud, &event, 2).await;
    let far = ticket(&cloud, &event, "tokyo").await;
    let viewer = soon("a way in", Viewer::connect(&far, None)).await.unwrap();
    let north_name = camera("north");
    let low = viewer.watch(&north_name, "video/low", MAX_AGE);
    let mut low = soon("the rendition", low).await.unwrap();
    pictures(&mut low, 5).await;
    drop(low);
    until("the rendition rests", async || {
        let view = cloud.client.live(&event).await.unwrap();
        let status = view.cameras[0].status.clone().unwrap();
        (status.renditions.is_empty() && view.viewers == 1).then_some(())
    })
    .await;

    // It may begin with a group of the time before, which viewers leave out, and then shows what is now.
    let low = viewer.watch(&north_name, "video/low", MAX_AGE);
    let mut low = soon("the rendition", low).await.unwrap();
    let mut past = 0;
    while age(&soon("a picture", low.next()).await.unwrap()) > Duration::from_secs(2) {
        past += 1;
    }
    // 400 ms at 30 pictures a second, and nothing before.
    assert!(past <= 13, "{past} pictures of the past");

    // A camera that is unplugged is told as gone, and comes back under the same name.
    drop(north);
    until("north is gone", async || {
        let ticket = ticket(&cloud, &event, "tokyo").await;
        (ticket.on_air == [camera("south")]).then_some(())
    })
    .await;
    let _north = Camera::start(&format!("{rtmp}/north/{key}"));
    on_air(&cloud, &event, 2).await;
    let again = viewer.watch(&north_name, "video", MAX_AGE);
    let mut again = soon("it again", again).await.unwrap();
    pictures(&mut again, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_its_own_event_and_a_ticket_too() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    let (event, rtmp, key) = event(&cloud).await;
    let wrong = Camera::start(&format!("{rtmp}/north/{}", "x".repeat(43))).refused();
    assert!(
        wrong.contains("the stream key is not good for pitch"),
        "{wrong}"
    );
    let nobody = Camera::start(&format!("{rtmp}/west/{key}")).refused();
    assert!(nobody.contains("it has north, south"), "{nobody}");
    let other = rtmp.replace("/pitch", "/other");
    let other = Camera::start(&format!("{other}/north/{key}")).refused();
    assert!(
        other.contains("the stream key is not good for other"),
        "{other}"
    );

    // An encoder that comes back before its old connection is known to be lost takes over.
    let before = Camera::start(&format!("{rtmp}/north/{key}"));
    on_air(&cloud, &event, 1).await;
    let first = since(&cloud, &event).await;
    let _camera = Camera::start(&format!("{rtmp}/north/{key}"));
    before.refused();
    until("the center knows the new one", async || {
        (since(&cloud, &event).await > first).then_some(())
    })
    .await;
    let own = ticket(&cloud, &event, "berlin").await;
    let viewer = soon("a way in", Viewer::connect(&own, None)).await.unwrap();
    let north = camera("north");
    let view = viewer.watch(&north, "video", MAX_AGE);
    let mut view = soon("the camera that is there now", view).await.unwrap();
    pictures(&mut view, 10).await;
    let theirs = cloud.deploy(EVENT.replace("'pitch'", "'theirs'")).await;
    let ticket = ticket(&cloud, &theirs, "berlin").await;
    let viewer = soon("a way in", Viewer::connect(&ticket, None))
        .await
        .unwrap();
    let spying = viewer.subscribe("live/pitch/north", "video", MAX_AGE);
    let spying = tokio::time::timeout(Duration::from_secs(2), spying).await;
    assert!(
        !matches!(spying, Ok(Ok(_))),
        "a ticket opened another event"
    );

    // A key that is taken back cuts its camera off.
    let keys = cloud.client.stream_keys(&event).await.unwrap().items;
    cloud
        .client
        .revoke_stream_key(&event, &keys[0].id)
        .await
        .unwrap();
    on_air(&cloud, &event, 0).await;
}
