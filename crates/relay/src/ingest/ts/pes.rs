//! Puts the units of one track together.

use super::super::codec::Malformed;
use super::Packet;
use crate::media::SAMPLE_MAX;

/// So many units have to end with a filled packet, and none have one before its end, until such a
/// packet is believed to be the end: pictures do not say how long they are, and whoever waits for
/// the next one to begin is a picture late.
const BELIEVED: u32 = 25;

/// A unit with its header read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pes {
    /// When to show or play it, in ticks of 90 kHz, to 33 bits.
    pub timestamp: Option<u64>,
    pub data: Vec<u8>,
}

/// The unit of a track that is under way.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    data: Vec<u8>,
    /// Whether its beginning was seen, and nothing of it is missing.
    whole: bool,
    counter: Option<u8>,
    /// A filled packet has been seen in it.
    filled: bool,
    habit: Habit,
}

/// How the track's units end.
#[derive(Debug)]
enum Habit {
    /// So many have ended with a filled packet.
    Seen(u32),
    /// One went on after it.
    Otherwise,
}

impl Default for Habit {
    fn default() -> Self {
        Self::Seen(0)
    }
}

impl Assembly {
    /// How many packets are missing before this one, at least.
    pub(super) fn check(&mut self, packet: &Packet<'_>) -> u64 {
        let last = self.counter.replace(packet.counter);
        let missing = match last {
            Some(last) if !packet.leaps => packet.counter.wrapping_sub(last + 1) & 0xf,
            _ => 0,
        };
        // A packet may be sent twice, which looks as if fifteen were missing. Nobody does by IP, and
        // taking a loss for it would spoil a picture.
        self.whole &= missing == 0;
        missing.into()
    }

    /// Takes a packet that [`Self::check`] has seen; answers the units that it completes.
    pub(super) fn handle(&mut self, packet: &Packet<'_>) -> Result<[Option<Pes>; 2], Malformed> {
        let mut units = [None, None];
        if packet.starts {
            units[0] = self.finish();
            self.whole = true;
        } else if self.filled {
            self.habit = Habit::Otherwise;
        }
        if !self.whole {
            return Ok(units);
        }
        if self.data.len() + packet.payload.len() > SAMPLE_MAX {
            return Err(Malformed(
                "a picture is too large: lower the bitrate or its size",
            ));
        }
        self.data.extend_from_slice(packet.payload);
        self.filled |= packet.filled;
        let believed = matches!(self.habit, Habit::Seen(BELIEVED..));
        let ends = match length(&self.data) {
            Some(length) => self.data.len() >= length,
            None => packet.filled && believed,
        };
        if ends {
            units[1] = self.finish();
        }
        Ok(units)
    }

    /// What is under way is all there is.
    pub(super) fn finish(&mut self) -> Option<Pes> {
        let data = std::mem::take(&mut self.data);
        let filled = std::mem::take(&mut self.filled);
        let whole = std::mem::take(&mut self.whole);
        if let Habit::Seen(count) = &mut self.habit
            && filled
        {
            *count = count.saturating_add(1);
        }
        read(data).filter(|_| whole)
    }
}

/// How long the unit is, if it says so.
fn length(data: &[u8]) -> Option<usize> {
    let [_, _, _, _, high, low, ..] = data else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    (length > 0).then_some(6 + length)
}

fn read(mut data: Vec<u8>) -> Option<Pes> {
    let [0, 0, 1, _, _, _, _, flags, header, ..] = data[..] else {
        return None;
    };
    let start = 9 + usize::from(header);
    if data.len() < start {
        return None;
    }
    let timestamp = (flags & 0x80 != 0 && header >= 5).then(|| {
        let part = |at: usize| u64::from(data[at]);
        (part(9) >> 1 & 7) << 30
            | part(10) << 22
            | (part(11) >> 1) << 15
            | part(12) << 7
            | part(13) >> 1
    });
    if let Some(length) = length(&data) {
        data.truncate(length.max(start));
    }
    data.drain(..start);
    Some(Pes { timestamp, data })
}
