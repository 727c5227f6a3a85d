//! Cameras that differ in time are brought together by what all of them see and hear.

use std::process::{Child, Command, Stdio};

use api::ErrorCode;
use api::live::{Align, Aligned, CreateStreamKey, Sense};
use model::AppName;

use crate::support::cloud::{Cloud, TWO_SITES};
use crate::support::until;

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
";

/// Two cameras on one clock, each with a flash and a click every 1.2 s; those of the second come 0.2 s
/// later, as if its encoder took so long.
struct Cameras(Child);

impl Cameras {
    fn start(north: &str, south: &str) -> Self {
        let picture = |phase: f64| {
            format!(
                "color=c=0x303030:s=320x180:r=30,\
                 drawbox=c=white:t=fill:enable='lt(mod(t+{phase},1.2),0.1)'"
            )
        };
        let sound = |phase: f64| {
            format!(
                "aevalsrc='0.6*sin(2*PI*2000*t)*lt(mod(t+{phase},1.2),0.02)+0.001*random(0)':s=48000"
            )
        };
        let mut command = Command::new("ffmpeg");
        command.args(["-hide_banner", "-loglevel", "error"]);
        for input in [picture(0.0), picture(1.0), sound(0.0), sound(1.0)] {
            command.args(["-re", "-f", "lavfi", "-i", &input]);
        }
        for (picture, sound, address) in [("0:v", "2:a", north), ("1:v", "3:a", south)] {
            command.args(["-map", picture, "-map", sound]);
            command.args([
                "-c:v",
                "libx264",
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
            ]);
            command.args(["-g", "15", "-pix_fmt", "yuv420p", "-c:a", "aac"]);
            command.args(["-f", "flv", address]);
        }
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Cameras {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_are_brought_together_by_light_and_by_sound() {
    let cloud = Cloud::start(TWO_SITES, &[]).await;
    let event = cloud.deploy(EVENT.to_owned()).await;
    let flash = Align {
        seconds: 6,
        reference: Some("north".parse().unwrap()),
        ..Align::default()
    };
    let early = cloud.client.align(&event, &flash).await.unwrap_err();
    assert_eq!(early.code(), Some(ErrorCode::Conflict), "{early}");

    let create = CreateStreamKey::default();
    let made = cloud.client.create_stream_key(&event, &create).await;
    let key = made.unwrap().key;
    let view = cloud.client.live(&event).await.unwrap();
    // One camera at each site: what they noticed is brought together from both.
    let rtmp = |site: &str| {
        let mut ingest = view.ingest.iter();
        let here = ingest.find(|it| it.site.as_str() == site).unwrap();
        here.rtmp.clone().unwrap()
    };
    let _cameras = Cameras::start(
        &format!("{}/north/{key}", rtmp("frankfurt")),
        &format!("{}/south/{key}", rtmp("shanghai")),
    );
    until("both are on air", async || {
        let view = cloud.client.live(&event).await.unwrap();
        let on_air = view.cameras.iter().filter(|it| it.status.is_some());
        (on_air.count() == 2).then_some(())
    })
    .await;

    let seen = cloud.client.align(&event, &flash).await.unwrap();
    // Pictures come each 33 ms.
    assert!((south(&seen).0 + 200.0).abs() < 50.0, "{seen:?}");
    assert!(south(&seen).1 >= 2, "{seen:?}");
    until("its edge knows", async || {
        (offset(&cloud, &event).await? < -150.0).then_some(())
    })
    .await;
    let clap = Align {
        by: Sense::Sound,
        ..flash
    };
    let heard = cloud.client.align(&event, &clap).await.unwrap();
    assert!((south(&heard).0 + 200.0).abs() < 25.0, "{heard:?}");
    let told = cloud.run(&["live", "align", event.as_str(), "--reset"]);
    assert!(told.status.success(), "{told:?}");
    until("its edge forgets", async || {
        (offset(&cloud, &event).await?.abs() < 0.001).then_some(())
    })
    .await;
}

/// What is added to the southern camera, and how many moments say so.
fn south(aligned: &Aligned) -> (f64, usize) {
    let camera = &aligned.cameras[1];
    (camera.offset_ms, camera.moments)
}

async fn offset(cloud: &Cloud, event: &AppName) -> Option<f64> {
    let view = cloud.client.live(event).await.unwrap();
    Some(view.cameras[1].status.as_ref()?.offset_ms)
}
