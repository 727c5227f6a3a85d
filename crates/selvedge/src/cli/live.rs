//! `selvedge live`.

mod publish;
mod teller;

use api::Page;
use api::live::{
    Align, Aligned, CameraStatus, CameraView, CreateStreamKey, CreatedStreamKey, LiveView, Sense,
    StreamKeyView,
};
use clap::Subcommand;
use model::{AppName, CameraName};
use serde::Serialize;

use super::client::ClientArgs;
use crate::output::{Output, Table, ago, milliseconds, say};

#[derive(Debug, Subcommand)]
pub(super) enum LiveCommand {
    /// Publish standard input as a camera
    Publish(publish::PublishArgs),
    #[command(flatten)]
    Ask(AskCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum AskCommand {
    /// Show the cameras of an event, or of all events
    Status {
        /// The event
        event: Option<AppName>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Bring the cameras of an event together in time
    ///
    /// Flash a light that every camera sees, or clap where every camera hears it, about once a second
    /// while it looks. What is found is added to the cameras' timestamps from then on, also when they
    /// start anew.
    Align {
        /// The event
        event: AppName,
        /// By what
        #[arg(long, value_enum, default_value_t = By::Flash)]
        by: By,
        /// How long to look and listen, 2 to 10
        #[arg(long, default_value_t = Align::default().seconds)]
        seconds: u8,
        /// The camera that the others follow [default: the one that noticed the most]
        #[arg(long)]
        reference: Option<CameraName>,
        /// Forget what was found before; look at nothing
        #[arg(long, conflicts_with_all = ["by", "seconds", "reference"])]
        reset: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Keys that let cameras publish
    #[command(subcommand)]
    Key(KeyCommand),
}

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key; it is shown once
    Create {
        /// The event
        event: AppName,
        /// Only for this camera
        #[arg(long)]
        camera: Option<CameraName>,
        /// What it is for, in your words
        #[arg(long, default_value = "")]
        label: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the keys of an event, without their secrets
    List {
        /// The event
        event: AppName,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take a key back; cameras that use it are cut off
    Revoke {
        /// The event
        event: AppName,
        /// The key's id, as `list` shows it
        key: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// By what cameras are brought together.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum By {
    /// Flashes of light
    Flash,
    /// Claps and clicks
    Sound,
}

/// What was forgotten.
#[derive(Debug, Serialize)]
struct Forgotten {
    event: AppName,
}

/// What was revoked.
#[derive(Debug, Serialize)]
struct Revoked {
    revoked: String,
}

/// A key and where to use it.
#[derive(Debug, Serialize)]
struct KeyAndWays {
    #[serde(flatten)]
    key: CreatedStreamKey,
    publish: Vec<Way>,
}

/// One way to publish.
#[derive(Debug, Serialize)]
struct Way {
    site: model::SiteName,
    /// For ffmpeg; OBS takes what is before the last `/` as its server, and the rest as its key.
    address: String,
    /// For WHIP, where the key has a field of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    bearer: Option<String>,
}

impl AskCommand {
    pub(super) async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Status { event, client } => {
                let client = client.connect()?;
                let events = match event {
                    Some(event) => Page {
                        items: vec![client.live(&event).await?],
                    },
                    None => client.lives().await?,
                };
                if events.items.is_empty() {
                    say("No events yet: `selvedge app deploy <folder>` publishes one.");
                }
                output.data(&events, status)
            }
            Self::Align {
                event,
                client,
                reset: true,
                ..
            } => {
                client.connect()?.forget_alignment(&event).await?;
                output.data(&Forgotten { event }, |it| {
                    format!("the cameras of {} are as they come", it.event)
                })
            }
            Self::Align {
                event,
                by,
                seconds,
                reference,
                client,
                ..
            } => {
                let (by, what) = match by {
                    By::Flash => (Sense::Flash, "Flash a light that every camera sees"),
                    By::Sound => (Sense::Sound, "Clap where every camera hears it"),
                };
                say(&format!("{what}, about once a second, for {seconds} s."));
                let align = Align {
                    by,
                    seconds,
                    reference,
                };
                let aligned = client.connect()?.align(&event, &align).await?;
                output.data(&aligned, together)
            }
            Self::Key(command) => command.run(output).await,
        }
    }
}

impl KeyCommand {
    async fn run(self, output: Output) -> anyhow::Result<()> {
        match self {
            Self::Create {
                event,
                camera,
                label,
                client,
            } => {
                let client = client.connect()?;
                let create = CreateStreamKey { label, camera };
                let key = client.create_stream_key(&event, &create).await?;
                let publish = ways(&client.live(&event).await?, &key);
                output.data(&KeyAndWays { key, publish }, created)
            }
            Self::List { event, client } => {
                let keys = client.connect()?.stream_keys(&event).await?;
                if keys.items.is_empty() {
                    say(&format!(
                        "No keys yet: `selvedge live key create {event}` makes one."
                    ));
                }
                output.data(&keys, list)
            }
            Self::Revoke { event, key, client } => {
                client.connect()?.revoke_stream_key(&event, &key).await?;
                output.data(&Revoked { revoked: key }, |it| {
                    format!("revoked {}", it.revoked)
                })
            }
        }
    }
}

fn together(it: &Aligned) -> String {
    let mut table = Table::new(&["camera", "offset>", "changed>", "moments>", "spread>", ""]);
    for camera in &it.cameras {
        let reference = (camera.name == it.reference).then(|| "the others follow it".to_owned());
        table.row([
            camera.name.to_string(),
            milliseconds(camera.offset_ms),
            milliseconds(camera.changed_ms),
            camera.moments.to_string(),
            milliseconds(camera.spread_ms),
            reference.or_else(|| camera.why.clone()).unwrap_or_default(),
        ]);
    }
    table.render()
}

/// The addresses to publish to with a key.
fn ways(event: &LiveView, key: &CreatedStreamKey) -> Vec<Way> {
    let camera = key.view.camera.as_ref();
    let camera = camera.map_or("<camera>", |it| it.as_str());
    let (name, secret) = (&event.name, &key.key);
    let mut ways = Vec::new();
    for ingest in &event.ingest {
        let rtmp = ingest.rtmp.as_ref();
        let srt = ingest.srt.as_ref();
        let rtmp = rtmp.map(|it| format!("{it}/{camera}/{secret}"));
        let srt = srt.map(|it| format!("{it}?streamid=publish:{name}/{camera}:{secret}"));
        ways.extend(rtmp.into_iter().chain(srt).map(|address| Way {
            site: ingest.site.clone(),
            address,
            bearer: None,
        }));
        ways.extend(ingest.whip.as_ref().map(|it| Way {
            site: ingest.site.clone(),
            address: format!("{it}/{camera}"),
            bearer: Some(secret.clone()),
        }));
    }
    ways
}

fn created(it: &KeyAndWays) -> String {
    let mut text = format!(
        "key {} of {}. Keep the secret; it is not shown again:\n\n    {}\n",
        it.key.view.id, it.key.view.event, it.key.key
    );
    if !it.publish.is_empty() {
        text.push_str("\nPublish to the site nearest to the camera:\n\n");
        let mut table = Table::new(&["site", "address"]);
        for way in &it.publish {
            table.row([way.site.to_string(), way.address.clone()]);
        }
        text.push_str(&table.render());
        if it.publish.iter().any(|way| way.bearer.is_some()) {
            text.push_str("\nAt the addresses with /whip/ the key is the bearer token.\n");
        }
    }
    text
}

fn list(keys: &Page<StreamKeyView>) -> String {
    let mut table = Table::new(&["key", "for", "label", "made"]);
    for key in &keys.items {
        let camera = key.camera.as_ref();
        table.row([
            key.id.clone(),
            camera.map_or("any camera", |it| it.as_str()).to_owned(),
            key.label.clone(),
            ago(key.created_unix_ms),
        ]);
    }
    table.render()
}

fn status(events: &Page<LiveView>) -> String {
    let mut text = String::new();
    for event in &events.items {
        let on_air = event.cameras.iter().filter(|it| it.status.is_some());
        text.push_str(&format!(
            "{} ({}): {} of {} cameras on air, {} viewers\n\n",
            event.title,
            event.name,
            on_air.count(),
            event.cameras.len(),
            event.viewers
        ));
        let mut table = Table::new(&[
            "camera",
            "site",
            "by",
            "picture",
            "frames/s>",
            "kbit/s>",
            "group>",
            "late>",
            "offset>",
            "lost>",
            "made for viewers",
            "to change",
        ]);
        for camera in &event.cameras {
            table.row(row(camera));
        }
        text.push_str(&table.render());
        text.push('\n');
    }
    text
}

fn row(camera: &CameraView) -> [String; 12] {
    let site = camera.site.as_ref().map(ToString::to_string);
    let Some(status) = &camera.status else {
        let mut row = [const { String::new() }; 12];
        row[0] = camera.name.to_string();
        row[1] = "silent".to_owned();
        return row;
    };
    [
        camera.name.to_string(),
        site.unwrap_or_default(),
        status.protocol.clone(),
        picture(status),
        format!("{:.1}", status.frames_per_second),
        format!("{:.0}", status.kilobits_per_second),
        milliseconds(status.group_ms),
        milliseconds(status.late_ms),
        milliseconds(status.offset_ms),
        status.lost.to_string(),
        crate::output::joined(&status.renditions),
        status.warnings.join("; "),
    ]
}

fn picture(status: &CameraStatus) -> String {
    let codec = status.video.map_or("no picture", |it| it.as_str());
    format!("{codec} {}x{}", status.width, status.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_camera_is_a_row_and_one_on_air_says_what_to_change() {
        let camera = |name: &str, status| CameraView {
            name: name.parse().unwrap(),
            site: None,
            status,
        };
        let on_air = CameraStatus {
            protocol: "RTMP".into(),
            width: 1280,
            height: 720,
            warnings: vec!["keyframes are 4 s apart: set them to 1 s".into()],
            ..CameraStatus::default()
        };
        let event = LiveView {
            name: "arena".parse().unwrap(),
            title: "Arena".into(),
            cameras: vec![camera("north", Some(on_air)), camera("south", None)],
            viewers: 3,
            ingest: Vec::new(),
        };
        let text = status(&Page { items: vec![event] });
        assert!(text.contains("1 of 2 cameras on air, 3 viewers"), "{text}");
        assert!(text.contains("set them to 1 s"), "{text}");
        assert!(text.contains("silent"), "{text}");
    }

    #[test]
    fn the_address_has_all_that_a_tool_needs() {
        let key = CreatedStreamKey {
            view: StreamKeyView {
                id: "1".into(),
                event: "arena".parse().unwrap(),
                label: String::new(),
                camera: Some("north".parse().unwrap()),
                created_unix_ms: 0,
            },
            key: "secret".into(),
        };
        let event = LiveView {
            name: "arena".parse().unwrap(),
            title: String::new(),
            cameras: Vec::new(),
            viewers: 0,
            ingest: vec![api::live::IngestAddress {
                site: "frankfurt".parse().unwrap(),
                node: model::NodeId(1),
                rtmp: Some("rtmp://f.example:1935/arena".into()),
                srt: Some("srt://f.example:9000".into()),
                whip: Some("https://f.example:7443/whip/arena".into()),
            }],
        };
        let ways: Vec<_> = ways(&event, &key)
            .into_iter()
            .map(|it| it.address)
            .collect();
        assert_eq!(
            ways,
            [
                "rtmp://f.example:1935/arena/north/secret",
                "srt://f.example:9000?streamid=publish:arena/north:secret",
                "https://f.example:7443/whip/arena/north"
            ]
        );
    }
}
