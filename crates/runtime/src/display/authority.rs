//! The cookie that lets a client into an X server, and the file that carries it.

use std::fmt;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The one way to prove oneself that every server and client knows.
pub(super) const METHOD: &str = "MIT-MAGIC-COOKIE-1";

/// The family of an entry that holds for every host, so that the name of this machine may change.
const FAMILY_WILD: u16 = 0xffff;

/// A secret that an X server and its clients share.
#[derive(Clone, PartialEq, Eq)]
pub struct Cookie([u8; 16]);

impl Cookie {
    /// Draws a cookie from the system's randomness.
    pub(super) fn draw() -> io::Result<Self> {
        let mut bytes = [0; 16];
        let mut filled = 0;
        while filled < bytes.len() {
            filled += rustix::rand::getrandom(
                &mut bytes[filled..],
                rustix::rand::GetRandomFlags::empty(),
            )?;
        }
        Ok(Self(bytes))
    }

    /// The name of the method, as the X protocol wants it at a connection.
    pub fn method(&self) -> &'static str {
        METHOD
    }

    /// The secret itself.
    pub fn data(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cookie(secret)")
    }
}

/// Writes the file that `XAUTHORITY` names, readable by our user alone: one entry, for the display
/// given or, where its number is not known yet, for any.
pub(super) fn write(path: &Path, cookie: &Cookie, number: Option<u32>) -> io::Result<()> {
    let number = number.map(|it| it.to_string()).unwrap_or_default();
    let mut entry = FAMILY_WILD.to_be_bytes().to_vec();
    for field in [
        b"".as_slice(),
        number.as_bytes(),
        METHOD.as_bytes(),
        &cookie.0,
    ] {
        let length = u16::try_from(field.len()).expect("each is a few bytes");
        entry.extend(length.to_be_bytes());
        entry.extend(field);
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&entry)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_file_is_as_the_protocol_wants_it_and_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Xauthority");
        write(&path, &Cookie([7; 16]), Some(42)).unwrap();

        let mut wanted = vec![0xff, 0xff, 0, 0, 0, 2, b'4', b'2', 0, 18];
        wanted.extend(b"MIT-MAGIC-COOKIE-1");
        wanted.extend([0, 16]);
        wanted.extend([7; 16]);
        assert_eq!(std::fs::read(&path).unwrap(), wanted);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn cookies_differ_and_stay_out_of_logs() {
        let cookie = Cookie::draw().unwrap();
        assert!(cookie != Cookie::draw().unwrap());
        assert_eq!(format!("{cookie:?}"), "Cookie(secret)");
    }
}
