//! A track on its way to one viewer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use relay::subscribe::{Frame, Preferences};

use crate::shared::Shared;

/// A track as it comes in; it is asked for when the first frame is. Ends when the track does, or
/// cannot be had.
pub(super) struct Line {
    frames: BoxStream<'static, Frame>,
    pub(super) since: Instant,
}

impl Line {
    /// Begins with the open group, from its start.
    pub(super) fn new(shared: &Arc<Shared>, path: String, track: String, priority: u8) -> Self {
        let shared = Arc::clone(shared);
        let newest = Preferences {
            priority,
            max_age: Duration::ZERO,
        };
        let asked = async move { shared.relay.subscribe(&path, &track, newest).await.ok() };
        let frames = stream::once(asked).filter_map(futures::future::ready);
        let frames = frames.flat_map(|subscription| {
            stream::unfold(subscription, |mut it| async move {
                let frame = it.next().await.ok()??;
                Some((frame, it))
            })
        });
        Self {
            frames: frames.boxed(),
            since: Instant::now(),
        }
    }

    /// The next frame, `None` when there are no more. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        self.frames.next().await
    }

    /// The next frame, if it is there already.
    pub(super) fn ready(&mut self) -> Option<Frame> {
        self.frames.next().now_or_never().flatten()
    }
}

/// The next frame of a line that may not be there: then never.
pub(super) async fn next(line: Option<&mut Line>) -> Option<Frame> {
    match line {
        Some(line) => line.next().await,
        None => std::future::pending().await,
    }
}
