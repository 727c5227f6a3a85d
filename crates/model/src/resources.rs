//! What a session takes from a node, and what a node has.

use serde::{Deserialize, Serialize};

use crate::Bytes;

/// A vector of capacities. The same type says what a node has, what is free and what a session
/// needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: u32,
    /// Memory in bytes.
    pub memory: Bytes,
    /// Pictures that can be encoded at once. One for each streamed session.
    pub encoders: u32,
}

impl Resources {
    /// `self - need`, or `None` if any part does not fit.
    pub fn checked_sub(self, need: Self) -> Option<Self> {
        Some(Self {
            cpu_millis: self.cpu_millis.checked_sub(need.cpu_millis)?,
            memory: self.memory.checked_sub(need.memory)?,
            encoders: self.encoders.checked_sub(need.encoders)?,
        })
    }

    /// `self + other`, each part at most its type's maximum.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self {
            cpu_millis: self.cpu_millis.saturating_add(other.cpu_millis),
            memory: self.memory.saturating_add(other.memory),
            encoders: self.encoders.saturating_add(other.encoders),
        }
    }

    /// The largest share of `self` that `need` takes, 0 to infinity: the vector's bottleneck.
    pub fn share(self, need: Self) -> f64 {
        let part = |need: f64, have: f64| match (need > 0.0, have > 0.0) {
            (false, _) => 0.0,
            (true, false) => f64::INFINITY,
            (true, true) => need / have,
        };
        let cpu = part(need.cpu_millis.into(), self.cpu_millis.into());
        let encoders = part(need.encoders.into(), self.encoders.into());
        #[expect(
            clippy::cast_precision_loss,
            reason = "bytes of memory fit a double to a part in 2^53"
        )]
        let memory = part(need.memory.get() as f64, self.memory.get() as f64);
        cpu.max(encoders).max(memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: Resources = Resources {
        cpu_millis: 2_000,
        memory: Bytes::mb(1_000),
        encoders: 4,
    };

    #[test]
    fn every_part_must_fit() {
        let small = Resources {
            cpu_millis: 500,
            memory: Bytes::mb(200),
            encoders: 1,
        };
        assert!(NODE.checked_sub(small).is_some());
        for too_much in [
            Resources {
                cpu_millis: 2_001,
                ..small
            },
            Resources {
                memory: Bytes::mb(1_001),
                ..small
            },
            Resources {
                encoders: 5,
                ..small
            },
        ] {
            assert_eq!(NODE.checked_sub(too_much), None);
        }
    }

    #[test]
    fn the_bottleneck_counts() {
        let need = Resources {
            cpu_millis: 200,
            memory: Bytes::mb(500),
            encoders: 1,
        };
        assert!((NODE.share(need) - 0.5).abs() < 1e-9);
        assert!(Resources::default().share(need).is_infinite());
    }
}
