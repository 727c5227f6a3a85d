//! What a camera sends, whichever way it came in: the one language between gateways, which take
//! publications apart, and whatever carries them on.
//!
//! A gateway gives a publication out as a stream of [`Published`]. Invariants that every gateway
//! keeps, so that nobody behind it checks again:
//! - a configuration comes before the first sample of its kind, and again before the first sample
//!   that needs another one;
//! - samples of a kind come in decoding order, the first picture is a keyframe, and no sample is
//!   larger than [`SAMPLE_MAX`];
//! - H.264 is Annex B (start codes of four bytes) with its parameter sets before every IDR; AV1 is a
//!   temporal unit of OBUs with sizes, without its delimiter, with the sequence header before every
//!   keyframe; VP9 is a superframe; AAC is a raw frame; Opus is a packet;
//! - timestamps are when to show or play, on the publisher's clock, the same one for pictures and
//!   sound, unwrapped, from wherever it likes to start;
//! - [`Published::Ended`] is the last thing and always comes, unless the receiver went first.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::access::Refusal;
pub use model::media::{AudioCodec, AudioConfig, VideoCodec, VideoConfig};

/// The largest picture or packet of sound, in bytes. An IDR of 4K at 50 Mbit/s is below a third.
pub const SAMPLE_MAX: usize = 8 << 20;

/// Samples between a gateway and its taker. They are taken at once or the taker is stuck: a second
/// of pictures and sound, after which the gateway stops reading and the publisher feels it.
const QUEUE: usize = 128;

/// One picture, or one packet of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When to show or play it, on the publisher's clock.
    pub timestamp: Duration,
    /// Whether a decoder can start here. Always true for sound.
    pub keyframe: bool,
    /// What the decoder takes.
    pub data: Bytes,
}

/// What happens in a publication, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Published {
    /// Pictures are coded so from here on.
    Video(VideoConfig),
    /// Sound is coded so from here on.
    Audio(AudioConfig),
    /// A picture.
    VideoSample(Sample),
    /// A packet of sound.
    AudioSample(Sample),
    /// Something got lost on the way here, so many pieces of the transport at least. If it was
    /// pictures, they go on with a keyframe.
    Lost(u64),
    /// The tool's user should change something; it works nevertheless.
    Warning(Warning),
    /// Nothing more comes.
    Ended(Ended),
}

/// What the tool's user should change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Which warning: the same one is not given twice in a publication.
    pub kind: WarningKind,
    /// What it is and what to change, for a person.
    pub text: String,
}

/// Kinds of warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WarningKind {
    /// Keyframes are so far apart that switching to this camera takes long.
    LongGroup,
    /// Pictures come in another order than they are shown.
    Reordered,
    /// More bits a second than were agreed.
    Bitrate,
    /// Tracks that are not carried on, such as a second sound or subtitles.
    Ignored,
}

/// How a publication ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The publisher said so, or closed its connection.
    Done,
    /// We ended it, and said why: the words that the tool's user was given.
    Refused(String),
    /// The connection broke, or went silent.
    Broken(String),
}

/// The way into a publication. Waits while the taker is behind.
#[derive(Clone, Debug)]
pub struct Sink {
    samples: mpsc::Sender<Published>,
    farewell: Farewell,
}

/// Lets whoever ends a publication say why, in words for the tool's user, before it lets go. What is
/// said first counts.
#[derive(Clone, Debug, Default)]
pub struct Farewell(Arc<OnceLock<Refusal>>);

impl Farewell {
    /// Says why the publication is not taken any more.
    pub fn say(&self, why: Refusal) {
        // Somebody else was first.
        let _ = self.0.set(why);
    }
}

/// Nobody takes the publication any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nobody takes the publication")]
pub struct Untaken;

/// Creates a publication's two ends.
pub fn publication() -> (Sink, Publication) {
    let (tx, rx) = mpsc::channel(QUEUE);
    let sink = Sink {
        samples: tx,
        farewell: Farewell::default(),
    };
    (sink, Publication(rx))
}

impl Sink {
    /// Hands on what happened. Waits while the taker is behind. Safe to drop: then it has not
    /// happened.
    pub async fn send(&self, published: Published) -> Result<(), Untaken> {
        self.samples.send(published).await.map_err(|_| Untaken)
    }

    /// Waits until nobody takes the publication.
    pub async fn closed(&self) {
        self.samples.closed().await;
    }

    /// For whoever may end the publication.
    pub fn farewell(&self) -> Farewell {
        self.farewell.clone()
    }

    /// Why nobody takes it any more, as far as that was said.
    pub fn why(&self) -> Refusal {
        let said = self.farewell.0.get().cloned();
        said.unwrap_or(Refusal(
            "this camera is no longer taken: its event has ended, or another publisher took its place"
                .into(),
        ))
    }
}

/// What comes out of a publication. Dropping it ends the publication at its gateway.
#[derive(Debug)]
pub struct Publication(mpsc::Receiver<Published>);

impl Publication {
    /// What happened next; `None` after [`Published::Ended`], or if the gateway was torn down. Safe
    /// to drop and call again.
    pub async fn next(&mut self) -> Option<Published> {
        self.0.recv().await
    }
}
