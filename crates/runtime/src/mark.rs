//! The marks by which a child is known as ours, also after its parent is gone.

use std::fmt;

/// The environment variable that carries a [`Mark`].
pub const VARIABLE: &str = "SELVEDGE_RUN";

/// The longest owner or unit. It ends up in paths of sockets, which may have 107 bytes.
const NAME_MAX: usize = 40;

/// Whose child a process is: one name per data directory of a node, the same at every start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner(String);

/// Which child of an owner: an instance, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    owner: Owner,
    unit: String,
}

/// Why a name can't be a part of a mark.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a name for a mark: 1 to {NAME_MAX} of a-z, A-Z, 0-9, '-', '_' and '.'")]
pub struct NameError {
    name: String,
}

impl Owner {
    /// Takes an owner's name.
    ///
    /// # Errors
    /// When it is empty, too long or has other characters than letters, digits, `-`, `_`, `.`.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        checked(name.into()).map(Self)
    }

    /// The mark of one unit of this owner.
    ///
    /// # Errors
    /// As [`Owner::new`].
    pub fn unit(&self, unit: impl Into<String>) -> Result<Mark, NameError> {
        Ok(Mark {
            owner: self.clone(),
            unit: checked(unit.into())?,
        })
    }

    /// Whether a value of [`VARIABLE`] is a mark of this owner.
    pub(crate) fn is_in(&self, value: &[u8]) -> bool {
        value
            .strip_prefix(self.0.as_bytes())
            .is_some_and(|rest| rest.starts_with(b"/"))
    }
}

impl Mark {
    /// The mark of a part of this unit; [`Mark::is_in`] of the whole covers its parts.
    ///
    /// # Errors
    /// As [`Owner::new`].
    pub fn part(&self, part: &str) -> Result<Self, NameError> {
        Ok(Self {
            owner: self.owner.clone(),
            unit: format!("{}/{}", self.unit, checked(part.to_owned())?),
        })
    }

    /// Whether a value of [`VARIABLE`] is this mark or that of a part of it.
    pub(crate) fn is_in(&self, value: &[u8]) -> bool {
        value
            .strip_prefix(self.to_string().as_bytes())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner.0, self.unit)
    }
}

fn checked(name: String) -> Result<String, NameError> {
    let plain = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_' | '.');
    if (1..=NAME_MAX).contains(&name.len()) && name.chars().all(plain) {
        Ok(name)
    } else {
        Err(NameError { name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_covers_its_parts_and_nothing_that_merely_begins_alike() {
        let owner = Owner::new("node-1").unwrap();
        let mark = owner.unit("s7").unwrap();
        assert_eq!(mark.part("app").unwrap().to_string(), "node-1/s7/app");
        for (value, is_owners, is_marks) in [
            ("node-1/s7", true, true),
            ("node-1/s7/app", true, true),
            ("node-1/s77", true, false),
            ("node-11/s7", false, false),
            ("node-1", false, false),
            ("", false, false),
        ] {
            assert_eq!(owner.is_in(value.as_bytes()), is_owners, "{value}");
            assert_eq!(mark.is_in(value.as_bytes()), is_marks, "{value}");
        }
    }

    #[test]
    fn names_are_plain() {
        for name in ["", "a/b", "a b", "ä", &"x".repeat(41)] {
            assert!(Owner::new(name).is_err(), "{name:?}");
        }
    }
}
