//! The seat at a screen: the thread that hands input in and speaks of the clipboard. It has its own
//! connection, so that a key never waits for a picture to be encoded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use model::input::InputEvent;
use tokio::sync::watch;
use x11rb::connection::Connection as _;
use x11rb::wrapper::ConnectionExt as _;

use crate::clipboard::Clipboard;
use crate::input::Hands;
use crate::mark::Mark;
use crate::picture::Size;
use crate::wake::Orders;
use crate::windows::Windows;
use crate::x11::{Link, XError, XServer};

/// Events that wait at most: seconds of the fastest mouse. Beyond, the X server hangs, and what
/// comes later is worth more than what came before.
const EVENTS_MAX: usize = 2048;

/// What the seat is to do.
#[derive(Debug, Default)]
pub(crate) struct SeatOrders {
    events: VecDeque<InputEvent>,
    /// Let go of everything before the events.
    release: bool,
    /// The numbers of events begin anew.
    left: bool,
    stop: bool,
}

impl SeatOrders {
    pub(crate) fn add(&mut self, events: Vec<InputEvent>) {
        if self.events.len() + events.len() > EVENTS_MAX {
            tracing::warn!("input is not taken by the X server; forgotten");
            self.events.clear();
            self.release = true; // a key whose release was forgotten would be held for ever
        }
        self.events.extend(events.into_iter().take(EVENTS_MAX));
    }

    /// The terminal has gone: what it still wanted is void, what it held is let go.
    pub(crate) fn leave(&mut self) {
        self.events.clear();
        self.release = true;
        self.left = true;
    }

    pub(crate) fn stop(&mut self) {
        self.stop = true;
    }
}

/// What the seat shares with the thread that captures.
#[derive(Debug)]
pub(crate) struct SeatShared {
    pub(crate) orders: Orders<SeatOrders>,
    /// The screen's size: width in the upper half, height in the lower.
    size: AtomicU32,
}

impl SeatShared {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            orders: Orders::new()?,
            size: AtomicU32::new(0),
        })
    }

    pub(crate) fn set_size(&self, size: Size) {
        let packed = u32::from(size.width()) << 16 | u32::from(size.height());
        self.size.store(packed, Ordering::Release);
    }

    fn size(&self) -> Size {
        let packed = self.size.load(Ordering::Acquire);
        let half = |half: u32| u16::try_from(half & 0xffff).expect("it was cut to 16 bits");
        Size::new(half(packed >> 16), half(packed))
    }
}

/// The seat.
#[derive(Debug)]
pub(crate) struct Seat {
    link: Link,
    hands: Hands,
    clipboard: Clipboard,
    mark: Mark,
    windows: Windows,
    /// What waits for a window, in order. Invariant: at most `EVENTS_MAX`.
    held: VecDeque<InputEvent>,
    copied: watch::Sender<Option<Arc<str>>>,
}

impl Seat {
    pub(crate) fn open(
        server: &XServer,
        gamepad: &BTreeMap<u8, String>,
        copied: watch::Sender<Option<Arc<str>>>,
    ) -> Result<Self, XError> {
        let link = Link::connect(server)?;
        Ok(Self {
            hands: Hands::new(&link, gamepad)?,
            clipboard: Clipboard::new(&link)?,
            mark: Mark::new(&link)?,
            windows: Windows::watch(&link, Instant::now())?,
            held: VecDeque::new(),
            link,
            copied,
        })
    }

    /// Where the number of the last event is left.
    pub(crate) const fn mark(&self) -> Mark {
        self.mark
    }

    /// Runs until told to stop or the X server goes.
    pub(crate) fn run(mut self, shared: &SeatShared) -> Result<(), XError> {
        loop {
            let orders = shared.orders.take();
            if orders.stop {
                self.hands.release(&self.link)?;
                // A round trip: the server forgets what it has not read of a connection that closed.
                return Ok(self.link.connection.sync()?);
            }
            let forgotten = self.held.len() + orders.events.len() > EVENTS_MAX;
            if orders.release || forgotten {
                self.held.clear();
                self.hands.release(&self.link)?;
            }
            if orders.left {
                self.mark.set(&self.link, 0)?;
            }
            self.held.extend(orders.events);
            self.listen()?; // of windows that came or went
            let ready = self.is_ready();
            let waits = |event: &InputEvent| !ready && needs_window(event);
            let first = self.held.iter().position(waits);
            let events = self.held.drain(..first.unwrap_or(self.held.len()));
            let events: Vec<InputEvent> = events.collect();
            self.inject(&events, shared)?;
            self.listen()?;
            if !self.held.is_empty() && self.is_ready() {
                continue;
            }
            let ready_in = || {
                let now = Instant::now();
                self.windows.ready_at().saturating_duration_since(now)
            };
            let timeout = (!self.held.is_empty()).then(ready_in);
            shared
                .orders
                .wake
                .wait(self.link.fd(), timeout)
                .map_err(|source| XError::System {
                    what: "wait",
                    source,
                })?;
        }
    }

    /// Reads until there is nothing left to read or to write: only then can the thread wait.
    fn listen(&mut self) -> Result<(), XError> {
        loop {
            self.link.connection.flush()?;
            let Some(event) = self.link.connection.poll_for_event()? else {
                return Ok(());
            };
            self.windows.handle(&self.link, &event, Instant::now())?;
            if let Some(text) = self.clipboard.handle(&self.link, &event)? {
                self.copied.send_replace(Some(text));
            }
        }
    }

    /// Whether there is somebody to type to.
    fn is_ready(&self) -> bool {
        Instant::now() >= self.windows.ready_at()
    }

    fn inject(&mut self, events: &[InputEvent], shared: &SeatShared) -> Result<(), XError> {
        let size = shared.size();
        for event in events {
            self.hands.inject(&self.link, event, size)?;
            if let InputEvent::Clipboard { text, .. } = event {
                self.clipboard.offer(&self.link, text)?;
            }
        }
        if let Some(seq) = events.iter().rev().find_map(InputEvent::seq) {
            self.mark.set(&self.link, seq.0)?;
        }
        Ok(())
    }
}

/// Whether an event goes nowhere while no program shows a window.
const fn needs_window(event: &InputEvent) -> bool {
    match event {
        InputEvent::Key { .. }
        | InputEvent::Text { .. }
        | InputEvent::Gamepad { .. }
        | InputEvent::Button { .. }
        | InputEvent::Wheel { .. } => true,
        InputEvent::Move { .. }
        | InputEvent::Relative { .. }
        | InputEvent::Clipboard { .. }
        | InputEvent::Resize { .. }
        | InputEvent::Release => false,
    }
}
