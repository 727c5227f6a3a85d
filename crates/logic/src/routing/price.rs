//! What a link costs.

use std::fmt;
use std::ops::Add;
use std::time::{Duration, Instant};

/// A link's price changes when it differs by so much ...
const CHANGE_MIN: Price = Price::millis(5);

/// ... and by this share, in percent ...
const CHANGE_PERCENT: u64 = 10;

/// ... for so long. Shorter, and routes follow every burst.
const CHANGE_FOR: Duration = Duration::from_secs(1);

/// A link that loses everything costs so much more.
const LOSS_COST_MS: f64 = 1_000.0;

/// Up to this utilisation a queue hardly grows.
const BUSY: f64 = 0.5;

/// From this utilisation on a link counts as overloaded.
const OVERLOADED: f64 = 0.9;

/// The highest price of a link: a minute is as good as dead.
const LINK_MAX: Price = Price::millis(60_000);

/// What a way costs, as the round trip in microseconds of a calm link that is as bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(u64);

impl Price {
    /// What the source itself asks for.
    pub const FREE: Self = Self(0);

    /// As bad as a round trip of so many milliseconds.
    pub const fn millis(ms: u64) -> Self {
        Self(ms * 1_000)
    }

    /// As bad as a round trip of so many microseconds.
    pub const fn micros(micros: u64) -> Self {
        Self(micros)
    }

    /// In microseconds of round trip.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whether this is lower than `other` by enough to change for.
    pub(super) const fn clearly_below(self, other: Self) -> bool {
        let gain = other.0.saturating_sub(self.0);
        gain >= CHANGE_MIN.0 && gain >= other.0 / 100 * CHANGE_PERCENT
    }
}

impl Add for Price {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0.div_ceil(1_000))
    }
}

/// What is known of a link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkMeasure {
    /// There and back.
    pub round_trip: Duration,
    /// How much that varies.
    pub jitter: Duration,
    /// Share of packets that are lost, 0 to 1.
    pub loss: f64,
    /// Share of its capacity that is in use, or of its busier end's, 0 to 1.
    pub load: f64,
}

impl LinkMeasure {
    /// Round trip + 4 jitter + 1 s x loss, and up to twice that on an overloaded link. A minute at
    /// most; what is not a number counts as its worst.
    pub fn price(&self) -> Price {
        let part = |it: f64| if it.is_nan() { 1.0 } else { it.clamp(0.0, 1.0) };
        let calm = self.round_trip + 4 * self.jitter;
        let ms = calm.as_secs_f64() * 1e3 + LOSS_COST_MS * part(self.loss);
        let busy = part((part(self.load) - BUSY) / (OVERLOADED - BUSY));
        // Smooth at both ends, so that a load that swings around one of them does not jump.
        let crowded = busy * busy * (3.0 - 2.0 * busy);
        let micros = Duration::try_from_secs_f64(ms * (1.0 + crowded) / 1e3)
            .map_or(LINK_MAX.0, |it| {
                u64::try_from(it.as_micros()).unwrap_or(LINK_MAX.0)
            });
        Price(micros).min(LINK_MAX)
    }
}

/// Keeps the price of one link steady: it follows what is measured only when that has clearly
/// changed for a while. A link that dies is no matter of its price.
#[derive(Clone, Debug)]
pub struct Pricer {
    price: Option<Price>,
    /// What is measured now, and since when it differs clearly.
    differs: Option<(Price, Instant)>,
    told: Option<Price>,
}

impl Default for Pricer {
    fn default() -> Self {
        Self::new()
    }
}

impl Pricer {
    /// Nothing is measured yet.
    pub const fn new() -> Self {
        Self {
            price: None,
            differs: None,
            told: None,
        }
    }

    /// Takes in what is measured: smoothed round trip and jitter, some times a second.
    pub fn handle_measure(&mut self, measure: &LinkMeasure, now: Instant) {
        let measured = measure.price();
        let Some(price) = self.price else {
            self.price = Some(measured);
            return;
        };
        if !measured.clearly_below(price) && !price.clearly_below(measured) {
            self.differs = None;
            return;
        }
        let since = self.differs.map_or(now, |it| it.1);
        self.differs = Some((measured, since));
        self.handle_timeout(now);
    }

    /// Moves time forward.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((measured, _)) = self.differs.take_if(|it| now >= it.1 + CHANGE_FOR) {
            self.price = Some(measured);
        }
    }

    /// The price, if it has changed.
    pub fn poll_price(&mut self) -> Option<Price> {
        if self.told == self.price {
            return None;
        }
        self.told = self.price;
        self.price
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), if ever.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.differs.map(|it| it.1 + CHANGE_FOR)
    }

    /// The price, once something is measured.
    pub const fn price(&self) -> Option<Price> {
        self.price
    }
}
