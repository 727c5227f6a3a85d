//! How tools name the camera they publish, and the key that lets them. Pure.

use std::borrow::Cow;

use model::{AppName, CameraName};

use crate::access::Refusal;

/// A camera and the key to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub event: AppName,
    pub camera: CameraName,
    pub key: String,
}

/// The longest key, in characters.
const KEY_MAX: usize = 256;

impl Address {
    /// `event/camera/key`, `event/camera:key` or `event/camera?key=key`.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let text = text.trim_matches('/');
        let wrong = || {
            let shown: String = text
                .split(['?', ':'])
                .next()
                .unwrap_or_default()
                .chars()
                .take(60)
                .collect();
            Refusal(Cow::Owned(format!(
                "`{shown}` names no camera: publish to <event>/<camera>/<stream key>"
            )))
        };
        let (event, rest) = text.split_once('/').ok_or_else(wrong)?;
        let (camera, key) = match rest.split_once(['/', ':', '?']) {
            Some((camera, key)) => (camera, key.strip_prefix("key=").unwrap_or(key)),
            None => (rest, ""),
        };
        if key.len() > KEY_MAX {
            return Err(Refusal(Cow::Borrowed(
                "the stream key is wrong: it is far too long",
            )));
        }
        Ok(Self {
            event: event.parse().map_err(|_| wrong())?,
            camera: camera.parse().map_err(|_| wrong())?,
            key: key.to_owned(),
        })
    }

    /// What SRT calls a stream id: `publish:event/camera:key`, or `#!::r=event/camera,m=publish,key=key`.
    /// Some tools send it as it stands in their address, with `%23` for `#`.
    pub(crate) fn parse_stream_id(id: &str) -> Result<Self, Refusal> {
        let id = &*unescape(id);
        const PUBLISH_ONLY: Refusal = Refusal(Cow::Borrowed(
            "cameras publish here: begin the stream id with publish:",
        ));
        let Some(fields) = id.strip_prefix("#!::") else {
            let (mode, rest) = match id.split_once(':') {
                Some((mode @ ("publish" | "read" | "request"), rest)) => (mode, rest),
                _ => ("publish", id),
            };
            if mode != "publish" {
                return Err(PUBLISH_ONLY);
            }
            return Self::parse(rest);
        };
        let field = |name: &str| {
            let mut pairs = fields.split(',').filter_map(|it| it.split_once('='));
            pairs.find(|(it, _)| *it == name).map(|(_, value)| value)
        };
        if field("m").is_some_and(|it| it != "publish") {
            return Err(PUBLISH_ONLY);
        }
        let mut address = Self::parse(field("r").unwrap_or_default())?;
        if let Some(key) = field("key") {
            key.clone_into(&mut address.key);
        }
        Ok(address)
    }
}

/// Without the escapes of an address. What is none stays as it is.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = match after {
            [high, low, ..] if *first == b'%' => {
                let digit = |it: u8| char::from(it).to_digit(16);
                digit(*high)
                    .zip(digit(*low))
                    .and_then(|(high, low)| u8::try_from(high << 4 | low).ok())
            }
            _ => None,
        };
        plain.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            &after[2..]
        } else {
            after
        };
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(address: Result<Address, Refusal>) -> String {
        match address {
            Ok(it) => format!("{} {} {}", it.event, it.camera, it.key),
            Err(refusal) => refusal.0.chars().take(24).collect(),
        }
    }

    #[test]
    fn addresses() {
        for (text, want) in [
            ("match/north/s3cret", "match north s3cret"),
            ("/match/north:s3:cret", "match north s3:cret"),
            ("match/north?key=s3cret", "match north s3cret"),
            ("match/north", "match north "),
            ("match", "`match` names no camera:"),
            ("", "`` names no camera: publ"),
            ("Match/north/k", "`Match/north/k` names no"),
            ("match/<b>:k", "`match/<b>` names no cam"),
        ] {
            assert_eq!(told(Address::parse(text)), want, "{text}");
        }
        assert!(Address::parse(&format!("a/b/{}", "k".repeat(257))).is_err());
    }

    #[test]
    fn stream_ids() {
        for (id, want) in [
            ("publish:match/north:k", "match north k"),
            ("match/north/k", "match north k"),
            ("#!::r=match/north,m=publish,key=k", "match north k"),
            ("#!::m=publish,r=match/north:k", "match north k"),
            ("%23!::r%3Dmatch/north%2Ckey%3Dk%", "match north k%"),
            ("#!::m=request,r=match/north", "cameras publish here: be"),
            ("read:match/north", "cameras publish here: be"),
            ("#!::", "`` names no camera: publ"),
        ] {
            assert_eq!(told(Address::parse_stream_id(id)), want, "{id}");
        }
    }
}
