//! The pipeline against a real X server, and its pictures through a real decoder.

mod clipboard;
mod encoder;
mod input;
mod pipeline;
mod support;
