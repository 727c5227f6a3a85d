//! What a sound daemon's sink plays, as packets of Opus.
//!
//! Apps play into a PulseAudio sink that nobody hears; its monitor is recorded, but only while an app
//! plays into it and somebody listens: a stream that records silence would wake the daemon and us a
//! hundred times a second. While an app plays silence (many games never stop) packets cease after a
//! second.
//!
//! This speaks PulseAudio's protocol itself, on one thread that blocks; of the crate `pulseaudio` only
//! the encoding of messages is used, because its client cannot be told what starts to play.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use bytes::Bytes;
use pulseaudio::protocol::{ProtocolError, PulseError};
use tokio::sync::{mpsc, oneshot};

use crate::wake::Orders;
use packer::Packer;
use pulse::{Heard, Pulse};

pub mod decoder;
mod packer;
mod pulse;

/// Packets that wait for the receiver at most: 200 ms. Later ones are dropped; a decoder conceals a
/// gap, but never catches up with a delay.
const PACKETS_MAX: usize = 20;

/// How long a packet sounds.
pub const PACKET_TIME: Duration = Duration::from_millis(10);

/// A packet of Opus: 48 kHz, stereo, 10 ms, 96 kbit/s.
#[derive(Clone, Debug)]
pub struct Packet {
    /// What a decoder takes.
    pub data: Bytes,
    /// When its last sample was recorded.
    pub captured_at: Instant,
}

/// Why there is no sound.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// The daemon cannot be reached.
    #[error("cannot reach the sound daemon at {socket}")]
    Connect {
        /// Its socket.
        socket: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection ended: the daemon stopped or crashed.
    #[error("the sound daemon has gone")]
    Gone(#[source] io::Error),
    /// Its words make no sense.
    #[error("the sound daemon cannot be understood")]
    Protocol(#[source] ProtocolError),
    /// It refused.
    #[error("the sound daemon refused to {what}: {error:?}")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// Its answer.
        error: PulseError,
    },
    /// The codec failed.
    #[error("cannot encode sound")]
    Codec(#[source] opus::Error),
    /// The operating system refused a thread or a descriptor.
    #[error("the operating system refused resources")]
    System(#[source] io::Error),
}

/// A recording of one sink. It ends when this is dropped.
#[derive(Debug)]
pub struct Recording {
    packets: mpsc::Receiver<Packet>,
    orders: Arc<Orders<SoundOrders>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    On,
    Off,
}

#[derive(Debug, Default)]
struct SoundOrders {
    run: Option<Run>,
    stop: bool,
}

impl Recording {
    /// Starts to record the source `monitor` of the daemon that listens at `socket`.
    ///
    /// # Errors
    /// If the daemon cannot be reached or has no such source.
    pub async fn start(socket: &Path, monitor: &str) -> Result<Self, SoundError> {
        let orders = Arc::new(Orders::new().map_err(SoundError::System)?);
        let (packets_tx, packets) = mpsc::channel(PACKETS_MAX);
        let (ready_tx, ready) = oneshot::channel();
        let (socket, monitor) = (socket.to_owned(), monitor.to_owned());
        let for_thread = orders.clone();
        thread::Builder::new()
            .name("sound".into())
            .spawn(move || {
                let opened =
                    Pulse::connect(&socket, &monitor).and_then(|pulse| Ok((pulse, Packer::new()?)));
                let (pulse, packer) = match opened {
                    Ok(opened) => opened,
                    Err(error) => {
                        let _ = ready_tx.send(Err(error)); // nobody may want to know any more
                        return;
                    }
                };
                let _ = ready_tx.send(Ok(()));
                if let Err(error) = record(pulse, packer, &for_thread, &packets_tx) {
                    tracing::warn!(error = &error as &dyn std::error::Error, "sound ended");
                }
            })
            .map_err(SoundError::System)?;
        let panicked = || SoundError::System(io::Error::other("the thread for sound panicked"));
        ready.await.map_err(|_| panicked())??;
        Ok(Self { packets, orders })
    }

    /// The next packet; `None` when the daemon has gone. Safe to drop and call again.
    pub async fn next(&mut self) -> Option<Packet> {
        self.packets.recv().await
    }

    /// Stops recording until [`resume`](Self::resume): for when nobody listens.
    pub fn pause(&self) {
        self.orders.give(|orders| orders.run = Some(Run::Off));
    }

    /// Records again. A recording starts resumed.
    pub fn resume(&self) {
        self.orders.give(|orders| orders.run = Some(Run::On));
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.orders.give(|orders| orders.stop = true);
    }
}

fn record(
    mut pulse: Pulse,
    mut packer: Packer,
    orders: &Orders<SoundOrders>,
    packets: &mpsc::Sender<Packet>,
) -> Result<(), SoundError> {
    let mut run = Run::On;
    loop {
        let SoundOrders { run: wish, stop } = orders.take();
        if stop {
            return Ok(());
        }
        run = wish.unwrap_or(run);
        pulse.listen_if(run == Run::On)?;
        while let Some(heard) = pulse.next()? {
            let Heard::Samples(samples) = heard else {
                packer.begin();
                continue;
            };
            let captured_at = Instant::now();
            packer.push(samples, |data| {
                // A full queue drops it; a receiver that went is seen by the order to stop.
                let _ = packets.try_send(Packet { data, captured_at });
            })?;
        }
        orders
            .wake
            .wait(pulse.fd(), None)
            .map_err(SoundError::System)?;
    }
}
