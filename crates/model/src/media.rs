//! What pictures and sound are made of, as a player has to know it before it decodes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::manifest::live::{AudioCodec, VideoCodec};

/// How the picture of a publication is coded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VideoConfig {
    /// The codec.
    pub codec: VideoCodec,
    /// The codec with its profile and level, as browsers' decoders want it: `avc1.64001f`,
    /// `av01.0.05M.08`, `vp09.00.31.08`.
    pub codec_string: String,
    /// Pixels across.
    pub width: u16,
    /// Pixels down.
    pub height: u16,
}

/// How the sound of a publication is coded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AudioConfig {
    /// The codec.
    pub codec: AudioCodec,
    /// The codec as browsers' decoders want it: `opus`, `mp4a.40.2`.
    pub codec_string: String,
    /// Samples a second and channel; 48,000 for Opus.
    pub sample_rate: u32,
    /// Channels: 1 or 2 for Opus, up to 8 for AAC.
    pub channels: u8,
    /// What the decoder needs besides: the AudioSpecificConfig of AAC, nothing for Opus. Hexadecimal
    /// digits on the wire.
    #[serde(with = "hex")]
    #[schema(value_type = String)]
    pub description: Vec<u8>,
}

/// What a publication consists of, as its publisher says it; whoever reads it believes the pictures
/// and sounds themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coding {
    /// How the picture is coded, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoConfig>,
    /// How the sound is coded, if there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioConfig>,
}

/// The longest description, in bytes. They are 2 to 7 for every profile that is in use.
pub const DESCRIPTION_MAX: usize = 64;

mod hex {
    use super::*;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&Digits(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || serde::de::Error::custom("a description is up to 128 hexadecimal digits");
        if text.len() > DESCRIPTION_MAX * 2 || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| {
                let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
                match pair.len() {
                    2 => u8::from_str_radix(pair, 16).map_err(|_| wrong()),
                    _ => Err(wrong()),
                }
            })
            .collect()
    }

    struct Digits<'a>(&'a [u8]);

    impl std::fmt::Display for Digits<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(description: &str) -> Option<Vec<u8>> {
        let config = format!(
            "codec = \"aac\"\ncodec_string = \"mp4a.40.2\"\nsample_rate = 48000\nchannels = 2\n\
             description = \"{description}\""
        );
        let config: Result<AudioConfig, _> = toml::from_str(&config);
        config.ok().map(|it| it.description)
    }

    #[test]
    fn a_description_is_hexadecimal_digits() {
        assert_eq!(read(""), Some(vec![]));
        assert_eq!(read("1190"), Some(vec![0x11, 0x90]));
        for wrong in ["1", "119", "xx", "+1", "é1", &"00".repeat(65)] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let config = AudioConfig {
            codec: AudioCodec::Aac,
            codec_string: "mp4a.40.2".into(),
            sample_rate: 48_000,
            channels: 2,
            description: vec![0x11, 0x90, 0xff],
        };
        let text = toml::to_string(&config).unwrap();
        assert!(text.contains("\"1190ff\""), "{text}");
        assert_eq!(toml::from_str(&text), Ok(config));
    }
}
