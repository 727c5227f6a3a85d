//! The center from outside: HTTP through the typed client, nodes through real links. The nodes
//! are scripted; what they speak is `api::link`.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails where it stands; clippy only knows the functions with #[test]"
)]

mod attack;
mod catalogue;
mod console;
mod events;
mod joining;
mod live;
mod moving;
mod openapi;
mod renewing;
mod restart;
mod sessions;
mod support;
mod whep;
