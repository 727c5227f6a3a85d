//! Printing: data on stdout, as one JSON document or as text for people; speech on stderr.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use serde::Serialize;

mod table;
mod words;

pub(crate) use table::{Facts, Table};
pub(crate) use words::{ago, joined, megabytes, millis_of_core, milliseconds, percent};

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// One JSON document.
    Json,
    /// Text for people.
    People,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::People }
    }

    /// Prints data: as it is in JSON, or what `text` makes of it.
    pub(crate) fn data<T: Serialize>(
        self,
        data: &T,
        text: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let mut text = match self {
            Self::Json => serde_json::to_string(data).context("write JSON")?,
            Self::People => text(data),
        };
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        write_out(&text)
    }
}

/// Says something to the person, whatever stdout is used for.
pub(crate) fn say(text: &str) {
    // Whoever closed our stderr has chosen not to know.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Whether a person wants to see colours on this stream. They repeat what the words say.
pub(crate) fn colourful(stream: &impl io::IsTerminal) -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    !refused && stream.is_terminal()
}

fn write_out(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        // `selvedge app list | head -1` is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("write to stdout"),
    }
}

/// Whether headings on stdout are made bold.
fn bold_headings() -> bool {
    colourful(&io::stdout()) && io::stdout().is_terminal()
}
