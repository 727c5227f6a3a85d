//! A record, and how it looks on disk: `version: u8 = 1, created: u64, modified: u64, value`,
//! numbers big endian. Later versions must go on reading this one.

use bytes::Bytes;

use crate::Revision;

const VERSION: u8 = 1;
const HEADER: usize = 17;

/// A value and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The bytes that were put.
    pub value: Bytes,
    /// The revision that put it where there was none before.
    pub created: Revision,
    /// The revision that put the present value.
    pub modified: Revision,
}

/// Why stored bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Too short to be one.
    #[error("a record has at least {HEADER} bytes, this one has {0}")]
    Short(usize),
    /// Written by a later release.
    #[error("its form is version {0}, this release knows version {VERSION}; use a newer one")]
    Version(u8),
}

impl Record {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.value.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.created.0.to_be_bytes());
        bytes.extend_from_slice(&self.modified.0.to_be_bytes());
        bytes.extend_from_slice(&self.value);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let short = RecordError::Short(bytes.len());
        let (&version, rest) = bytes.split_first().ok_or(short)?;
        if version != VERSION {
            return Err(RecordError::Version(version));
        }
        let (created, rest) = rest.split_first_chunk().ok_or(short)?;
        let (modified, value) = rest.split_first_chunk().ok_or(short)?;
        Ok(Self {
            value: Bytes::copy_from_slice(value),
            created: Revision(u64::from_be_bytes(*created)),
            modified: Revision(u64::from_be_bytes(*modified)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If this fails, stores that exist can no longer be read: add a version instead.
    #[test]
    fn golden() {
        let record = Record {
            value: Bytes::from_static(b"hello"),
            created: Revision(3),
            modified: Revision(0x0102_0304_0506_0708),
        };
        let stored = b"\x01\0\0\0\0\0\0\0\x03\x01\x02\x03\x04\x05\x06\x07\x08hello";
        assert_eq!(record.encode(), stored);
        assert_eq!(Record::decode(stored), Ok(record));
    }

    #[test]
    fn what_is_not_a_record_is_refused() {
        for length in 0..HEADER {
            let bytes = vec![VERSION; length];
            assert_eq!(Record::decode(&bytes), Err(RecordError::Short(length)));
        }
        assert_eq!(Record::decode(&[2; 40]), Err(RecordError::Version(2)));
        assert!(Record::decode(&[VERSION; HEADER]).is_ok());
    }
}
