//! What somebody tries who means harm.
