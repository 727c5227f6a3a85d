//! Boxes: length, kind, content.

use super::super::codec::Malformed;

pub(super) const BROKEN: Malformed = Malformed("the MP4 is broken");

/// The start of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub kind: [u8; 4],
    /// Of the header itself: 8 or 16 bytes.
    pub length: usize,
    /// Of the whole; nothing if it goes on to the end.
    pub size: Option<u64>,
}

impl Header {
    /// Nothing if more bytes are needed.
    pub(super) fn read(data: &[u8]) -> Result<Option<Self>, Malformed> {
        let Some((short, rest)) = data.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let Some((kind, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let (length, size) = match u32::from_be_bytes(*short) {
            0 => (8, None),
            1 => match rest.first_chunk::<8>() {
                Some(long) => (16, Some(u64::from_be_bytes(*long))),
                None => return Ok(None),
            },
            short => (8, Some(short.into())),
        };
        if size.is_some_and(|it| it < length as u64) {
            return Err(BROKEN);
        }
        Ok(Some(Self {
            kind: *kind,
            length,
            size,
        }))
    }
}

/// A box's kind and content.
pub(super) type Content<'a> = ([u8; 4], &'a [u8]);

/// The boxes in a box.
pub(super) fn all(mut data: &[u8]) -> Result<Vec<Content<'_>>, Malformed> {
    let mut found = Vec::new();
    while !data.is_empty() {
        // What is too short for a box is padding.
        let Some(header) = Header::read(data)? else {
            break;
        };
        let size = header.size.unwrap_or(data.len() as u64);
        let size = usize::try_from(size).map_err(|_| BROKEN)?;
        let (whole, rest) = data.split_at_checked(size).ok_or(BROKEN)?;
        found.push((header.kind, &whole[header.length..]));
        data = rest;
    }
    Ok(found)
}

/// The first box of this kind in a box.
pub(super) fn find<'a>(data: &'a [u8], kind: &[u8; 4]) -> Result<Option<&'a [u8]>, Malformed> {
    let found = all(data)?.into_iter().find(|(it, _)| it == kind);
    Ok(found.map(|(_, content)| content))
}

/// The first box at the end of a path.
pub(super) fn follow<'a>(data: &'a [u8], path: &[&[u8; 4]]) -> Result<&'a [u8], Malformed> {
    let mut at = data;
    for kind in path {
        at = find(at, kind)?.ok_or(BROKEN)?;
    }
    Ok(at)
}

/// Reads fields in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(BROKEN)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(BROKEN)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Malformed> {
        let (number, rest) = self.0.split_first_chunk().ok_or(BROKEN)?;
        self.0 = rest;
        Ok(u64::from_be_bytes(*number))
    }

    /// A number that is 8 bytes long in version 1 and 4 before.
    pub(super) fn number(&mut self, version: u8) -> Result<u64, Malformed> {
        match version {
            0 => self.u32().map(u64::from),
            _ => self.u64(),
        }
    }

    /// Version and flags.
    pub(super) fn version(&mut self) -> Result<(u8, u32), Malformed> {
        let word = self.u32()?;
        let [version, ..] = word.to_be_bytes();
        Ok((version, word & 0xff_ff_ff))
    }
}
