//! What a child says: the last lines of it, bounded, readable and followable.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

/// Lines kept. Enough to see what led to a crash; more belongs in a log store.
pub const LINES_MAX: usize = 2_000;

/// Bytes of text kept. With the overhead of lines this is what a chatty app costs a node.
pub const BYTES_MAX: usize = 256 * 1024;

/// Bytes of one line kept; the rest of it is left out.
pub const LINE_MAX: usize = 2_000;

/// Bytes read a second. An app that says more waits in its own write, rather than costing the node
/// a core to read what nobody will.
const BYTES_PER_SECOND_MAX: usize = 256 * 1024;

/// Bytes read at once.
const CHUNK: usize = 4 * 1024;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The child's standard output.
    Stdout,
    /// The child's standard error.
    Stderr,
    /// Ourselves, about the child.
    Platform,
}

/// One line, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Counts up from 1 in each log; a gap between two lines means that those between are gone.
    pub number: u64,
    /// When it was read.
    pub at: SystemTime,
    /// Which stream it came from.
    pub source: Source,
    /// The text, at most [`LINE_MAX`] bytes, with what was not UTF-8 replaced.
    pub text: String,
}

/// A log that is shared by those who write to it and those who read it.
#[derive(Clone, Debug)]
pub struct Log {
    ring: Arc<Mutex<Ring>>,
    /// The number of the newest line.
    newest: watch::Sender<u64>,
}

/// Reads a log as it grows.
#[derive(Debug)]
pub struct Follower {
    log: Log,
    newest: watch::Receiver<u64>,
    seen: u64,
}

/// Invariant: at most `LINES_MAX` lines and `BYTES_MAX` bytes of text.
#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    newest: u64,
}

impl Log {
    /// An empty log.
    pub fn new() -> Self {
        Self {
            ring: Arc::default(),
            newest: watch::Sender::new(0),
        }
    }

    /// Adds a line; the oldest make room for it.
    pub fn push(&self, source: Source, text: impl Into<String>) {
        let mut text = text.into();
        if text.len() > LINE_MAX {
            text.truncate(text.floor_char_boundary(LINE_MAX));
        }
        let number = self.lock().push(source, text);
        self.newest.send_replace(number);
    }

    /// The newest lines, at most `count`, oldest first.
    pub fn tail(&self, count: usize) -> Vec<Line> {
        let ring = self.lock();
        let skip = ring.lines.len().saturating_sub(count);
        ring.lines.iter().skip(skip).cloned().collect()
    }

    /// The lines kept that are newer than line `number`, oldest first.
    pub fn since(&self, number: u64) -> Vec<Line> {
        let ring = self.lock();
        let first = ring.lines.partition_point(|it| it.number <= number);
        ring.lines.iter().skip(first).cloned().collect()
    }

    /// Follows the log from after line `number`; 0 begins with the oldest line kept.
    pub fn follow(&self, number: u64) -> Follower {
        Follower {
            log: self.clone(),
            newest: self.newest.subscribe(),
            seen: number,
        }
    }

    /// Copies a child's stream into the log until it ends.
    pub(crate) async fn copy(self, source: Source, mut from: impl AsyncRead + Unpin) {
        let mut line = Vec::new();
        let mut chunk = vec![0; CHUNK];
        let mut second = Instant::now();
        let mut read_in_second = 0;
        // A read error is the end of a stream too: there is nobody left to tell it.
        while let Ok(read @ 1..) = from.read(&mut chunk).await {
            for byte in &chunk[..read] {
                if *byte == b'\n' {
                    self.push(source, text_of(&line));
                    line.clear();
                } else if line.len() < LINE_MAX {
                    line.push(*byte);
                }
            }
            if second.elapsed() > Duration::from_secs(1) {
                second = Instant::now();
                read_in_second = 0;
            }
            read_in_second += read;
            if read_in_second > BYTES_PER_SECOND_MAX {
                tokio::time::sleep_until(second + Duration::from_secs(1)).await;
            }
        }
        if !line.is_empty() {
            self.push(source, text_of(&line));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring
            .lock()
            .expect("nothing panics while it holds the ring")
    }
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Follower {
    /// Waits for lines that were not seen yet and returns them, oldest first.
    ///
    /// Cancel safe. Waits for ever once nobody writes any more.
    pub async fn next_lines(&mut self) -> Vec<Line> {
        loop {
            let lines = self.log.since(self.seen);
            if let Some(last) = lines.last() {
                self.seen = last.number;
                return lines;
            }
            let seen = self.seen;
            // We hold a sender ourselves, so it can't be closed.
            let _ = self.newest.wait_for(|newest| *newest > seen).await;
        }
    }
}

impl Ring {
    fn push(&mut self, source: Source, text: String) -> u64 {
        self.newest += 1;
        self.bytes += text.len();
        self.lines.push_back(Line {
            number: self.newest,
            at: SystemTime::now(),
            source,
            text,
        });
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let oldest = self.lines.pop_front().expect("it was just filled");
            self.bytes -= oldest.text.len();
        }
        self.newest
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Platform => "platform",
        })
    }
}

fn text_of(line: &[u8]) -> String {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|it| it.text.as_str()).collect()
    }

    #[tokio::test]
    async fn lines_are_cut_and_numbered() {
        let log = Log::new();
        let long = "x".repeat(LINE_MAX + 100);
        let said = format!("one\r\n\n{long}\nb\u{e4}r\nno end");
        log.clone().copy(Source::Stdout, said.as_bytes()).await;

        let lines = log.tail(10);
        assert_eq!(
            texts(&lines),
            ["one", "", &long[..LINE_MAX], "b\u{e4}r", "no end"]
        );
        assert_eq!(lines.first().unwrap().number, 1);
        assert_eq!(texts(&log.tail(1)), ["no end"]);
        assert_eq!(texts(&log.since(4)), ["no end"]);
    }

    #[test]
    fn the_oldest_make_room() {
        let log = Log::new();
        for number in 0..LINES_MAX + 7 {
            log.push(Source::Stderr, number.to_string());
        }
        assert_eq!(log.tail(usize::MAX).len(), LINES_MAX);
        assert_eq!(log.since(0)[0].number, 8);

        for _ in 0..LINES_MAX {
            log.push(Source::Stderr, "x".repeat(LINE_MAX));
        }
        assert_eq!(log.tail(usize::MAX).len(), BYTES_MAX / LINE_MAX);
    }

    #[tokio::test]
    async fn a_follower_sees_each_line_once() {
        let log = Log::new();
        log.push(Source::Platform, "a");
        let mut follower = log.follow(0);
        assert_eq!(texts(&follower.next_lines().await), ["a"]);

        let writer = log.clone();
        let (lines, ()) = tokio::join!(follower.next_lines(), async move {
            writer.push(Source::Platform, "b");
        });
        assert_eq!(texts(&lines), ["b"]);
    }
}
