//! Offers, before and beside what the library reads of them. Pure.

use std::collections::BTreeSet;

/// Lines of an offer. Those of browsers with everything have 400.
const LINES_MAX: usize = 2_000;

/// The offer without what we do not do: addresses of the other side (it shows them itself when it
/// comes), and the same picture in several sizes.
pub(super) fn prepare(offer: &str) -> Result<String, &'static str> {
    if offer.len() > super::OFFER_MAX || offer.lines().count() > LINES_MAX {
        return Err("it is far too long");
    }
    const LEFT_OUT: [&str; 4] = [
        "a=candidate:",
        "a=end-of-candidates",
        "a=simulcast:",
        "a=rid:",
    ];
    let kept = offer
        .lines()
        .filter(|line| !LEFT_OUT.iter().any(|it| line.starts_with(it)));
    Ok(kept.map(|line| format!("{line}\r\n")).collect())
}

/// The codecs that an offer names for `kind` (`video`, `audio`), in lower case.
pub(super) fn codecs(offer: &str, kind: &str) -> BTreeSet<String> {
    let mut here = false;
    let mut codecs = BTreeSet::new();
    for line in offer.lines().take(LINES_MAX) {
        if let Some(media) = line.strip_prefix("m=") {
            here = media.split(' ').next() == Some(kind);
        }
        let map = line.strip_prefix("a=rtpmap:").filter(|_| here);
        let codec = map.and_then(|it| it.split_once(' ')?.1.split('/').next());
        let codec = codec.map(str::to_ascii_lowercase);
        codecs.extend(codec.filter(|it| !HELPERS.contains(&it.as_str())));
    }
    codecs
}

/// The answer with all that we send in one stream: browsers keep in step what belongs together, and
/// the library gives each of them a stream of its own.
pub(super) fn in_step(answer: &str) -> String {
    let lines = answer.lines().map(|line| {
        let track = line
            .strip_prefix("a=msid:")
            .and_then(|it| it.split_once(' '));
        match track {
            Some((_, track)) => format!("a=msid:{STREAM} {track}\r\n"),
            None => format!("{line}\r\n"),
        }
    });
    lines.collect()
}

const STREAM: &str = "view";

/// The names of what is agreed on, picture or sound, in the order of an answer.
pub(super) fn media(answer: &str) -> Vec<&str> {
    let names = answer.lines().filter_map(|it| it.strip_prefix("a=mid:"));
    names.take(MEDIA_MAX).collect()
}

/// Pictures and sounds of one session. One of each is used.
const MEDIA_MAX: usize = 16;

/// What stands among codecs and is none.
const HELPERS: [&str; 6] = [
    "rtx",
    "red",
    "ulpfec",
    "flexfec-03",
    "cn",
    "telephone-event",
];

#[cfg(test)]
mod tests {
    use super::*;

    const OFFER: &str = "v=0\nm=audio 9 UDP/TLS/RTP/SAVPF 111\na=rtpmap:111 opus/48000/2\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\na=rtpmap:96 VP8/90000\na=rtpmap:97 rtx/90000\n\
        a=candidate:1 1 udp 1 192.0.2.1 5 typ host\na=rid:h send\na=simulcast:send h\n";

    #[test]
    fn codecs_are_found_where_they_are_offered() {
        let list = |kind| {
            codecs(OFFER, kind)
                .into_iter()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            (list("audio").as_str(), list("video").as_str()),
            ("opus", "vp8")
        );
        assert_eq!(list("application"), "");
        assert_eq!(codecs("a=rtpmap:x\na=rtpmap:", "video").len(), 0);
    }

    #[test]
    fn what_is_sent_is_one_stream() {
        let answer =
            "m=audio 9\r\na=mid:0\r\na=msid:x a\r\nm=video 9\r\na=msid:y v\r\na=mid:v1\r\n";
        let answer = in_step(answer);
        assert!(
            answer.contains("a=msid:view a\r\n")
                && answer.ends_with("a=msid:view v\r\na=mid:v1\r\n")
        );
        assert_eq!(media(&answer), ["0", "v1"]);
    }

    #[test]
    fn what_we_do_not_do_is_left_out() {
        let prepared = prepare(OFFER).unwrap();
        assert!(
            prepared.ends_with("a=rtpmap:97 rtx/90000\r\n"),
            "{prepared}"
        );
        assert!(prepare(&"a=\n".repeat(LINES_MAX + 1)).is_err());
        assert!(prepare(&"a".repeat(super::super::OFFER_MAX + 1)).is_err());
    }
}
