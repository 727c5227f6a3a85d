//! The store as its users see it, and what happens to it when it is killed or damaged.
#![expect(clippy::unwrap_used, reason = "a test fails where it is used")]

mod damage;
mod kill;
mod semantics;
