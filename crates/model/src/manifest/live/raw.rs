//! From what stands in a manifest to an event that makes sense.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};

use super::super::{Access, within};
use super::{CAMERAS_MAX, Camera, Ingest, Live, RENDITIONS_MAX, Rendition};
use crate::document::{self, Document, DocumentError, Step};
use crate::space::{Angle, Direction, Point};
use crate::{AppName, Bitrate, CameraName};

/// Camera names that a message repeats at most.
const NAMES_MAX: usize = 8;

/// Reads the content of a live manifest whose `kind` is taken out.
pub(crate) fn read(document: &Document<'_>) -> Result<Live, DocumentError> {
    let raw: Raw = document.to()?;
    Live::try_from(raw).map_err(|it| document.error_at(&it.at, it.message, it.hint))
}

/// As it stands in the manifest.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    name: AppName,
    #[serde(default)]
    title: String,
    #[serde(default)]
    center: Point,
    #[serde(default)]
    cameras: Vec<RawCamera>,
    sound: Option<CameraName>,
    renditions: Option<Vec<Rendition>>,
    #[serde(default)]
    ingest: Ingest,
    #[serde(default = "retention_default", deserialize_with = "retention")]
    retention_secs: u32,
    #[serde(default)]
    access: Access,
}

/// A camera and where it stands.
#[derive(Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Camera)]
pub(super) struct RawCamera {
    /// Its name.
    name: CameraName,
    /// What people read. Default: the name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    title: String,
    /// Where it stands, in metres.
    #[schema(value_type = [f64; 3])]
    position: Point,
    /// The point it looks at; either this or an angle. Default: the event's center.
    #[schema(value_type = Option<[f64; 3]>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    look_at: Option<Point>,
    /// Where it looks, from the x axis, counterclockwise seen from above.
    #[serde(skip_serializing_if = "Option::is_none")]
    yaw_degrees: Option<Angle>,
    /// Where it looks, from the ground up, -90 to 90. Default 0.
    #[serde(
        default,
        deserialize_with = "pitch",
        skip_serializing_if = "Option::is_none"
    )]
    pitch_degrees: Option<Angle>,
    /// How much it sees from left to right, 1 to 179. Default 60.
    #[serde(default = "view_default", deserialize_with = "view")]
    field_of_view_degrees: Angle,
}

impl From<Camera> for RawCamera {
    fn from(camera: Camera) -> Self {
        Self {
            name: camera.name,
            title: camera.title,
            position: camera.position,
            look_at: None,
            yaw_degrees: Some(camera.direction.yaw),
            pitch_degrees: Some(camera.direction.pitch),
            field_of_view_degrees: camera.field_of_view,
        }
    }
}

/// What is wrong with an event as a whole, and where.
#[derive(Debug, thiserror::Error)]
#[error("{message}{}", hint.as_ref().map(|it| format!("; {it}")).unwrap_or_default())]
pub(super) struct Wrong {
    at: Vec<Step>,
    message: String,
    hint: Option<String>,
}

impl Wrong {
    fn new(at: &[Step], message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            at: at.to_vec(),
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

impl TryFrom<Raw> for Live {
    type Error = Wrong;

    fn try_from(raw: Raw) -> Result<Self, Wrong> {
        let cameras = cameras(raw.cameras, raw.center)?;
        let sound = match raw.sound {
            Some(sound) => known_camera(sound, &cameras)?,
            None => cameras[0].name.clone(),
        };
        Ok(Self {
            name: raw.name,
            title: raw.title,
            center: raw.center,
            cameras,
            sound,
            renditions: renditions(raw.renditions)?,
            ingest: raw.ingest,
            retention_secs: raw.retention_secs,
            access: raw.access,
        })
    }
}

/// At least one, at most [`CAMERAS_MAX`], each with a name of its own and a direction.
fn cameras(raw: Vec<RawCamera>, center: Point) -> Result<Vec<Camera>, Wrong> {
    let at = &[Step::Key("cameras")];
    if raw.is_empty() {
        let hint = "add [[cameras]] with name = \"north\" and position = [0, 20, 3], in metres";
        return Err(Wrong::new(at, "the event has no camera", hint));
    }
    if raw.len() > CAMERAS_MAX {
        let message = format!("the event has {} cameras", raw.len());
        let hint = format!("{CAMERAS_MAX} at most; a second event can take the others");
        return Err(Wrong::new(at, message, hint));
    }
    let mut names = BTreeSet::new();
    let mut cameras = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        if !names.insert(raw.name.clone()) {
            let at = &[at[0], Step::Item(index), Step::Key("name")];
            let message = format!("there is a camera `{}` already", raw.name);
            return Err(Wrong::new(at, message, "give each camera its own name"));
        }
        cameras.push(camera(raw, index, center)?);
    }
    Ok(cameras)
}

fn camera(raw: RawCamera, index: usize, center: Point) -> Result<Camera, Wrong> {
    let at = |key| [Step::Key("cameras"), Step::Item(index), Step::Key(key)];
    let direction = match (raw.look_at, raw.yaw_degrees, raw.pitch_degrees) {
        (Some(_), yaw, pitch) if yaw.is_some() || pitch.is_some() => {
            let message = format!("camera `{}` has two directions", raw.name);
            let hint = "write either look_at or yaw_degrees and pitch_degrees";
            return Err(Wrong::new(&at("look_at"), message, hint));
        }
        (None, None, Some(_)) => {
            let message = format!("camera `{}` has a pitch but no yaw", raw.name);
            let hint = "add yaw_degrees, or write look_at = [x, y, z] instead of both";
            return Err(Wrong::new(&at("pitch_degrees"), message, hint));
        }
        (None, Some(yaw), pitch) => Some(Direction {
            yaw,
            pitch: pitch.unwrap_or_default(),
        }),
        (look_at, _, _) => raw.position.towards(look_at.unwrap_or(center)),
    };
    let Some(direction) = direction else {
        let message = format!("camera `{}` stands where it looks at", raw.name);
        let hint = "move it, or write yaw_degrees";
        return Err(Wrong::new(&at("position"), message, hint));
    };
    Ok(Camera {
        title: if raw.title.is_empty() {
            raw.name.to_string()
        } else {
            raw.title
        },
        name: raw.name,
        position: raw.position,
        direction,
        field_of_view: raw.field_of_view_degrees,
    })
}

fn known_camera(sound: CameraName, cameras: &[Camera]) -> Result<CameraName, Wrong> {
    let names = || cameras.iter().map(|it| it.name.as_str());
    if names().any(|it| it == sound.as_str()) {
        return Ok(sound);
    }
    let hint = match document::nearest(sound.as_str(), names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let names: Vec<&str> = names().take(NAMES_MAX).collect();
            format!("cameras are {}", names.join(", "))
        }
    };
    let message = format!("the sound comes from `{sound}`, which is no camera of this event");
    Err(Wrong::new(&[Step::Key("sound")], message, hint))
}

/// The highest bitrate first. An empty list is meant: the cameras' own streams and nothing else.
fn renditions(given: Option<Vec<Rendition>>) -> Result<Vec<Rendition>, Wrong> {
    let Some(mut renditions) = given else {
        return Ok(default_renditions());
    };
    let at = Step::Key("renditions");
    if renditions.len() > RENDITIONS_MAX {
        let message = format!("the event has {} renditions", renditions.len());
        let hint = format!("{RENDITIONS_MAX} at most; three or four are usual");
        return Err(Wrong::new(&[at], message, hint));
    }
    let mut names = BTreeSet::new();
    for (index, rendition) in renditions.iter().enumerate() {
        let at = [at, Step::Item(index), Step::Key("name")];
        if rendition.name.is_source() {
            let message = "the name `source` is taken: it is what the camera itself sends";
            return Err(Wrong::new(&at, message, "call it `high`, say"));
        }
        if !names.insert(rendition.name.clone()) {
            let message = format!("there is a rendition `{}` already", rendition.name);
            return Err(Wrong::new(&at, message, "give each rendition its own name"));
        }
    }
    renditions.sort_by_key(|it| std::cmp::Reverse(it.bitrate));
    Ok(renditions)
}

fn default_renditions() -> Vec<Rendition> {
    let rendition = |name: &str, height, kbps| Rendition {
        name: name.parse().expect("the names below are names"),
        height,
        max_fps: super::max_fps_default(),
        bitrate: Bitrate::kbps(kbps),
        group_ms: super::group_default(),
    };
    vec![
        rendition("high", 720, 2_500),
        rendition("medium", 480, 1_000),
        rendition("low", 240, 350),
    ]
}

/// What serde says to a key that is not known here.
#[cfg(test)]
pub(crate) fn unknown_key() -> toml::de::Error {
    toml::from_str::<Raw>("zzz = 1")
        .err()
        .expect("there is no such key")
}

const fn retention_default() -> u32 {
    30
}

fn view_default() -> Angle {
    Angle::degrees(60.0)
}

fn retention<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    within(from, "retention_secs", 0, 3_600)
}

fn pitch<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Angle>, D::Error> {
    let degrees = f64::deserialize(from)?;
    if (-90.0..=90.0).contains(&degrees) {
        Ok(Some(Angle::degrees(degrees)))
    } else {
        Err(serde::de::Error::custom(format!(
            "the pitch is {degrees}: expected -90 to 90 degrees"
        )))
    }
}

fn view<'de, D: Deserializer<'de>>(from: D) -> Result<Angle, D::Error> {
    let degrees = f64::deserialize(from)?;
    if (1.0..=179.0).contains(&degrees) {
        Ok(Angle::degrees(degrees))
    } else {
        Err(serde::de::Error::custom(format!(
            "the field of view is {degrees}: expected 1 to 179 degrees"
        )))
    }
}
