//! What must come true by itself: one file each, woken by signal and timer, idempotent.

pub(crate) mod authority;
pub(crate) mod join_tokens;
pub(crate) mod plan;
pub(crate) mod sessions;
