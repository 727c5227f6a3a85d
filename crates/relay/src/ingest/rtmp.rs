//! RTMP: what ffmpeg, OBS and most encoders speak. `rtmp://<node>/<event>/<camera>` with the key as
//! the stream's name.
//!
//! Invariants: a stranger costs 130 kB and 10 seconds at most; whoever is silent for 15 seconds is
//! gone; a refusal is written before the connection is closed, and the other side has time to read it.

mod amf;
mod chunk;
#[cfg(test)]
pub(super) mod fuzz;
mod session;

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use super::address::Address;
use super::flv::Flv;
use super::{Admit, Admitted, Asked, Fault, Gateway};
use crate::access::Refusal;
use crate::media::{Ended, Published, Sink};
use session::{Event, Session};

/// The port that tools try first.
pub const PORT: u16 = 1935;

/// Connections at a time: four times the cameras of an event.
const CONNECTIONS_MAX: usize = 256;

/// From the first byte to the wish to publish. Tools take four round trips.
const GREETING_WITHIN: Duration = Duration::from_secs(10);

/// The decision may have to be fetched from the center.
const ADMIT_WITHIN: Duration = Duration::from_secs(10);

/// Silence for so long is a broken connection; cameras send 30 times a second.
const IDLE_MAX: Duration = Duration::from_secs(15);

/// The other side does not take what we say.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// For the other side to read a refusal: closed at once, what it had still sent would reset the
/// connection and take the words with it.
const LINGER: Duration = Duration::from_secs(3);

/// Read at once.
const BUFFER: usize = 64 * 1024;

/// Takes publishers until `stop`.
pub async fn serve(
    listener: TcpListener,
    admit: Arc<dyn Admit>,
    tracker: TaskTracker,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                // Out of file descriptors, most likely: let some go.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            warn!(%remote, "too many publishers");
            continue;
        };
        let (admit, stop) = (Arc::clone(&admit), stop.clone());
        tracker.spawn(async move {
            // Answers are short and waited for.
            let _ = stream.set_nodelay(true);
            publish(stream, remote, &*admit, stop).await;
            drop(permit);
        });
    }
}

/// Takes one publisher, from the first byte to the last, over a connection of any kind. Says how it
/// ended; the publication has been told too, if there was one.
pub async fn publish(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    remote: SocketAddr,
    admit: &dyn Admit,
    stop: CancellationToken,
) -> Ended {
    let mut connection = Connection {
        stream,
        session: Session::new(),
        buffer: vec![0; BUFFER],
    };
    let (ended, sink) = match connection.ask(remote, admit).await {
        Ok(admitted) => {
            let sink = admitted.sink.clone();
            let ended = connection.run(admitted, &stop).await;
            (ended, Some(sink))
        }
        Err(stopped) => (stopped.ended(), None),
    };
    if let Ended::Refused(words) = &ended {
        connection.refuse(words).await;
    }
    match &ended {
        Ended::Done => info!(%remote, "RTMP publisher is done"),
        Ended::Refused(why) => info!(%remote, why, "RTMP publisher refused"),
        Ended::Broken(why) => debug!(%remote, why, "RTMP publisher lost"),
    }
    if let Some(sink) = sink {
        // Nobody may be there to hear it.
        let _ = sink.send(Published::Ended(ended.clone())).await;
    }
    ended
}

struct Connection<S> {
    stream: S,
    session: Session,
    buffer: Vec<u8>,
}

/// Why a connection ends.
enum Stop {
    Done,
    Refused(Refusal),
    Broken(Cow<'static, str>),
}

impl Stop {
    fn ended(self) -> Ended {
        match self {
            Self::Done => Ended::Done,
            Self::Refused(refusal) => Ended::Refused(refusal.0.into_owned()),
            Self::Broken(why) => Ended::Broken(why.into_owned()),
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Broken(Cow::Owned(error.to_string()))
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refusal) => Self::Refused(refusal),
            // Words even so: the tool's user may have to update it.
            Fault::Malformed(malformed) => Self::Refused(Refusal(Cow::Borrowed(malformed.0))),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Talks until the publisher has said what it wants, and asks whether it may.
    async fn ask(&mut self, remote: SocketAddr, admit: &dyn Admit) -> Result<Admitted, Stop> {
        let deadline = Instant::now() + GREETING_WITHIN;
        let (app, name) = loop {
            let received = timeout_at(deadline, self.receive()).await;
            received
                .map_err(|_| Stop::Broken("it did not say what to publish in time".into()))??;
            match self.session.poll_event() {
                Some(Event::Publish { app, name }) => break (app, name),
                Some(_) => return Err(Stop::Done),
                None => {}
            }
        };
        let address = Address::parse(&format!("{app}/{name}")).map_err(Stop::Refused)?;
        let asked = Asked {
            gateway: Gateway::Rtmp,
            event: address.event,
            camera: address.camera,
            key: address.key,
            remote: Some(remote),
        };
        info!(?asked, "RTMP publisher");
        let decided = timeout(ADMIT_WITHIN, admit.admit(asked)).await;
        decided
            .map_err(|_| {
                Refusal(Cow::Borrowed(
                    "whether you may publish could not be decided in time: try again",
                ))
            })
            .flatten()
            .map_err(Stop::Refused)
    }

    async fn run(&mut self, admitted: Admitted, stop: &CancellationToken) -> Ended {
        let Admitted { sink, limits } = admitted;
        self.session.admit();
        let mut flv = Flv::new(limits);
        let taken = async {
            self.send().await?;
            loop {
                self.hand_on(&mut flv, &sink).await?;
                let received = timeout(IDLE_MAX, self.receive()).await;
                received.map_err(|_| Stop::Broken("nothing came for 15 seconds".into()))??;
            }
        };
        let stopped: Result<(), Stop> = tokio::select! {
            stopped = taken => stopped,
            () = sink.closed() => Err(Stop::Refused(sink.why())),
            () = stop.cancelled() => Err(Stop::Refused(Refusal(Cow::Borrowed(
                "this node is going down: connect again",
            )))),
        };
        stopped.map_or_else(Stop::ended, |()| Ended::Done)
    }

    async fn hand_on(&mut self, flv: &mut Flv, sink: &Sink) -> Result<(), Stop> {
        while let Some(event) = self.session.poll_event() {
            let taken = match event {
                Event::Video { timestamp, body } => flv.handle_video(timestamp, body),
                Event::Audio { timestamp, body } => flv.handle_audio(timestamp, body),
                Event::Finished => return Err(Stop::Done),
                Event::Publish { .. } => Ok(()),
            };
            while let Some(published) = flv.poll() {
                let sent = sink.send(published).await;
                sent.map_err(|_| Stop::Refused(sink.why()))?;
            }
            taken?;
        }
        Ok(())
    }

    /// Takes what comes, and answers.
    async fn receive(&mut self) -> Result<(), Stop> {
        let count = self.stream.read(&mut self.buffer).await?;
        if count == 0 {
            return Err(Stop::Done);
        }
        let handled = self.session.handle(&self.buffer[..count]);
        handled.map_err(|malformed| Stop::Broken(malformed.0.into()))?;
        self.send().await
    }

    async fn send(&mut self) -> Result<(), Stop> {
        while let Some(bytes) = self.session.poll_transmit() {
            let written = timeout(WRITE_WITHIN, self.stream.write_all(&bytes)).await;
            written.map_err(|_| Stop::Broken("it does not read what we say".into()))??;
        }
        Ok(())
    }

    /// Says why, and waits until it has been read.
    async fn refuse(&mut self, words: &str) {
        self.session.refuse(words);
        let told = async {
            self.send().await?;
            self.stream.shutdown().await?;
            while self.stream.read(&mut self.buffer).await? > 0 {}
            Ok::<(), Stop>(())
        };
        // It is gone, or does not listen: there is no more to do.
        let _ = timeout(LINGER, told).await;
    }
}
