//! The binary as a person and a script meet it.
#![expect(clippy::unwrap_used, reason = "a test helper fails its test")]

mod cli;
mod config;
mod dev;
mod fake;
mod help;
mod run;
