//! Why a node was not chosen, in words for a person.

use std::fmt;
use std::time::Duration;

use model::{Bytes, NodeId, SiteName};

use super::{Candidate, RoundTrip, RoundTripSource};

/// A node that was not chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// The node.
    pub node: NodeId,
    /// Its site.
    pub site: SiteName,
    /// Why; its `Display` is for a person.
    pub why: Rejection,
}

/// Why a node was not chosen.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// The app's manifest names other sites.
    NotAllowedHere {
        /// These.
        allowed: Vec<SiteName>,
    },
    /// Over the app's hard limit.
    TooFar {
        /// To this node.
        round_trip: RoundTrip,
        /// The limit.
        limit: Duration,
    },
    /// Too few cores are free.
    NoCpu {
        /// Thousandths of a core.
        free_millis: u32,
        /// Thousandths of a core.
        need_millis: u32,
    },
    /// Too little memory is free.
    NoMemory {
        /// Free.
        free: Bytes,
        /// Needed.
        need: Bytes,
    },
    /// It can encode no further picture.
    NoEncoder {
        /// Free.
        free: u32,
        /// Needed.
        need: u32,
    },
    /// It is shutting down.
    Draining,
    /// It has said nothing for so long.
    Silent(Duration),
    /// What the app requires is not installed there.
    FilesMissing,
    /// It has not heard of the release yet.
    ReleaseMissing,
    /// It was asked and said no, or must not be asked.
    Refused {
        /// Its words.
        why: String,
    },
    /// It could serve, but is farther than the best.
    Farther {
        /// Its round trip.
        round_trip: RoundTrip,
        /// So much farther.
        by: Duration,
        /// The best one's site.
        than: SiteName,
    },
    /// It could serve, but would have to start the app.
    NotWarm {
        /// The best one's site.
        than: SiteName,
    },
    /// It could serve, but has more to do.
    Busier {
        /// Its load, 0 to 1.
        load: f64,
        /// The best one's load, 0 to 1.
        best_load: f64,
        /// The best one's site.
        than: SiteName,
    },
    /// It could serve, but what would be left of it would fit nothing.
    Lopsided {
        /// The best one's site.
        than: SiteName,
    },
    /// It could serve, but costs more.
    Dearer {
        /// The best one's site.
        than: SiteName,
    },
    /// It could serve, but its sessions have had late pictures.
    Troubled {
        /// The best one's site.
        than: SiteName,
    },
    /// It is as good as the best: sessions are spread.
    AsGood {
        /// The best one's site.
        than: SiteName,
    },
}

/// Why `other` comes after `best`: the part of the score that differs most.
pub(super) fn behind(other: &Candidate, best: &Candidate) -> Rejection {
    let than = best.site.clone();
    let (a, b) = (&other.score, &best.score);
    let mut parts = [
        a.latency - b.latency,
        a.start - b.start,
        a.load - b.load,
        a.lopsided - b.lopsided,
        a.price - b.price,
        a.trouble - b.trouble,
    ]
    .into_iter()
    .enumerate()
    .collect::<Vec<_>>();
    parts.sort_by(|x, y| y.1.total_cmp(&x.1));
    match parts.first() {
        Some((_, points)) if *points < super::SAME_POINTS / 2.0 => Rejection::AsGood { than },
        Some((0, _)) => Rejection::Farther {
            round_trip: other.round_trip,
            by: other
                .round_trip
                .estimate
                .saturating_sub(best.round_trip.estimate),
            than,
        },
        Some((1, _)) => Rejection::NotWarm { than },
        Some((2, _)) => Rejection::Busier {
            load: other.load,
            best_load: best.load,
            than,
        },
        Some((3, _)) => Rejection::Lopsided { than },
        Some((4, _)) => Rejection::Dearer { than },
        Some((5, _)) => Rejection::Troubled { than },
        Some(_) | None => Rejection::AsGood { than },
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowedHere { allowed } => {
                let names: Vec<&str> = allowed.iter().map(SiteName::as_str).collect();
                write!(f, "the app may run at {} only", names.join(", "))
            }
            Self::TooFar { round_trip, limit } => {
                write!(f, "{round_trip}, the app allows {}", Ms(*limit))
            }
            Self::NoCpu {
                free_millis,
                need_millis,
            } => {
                let (free, need) = (Cores(*free_millis), Cores(*need_millis));
                write!(f, "free cores {free}, needs {need}")
            }
            Self::NoMemory { free, need } => write!(f, "free memory {free}, needs {need}"),
            Self::NoEncoder { free, need } => write!(f, "free encoders {free}, needs {need}"),
            Self::Draining => f.write_str("it is shutting down"),
            Self::Silent(silence) => write!(f, "it has not answered for {} s", silence.as_secs()),
            Self::FilesMissing => f.write_str("what the app requires is not installed there"),
            Self::ReleaseMissing => f.write_str("it does not have this release yet"),
            Self::Refused { why } => write!(f, "refused: {why}"),
            Self::Farther {
                round_trip,
                by,
                than,
            } => write!(f, "{round_trip}, {} farther than {than}", Ms(*by)),
            Self::NotWarm { than } => write!(f, "would have to start the app first, unlike {than}"),
            Self::Busier {
                load,
                best_load,
                than,
            } => {
                let (load, best) = (Percent(*load), Percent(*best_load));
                write!(f, "{load} in use, {than} {best}")
            }
            Self::Lopsided { than } => {
                write!(f, "what would remain there fits less than at {than}")
            }
            Self::Dearer { than } => write!(f, "costs more than {than}"),
            Self::Troubled { than } => write!(f, "its pictures have come late, unlike at {than}"),
            Self::AsGood { than } => write!(f, "as good as {than}; sessions are spread"),
        }
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = if self.is_warm { "warm" } else { "cold start" };
        write!(
            f,
            "{}, {start}, {} in use",
            self.round_trip,
            Percent(self.load)
        )
    }
}

impl fmt::Display for RoundTrip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Ms(self.estimate);
        match self.source {
            RoundTripSource::Measured { .. } => write!(f, "{time} measured"),
            RoundTripSource::Distance { .. } => write!(f, "{time} by distance"),
            RoundTripSource::Unknown => f.write_str("unknown distance"),
        }
    }
}

struct Ms(Duration);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} ms", self.0.as_secs_f64() * 1e3)
    }
}

struct Cores(u32);

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", f64::from(self.0) / 1e3)
    }
}

struct Percent(f64);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} %", self.0 * 100.0)
    }
}
