//! A whole cloud by the real binary, and a person at a terminal: what they see, and what they see when
//! something breaks or somebody means harm.
#![expect(clippy::unwrap_used, reason = "a test helper fails its test")]
#![expect(clippy::print_stdout, reason = "figures, and logs of what failed")]

mod align;
mod attacks;
mod faults;
mod links;
mod live;
mod play;
mod publish;
mod support;
