//! An app's manifest: `selvedge.toml`, what a tenant publishes.
//!
//! **Invariant:** a manifest is of one kind and holds what belongs to that kind, nothing else. What
//! all kinds have in common is asked through [`Manifest`]; the rest is in [`Stream`] and [`Live`].

pub mod live;
pub mod stream;

use serde::{Deserialize, Deserializer, Serialize};

use crate::AppName;
use crate::document::{Document, DocumentError};

pub use live::Live;
pub use stream::{
    Content, Cores, Input, InputKind, Needs, OnMove, Placement, Screen, SessionRules, Sound, Stream,
};

/// The longest document that is read, in bytes. Manifests are a page.
pub const MANIFEST_MAX: usize = 64 * 1024;

/// What an app is and what it needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Manifest {
    /// A program with a window.
    Stream(Stream),
    /// An event with cameras.
    Live(Live),
}

/// Kinds of apps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A program with a window: its picture and sound are streamed, input comes back.
    Stream,
    /// An event with cameras: each viewer receives the view that their hand asks for.
    Live,
}

impl Kind {
    /// As it stands in a manifest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Live => "live",
        }
    }

    const ALL: [Self; 2] = [Self::Stream, Self::Live];

    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Stream => stream::KEYS,
            Self::Live => live::KEYS,
        }
    }
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    /// With line, what is wrong, and what would be right.
    pub fn read(text: &str) -> Result<Self, DocumentError> {
        if text.len() > MANIFEST_MAX {
            return Err(DocumentError {
                line: None,
                column: None,
                message: format!("the manifest is longer than {MANIFEST_MAX} bytes"),
                hint: Some("a manifest is a page of TOML; is this the right file?".into()),
            });
        }
        let mut document = Document::parse(text)?;
        let kind = kind_of(&document)?;
        document.remove("kind");
        refuse_strangers(&document, kind)?;
        let mut manifest = match kind {
            Kind::Stream => Self::Stream(document.to()?),
            Kind::Live => Self::Live(live::read(&document)?),
        };
        let name = manifest.name().to_string();
        let title = match &mut manifest {
            Self::Stream(stream) => &mut stream.title,
            Self::Live(live) => &mut live.title,
        };
        if title.is_empty() {
            *title = name;
        }
        Ok(manifest)
    }

    /// The app's name, also in its address.
    pub const fn name(&self) -> &AppName {
        match self {
            Self::Stream(stream) => &stream.name,
            Self::Live(live) => &live.name,
        }
    }

    /// What people read.
    pub fn title(&self) -> &str {
        match self {
            Self::Stream(stream) => &stream.title,
            Self::Live(live) => &live.title,
        }
    }

    /// Who may use it.
    pub const fn access(&self) -> Access {
        match self {
            Self::Stream(stream) => stream.access,
            Self::Live(live) => live.access,
        }
    }

    /// What kind of app it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Stream(_) => Kind::Stream,
            Self::Live(_) => Kind::Live,
        }
    }

    /// The manifest of a program, if it is one.
    pub const fn stream(&self) -> Option<&Stream> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Live(_) => None,
        }
    }

    /// The manifest of an event, if it is one.
    pub const fn live(&self) -> Option<&Live> {
        match self {
            Self::Live(live) => Some(live),
            Self::Stream(_) => None,
        }
    }
}

/// Who may use an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// Whether anyone who reaches the center may start a session or watch. Default false: only who
    /// holds a token.
    pub public: bool,
}

fn kind_of(document: &Document<'_>) -> Result<Kind, DocumentError> {
    #[derive(Deserialize)]
    struct Head {
        kind: Option<Kind>,
    }
    let head: Head = document.to()?;
    head.kind.ok_or_else(|| DocumentError {
        line: None,
        column: None,
        message: "the manifest does not say its kind".into(),
        hint: Some("add kind = \"stream\" for a program, or kind = \"live\" for an event".into()),
    })
}

/// A key of another kind is no slip of the pen: say whose it is.
fn refuse_strangers(document: &Document<'_>, kind: Kind) -> Result<(), DocumentError> {
    for key in document.keys() {
        if kind.keys().contains(&key) {
            continue;
        }
        let owner = Kind::ALL.into_iter().find(|it| it.keys().contains(&key));
        if let Some(owner) = owner {
            let message = format!(
                "`{key}` belongs to kind = \"{}\", and this is kind = \"{}\"",
                owner.as_str(),
                kind.as_str()
            );
            let hint = format!(
                "take `{key}` out, or write kind = \"{}\"; an app is one or the other",
                owner.as_str()
            );
            return Err(document.error_at_key(key, message, Some(hint)));
        }
    }
    Ok(())
}

fn within<'de, D, T>(deserializer: D, what: &str, min: T, max: T) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i64> + Into<i64> + Copy,
{
    let number = i64::deserialize(deserializer)?;
    T::try_from(number)
        .ok()
        .filter(|_| (min.into()..=max.into()).contains(&number))
        .ok_or_else(|| {
            let (min, max) = (min.into(), max.into());
            serde::de::Error::custom(format!("{what} is {number}: expected {min} to {max}"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "name = 'demo'\nkind = 'stream'\ncommand = ['xterm']\n";

    #[test]
    fn the_least_manifest() {
        let manifest = Manifest::read(LEAST).unwrap();
        assert_eq!(manifest.title(), "demo");
        assert_eq!(manifest.kind(), Kind::Stream);
        assert!(!manifest.access().public);
        let stream = manifest.stream().unwrap();
        assert_eq!(stream.screen.width, 1280);
        assert_eq!(stream.session.on_move, OnMove::Stay);
        assert_eq!(stream.needs().encoders, 1);
    }

    #[test]
    fn a_manifest_survives_the_wire() {
        let manifest = Manifest::read(LEAST).unwrap();
        let text = toml::to_string(&manifest).unwrap();
        assert_eq!(Manifest::read(&text).unwrap(), manifest);
        assert_eq!(toml::from_str::<Manifest>(&text).unwrap(), manifest);
    }

    #[test]
    fn errors_say_where_what_and_what_instead() {
        check("[screen]\nwidth = 1281", "line 5", "1280 would do");
        check(
            "[screen]\ncontent = '3d'",
            "line 5",
            "known here: motion, text, auto",
        );
        check(
            "[sesion]\non_move = 'stay'",
            "line 4",
            "did you mean `session`?",
        );
        check("[resources]\nmemory = 'much'", "line 5", "\"256MB\"");
        check("[resources]\ncpu = 0", "line 5", "0.01 to 64");
        check(
            "[session]\non_move = 'restrat'",
            "line 5",
            "did you mean `restart`?",
        );
        check("[placement]\nwarm = 99", "line 5", "0 to 16");
    }

    #[test]
    fn an_app_is_of_one_kind() {
        check(
            "retention_secs = 5",
            "line 4, column 1: `retention_secs` belongs to kind = \"live\", and this is kind = \"stream\"",
            "take `retention_secs` out, or write kind = \"live\"",
        );
        let wrong = |text| Manifest::read(text).unwrap_err().to_string();
        assert_eq!(
            wrong("name = 'a'\nkind = 'life'"),
            "line 2, column 8: unknown value `life`; did you mean `live`?"
        );
        assert_eq!(
            wrong("name = 'a'"),
            "the manifest does not say its kind; add kind = \"stream\" for a program, or kind = \"live\" for an event"
        );
        let live = wrong("name = 'a'\nkind = 'live'\ncommand = ['x']");
        assert!(live.starts_with("line 3, column 1: `command` belongs to kind = \"stream\""));
    }

    /// The lists of keys are written by hand; serde knows the truth.
    #[test]
    fn every_kind_knows_its_keys() {
        for kind in Kind::ALL {
            let error = match kind {
                Kind::Stream => toml::from_str::<Stream>("zzz = 1").unwrap_err(),
                Kind::Live => live::unknown_key(),
            };
            let known: Vec<&str> = error.message().split('`').skip(3).step_by(2).collect();
            assert_eq!(known, kind.keys(), "{kind:?}");
        }
    }

    #[track_caller]
    fn check(more: &str, place: &str, hint: &str) {
        let error = Manifest::read(&format!("{LEAST}{more}"))
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(place), "{error}");
        assert!(error.contains(hint), "{error}");
    }
}
