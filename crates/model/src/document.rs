//! Reading documents that people write: TOML with errors that say where, what and what instead.

use std::fmt;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The furthest a misspelt key may be from the known one that is offered instead, by Jaro-Winkler
/// similarity.
const NEAR: f64 = 0.75;

/// What is wrong in a document, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError {
    /// From 1; `None` when the whole document is meant.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right, if that is known.
    pub hint: Option<String>,
}

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(f, "line {line}, column {column}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for DocumentError {}

/// Reads a TOML document into `T`. With `deny_unknown_fields` on `T`, a misspelt key is answered
/// with the nearest known one.
///
/// # Errors
/// When the text is not TOML or not a `T`.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, DocumentError> {
    Document::parse(text)?.to()
}

/// A document that is TOML, of which it is not yet known what it says.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    text: &'a str,
    table: Spanned<DeTable<'a>>,
}

/// One step on the way to a value in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Into a table.
    Key(&'static str),
    /// Into a list, from 0.
    Item(usize),
}

impl<'a> Document<'a> {
    /// Reads the form, not the content.
    ///
    /// # Errors
    /// When the text is not TOML.
    pub fn parse(text: &'a str) -> Result<Self, DocumentError> {
        match DeTable::parse(text) {
            Ok(table) => Ok(Self { text, table }),
            Err(error) => Err(from_toml(text, &error)),
        }
    }

    /// Reads the content.
    ///
    /// # Errors
    /// When the document is not a `T`.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, DocumentError> {
        let deserializer = toml::Deserializer::from(self.table.clone());
        T::deserialize(deserializer).map_err(|error| from_toml(self.text, &error))
    }

    /// The keys at the top.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.table.get_ref().keys().map(|it| it.get_ref().as_ref())
    }

    /// Takes a key and what it holds out, if it is there.
    pub fn remove(&mut self, key: &str) {
        self.table.get_mut().remove(key);
    }

    /// An error at a key at the top.
    pub fn error_at_key(&self, key: &str, message: String, hint: Option<String>) -> DocumentError {
        let keys = self.table.get_ref().keys();
        let mut spans = keys.filter(|it| *it.get_ref() == key).map(Spanned::span);
        self.error(spans.next().map(|it| it.start), message, hint)
    }

    /// An error at a value, or where the way to it ends.
    pub fn error_at(&self, way: &[Step], message: String, hint: Option<String>) -> DocumentError {
        let mut at = None;
        let mut value: Option<&DeValue<'_>> = None;
        for step in way {
            let inner = match (*step, value) {
                (Step::Key(key), None) => self.table.get_ref().get(key),
                (Step::Key(key), Some(DeValue::Table(table))) => table.get(key),
                (Step::Item(index), Some(DeValue::Array(array))) => array.get(index),
                _ => None,
            };
            let Some(inner) = inner else {
                break;
            };
            at = Some(inner.span().start);
            value = Some(inner.get_ref());
        }
        self.error(at, message, hint)
    }

    fn error(&self, at: Option<usize>, message: String, hint: Option<String>) -> DocumentError {
        let (line, column) = at.map(|at| line_and_column(self.text, at)).unzip();
        DocumentError {
            line,
            column,
            message,
            hint,
        }
    }
}

fn from_toml(text: &str, error: &toml::de::Error) -> DocumentError {
    let (message, hint) = explain(error.message());
    let (line, column) = error
        .span()
        .map(|span| line_and_column(text, span.start))
        .unzip();
    DocumentError {
        line,
        column,
        message,
        hint,
    }
}

/// The known word nearest to a misspelt one, if any is near enough.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|it| (strsim::jaro_winkler(word, it), it))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, it)| it)
}

/// Turns serde's sentence about an unknown word into one that offers the right word.
fn explain(message: &str) -> (String, Option<String>) {
    let first_line = message.lines().next().unwrap_or_default().to_owned();
    let (what, rest) = if let Some(rest) = message.strip_prefix("unknown field ") {
        ("key", rest)
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        ("value", rest)
    } else {
        return (first_line, None);
    };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let Some(wrong) = quoted.next() else {
        return (first_line, None);
    };
    let known: Vec<&str> = quoted.collect();
    let hint = match nearest(wrong, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    (format!("unknown {what} `{wrong}`"), Some(hint))
}

fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only read")]
    struct Doc {
        listen: String,
        data_dir: String,
    }

    #[test]
    fn a_misspelt_key_is_answered_with_the_nearest() {
        let error = read::<Doc>("listen = 'x'\ndata_dri = 'y'").unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2, column 1: unknown key `data_dri`; did you mean `data_dir`?"
        );
    }

    #[test]
    fn a_strange_key_is_answered_with_the_known_ones() {
        let error = read::<Doc>("zzz = 1").unwrap_err();
        assert_eq!(error.hint.unwrap(), "known here: listen, data_dir");
    }

    #[test]
    fn what_is_not_toml_says_where() {
        assert_eq!(
            read::<Doc>("listen = 'x'\ndata_dir = ?").unwrap_err().line,
            Some(2)
        );
    }
}
