//! The pipeline against a real X server, its pictures through a real decoder, and real sound.

#[cfg(test)]
mod clipboard;
#[cfg(test)]
mod encoder;
#[cfg(test)]
mod input;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod sound;
#[cfg(test)]
mod support;
#[cfg(test)]
mod transcode;
