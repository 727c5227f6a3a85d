//! The files of the cameras, read piece by piece and written on as one stream without end.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::Duration;

use super::ArenaError;
use super::encode::file_error;

/// Signature, version, "has sound and picture", length of itself.
pub(super) const HEADER: [u8; 13] = *b"FLV\x01\x05\0\0\0\x09\0\0\0\0";
const TAG_HEADER: usize = 11;
/// A tag ends with its length.
const TAG_TRAILER: usize = 4;
const SOUND: u8 = 8;
const VIDEO: u8 = 9;
/// A file for a camera is some megabytes: more is not ours.
const FILE_MAX: u64 = 4 << 30;

/// A file of one loop, by groups of pictures.
#[derive(Debug)]
pub(super) struct Loop {
    /// Tags that explain the codecs: they come first, always.
    headers: Vec<Vec<u8>>,
    groups: Vec<Group>,
    file: File,
}

/// From a keyframe to before the next.
#[derive(Debug)]
pub(super) struct Group {
    /// Since the start of the loop.
    pub(super) at: Duration,
    tags: Vec<Place>,
}

/// Where a tag lies in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Duration,
    start: u64,
    size: usize,
}

/// A piece of sound or a picture.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tag {
    /// Since the start of the loop.
    pub(super) at: Duration,
    bytes: Vec<u8>,
}

impl Loop {
    /// Looks through a file once.
    pub(super) fn open(path: &Path) -> Result<Self, ArenaError> {
        let file = File::open(path).map_err(file_error("open", path))?;
        let length = file.metadata().map_err(file_error("read", path))?.len();
        let damaged = |what| ArenaError::Damaged {
            path: path.to_owned(),
            what,
        };
        let mut found = Self {
            headers: Vec::new(),
            groups: Vec::new(),
            file,
        };
        let mut at = HEADER.len() as u64;
        if !(at..FILE_MAX).contains(&length) {
            return Err(damaged("its size is not that of a camera's loop"));
        }
        while at < length {
            let mut head = [0; TAG_HEADER + 2];
            found
                .file
                .read_exact_at(&mut head, at)
                .map_err(file_error("read", path))?;
            let size = TAG_HEADER + u24(&head[1..4]) + TAG_TRAILER;
            if at + size as u64 > length {
                return Err(damaged("it ends within a tag"));
            }
            found
                .add(&head, at, size)
                .map_err(file_error("read", path))?;
            at += size as u64;
        }
        match found.groups.is_empty() {
            true => Err(damaged("it has no keyframe")),
            false => Ok(found),
        }
    }

    fn add(&mut self, head: &[u8], at: u64, size: usize) -> std::io::Result<()> {
        let (kind, codec, packet) = (head[0], head[11], head[12]);
        let is_header = match kind {
            VIDEO => packet == 0,
            SOUND => codec >> 4 == 10 && packet == 0,
            _ => return Ok(()), // the script says the length, which a live stream has not
        };
        if is_header {
            let mut bytes = vec![0; size];
            self.file.read_exact_at(&mut bytes, at)?;
            self.headers.push(bytes);
            return Ok(());
        }
        if kind == VIDEO && packet != 1 {
            return Ok(()); // "the video ends": it doesn't
        }
        let time = u24(&head[4..7]) | usize::from(head[7]) << 24;
        let time = Duration::from_millis(time as u64);
        if kind == VIDEO && codec >> 4 == 1 {
            self.groups.push(Group {
                at: time,
                tags: Vec::new(),
            });
        }
        if self.groups.is_empty() {
            // Sound from before the first picture: it goes with it.
            self.groups.push(Group {
                at: time,
                tags: Vec::new(),
            });
        }
        let group = self.groups.last_mut().expect("one was just made");
        group.tags.push(Place {
            at: time,
            start: at,
            size,
        });
        Ok(())
    }

    /// The tags that a stream starts with, at this time.
    pub(super) fn headers(&self, at: Duration) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for header in &self.headers {
            let tag = Tag {
                at: Duration::ZERO,
                bytes: header.clone(),
            };
            bytes.extend(tag.stamped(at));
        }
        bytes
    }

    /// In the order of time.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Reads the tags of a group.
    pub(super) fn read(&self, group: &Group) -> std::io::Result<Vec<Tag>> {
        let read = |place: &Place| {
            let mut bytes = vec![0; place.size];
            self.file.read_exact_at(&mut bytes, place.start)?;
            Ok(Tag {
                at: place.at,
                bytes,
            })
        };
        group.tags.iter().map(read).collect()
    }
}

impl Tag {
    /// The tag with another time, which counts milliseconds and wraps after 49 days.
    pub(super) fn stamped(mut self, at: Duration) -> Vec<u8> {
        let [high, a, b, c] = (at.as_millis() as u32).to_be_bytes();
        self.bytes[4..8].copy_from_slice(&[a, b, c, high]);
        self.bytes
    }
}

fn u24(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}
