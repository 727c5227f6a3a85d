//! Whom a datagram is for, as far as it says so itself. Pure.

/// What every message of STUN has after its type and length.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

const HEADER: usize = 20;
const BINDING_REQUEST: [u8; 2] = [0, 1];
const USERNAME: u16 = 6;

/// Names are as we give them out: longer ones are of nobody here.
const NAME_MAX: usize = 64;

/// The name of the session that a STUN request is for; `None` for everything else.
pub(super) fn session(datagram: &[u8]) -> Option<&str> {
    let (header, mut rest) = datagram.split_at_checked(HEADER)?;
    if header[..2] != BINDING_REQUEST || header[4..8] != COOKIE {
        return None;
    }
    loop {
        let (head, after) = rest.split_first_chunk::<4>()?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (value, _) = after.split_at_checked(length)?;
        if kind == USERNAME {
            let value = std::str::from_utf8(value).ok()?;
            let (ours, _) = value.split_once(':')?;
            return (ours.len() <= NAME_MAX).then_some(ours);
        }
        rest = after.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(attributes: &[u8]) -> Vec<u8> {
        let mut datagram = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        datagram.extend([7; 12]);
        datagram.extend(attributes);
        datagram
    }

    #[test]
    fn a_request_says_whom_it_is_for() {
        let named = request(b"\x80\x29\0\x05abcde\0\0\0\0\x06\0\x05us:it\0\0\0");
        assert_eq!(session(&named), Some("us"));
        for length in 0..named.len() - 3 {
            assert_eq!(session(&named[..length]), None, "{length}");
        }
    }

    #[test]
    fn everything_else_is_for_nobody() {
        let long = [b"\0\x06\0\x50" as &[u8], &[b'a'; 79], b":"].concat();
        let nameless = request(b"\0\x06\0\x04usit");
        let not_text = request(b"\0\x06\0\x04\xff\xff:a");
        let mut response = request(b"\0\x06\0\x04us:i");
        response[0] = 1;
        let mut other = request(b"\0\x06\0\x04us:i");
        other[4] = 0;
        for datagram in [
            &request(&long),
            &nameless,
            &not_text,
            &response,
            &other,
            &vec![],
        ] {
            assert_eq!(session(datagram), None, "{datagram:?}");
        }
    }
}
