//! A terminal that does not keep to what it was granted.
