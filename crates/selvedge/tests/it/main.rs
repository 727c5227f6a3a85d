//! The binary as a person and a script meet it.

mod cli;
mod config;
mod dev;
mod fake;
mod help;
mod run;
