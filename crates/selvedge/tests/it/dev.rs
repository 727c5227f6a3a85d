//! `selvedge dev` with real children. The one thing it must never do is leave one behind.
