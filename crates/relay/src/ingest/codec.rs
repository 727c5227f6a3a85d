//! What is inside of pictures and packets of sound, as far as a player has to be told: sizes,
//! profiles, keyframes. Pure; all of it takes whatever bytes there are.

pub(crate) mod aac;
pub(crate) mod av1;
mod bits;
pub(crate) mod h264;
pub(crate) mod opus;
mod sps;
pub(crate) mod vp9;

use bytes::Bytes;

use crate::media::VideoConfig;

/// Why bytes are not what they should be, as a fragment for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub &'static str);

/// One picture in the form that [`crate::media`] promises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Picture {
    pub keyframe: bool,
    pub data: Bytes,
    /// How it is coded. Always there with a keyframe.
    pub config: Option<VideoConfig>,
}
