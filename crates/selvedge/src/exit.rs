//! How a command ends: exit codes, and errors that say what to do.

use std::io::{self, Write as _};
use std::process::ExitCode;

use api::ErrorCode;
use api::client::ClientError;

/// What `--help` says of exit codes. The numbers are those of [`Ending`].
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  it failed
  2  the arguments, the configuration or a manifest make no sense
  3  there is no such app, site, node or session
  4  the center said no
  5  the center does not answer";

/// How a command ends when it does not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Refused = 4,
    Unreachable = 5,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending as u8)
    }
}

/// An error made of words for the person at the command line.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Told {
    message: String,
    hint: Option<String>,
    ending: Ending,
}

impl Told {
    pub(crate) fn new(ending: Ending, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            ending,
        }
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Tells the person and picks the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let mut text = format!("selvedge: {error:#}\n");
    if let Some(hint) = hint(error) {
        text.push_str(&format!("hint: {hint}\n"));
    }
    // Whoever closed our stderr has chosen not to know.
    let _ = io::stderr().write_all(text.as_bytes());
    ending(error).into()
}

/// Prints what clap has to say: help on stdout, complaints on stderr.
pub(crate) fn after_usage(error: &clap::Error) -> anyhow::Result<ExitCode> {
    let _ = error.print();
    let code = u8::try_from(error.exit_code()).unwrap_or(Ending::Usage as u8);
    Ok(ExitCode::from(code))
}

fn hint(error: &anyhow::Error) -> Option<&str> {
    error.chain().find_map(|cause| {
        let told = cause.downcast_ref::<Told>();
        let client = cause.downcast_ref::<ClientError>();
        told.and_then(|it| it.hint.as_deref())
            .or_else(|| client.and_then(ClientError::hint))
    })
}

fn ending(error: &anyhow::Error) -> Ending {
    error
        .chain()
        .find_map(|cause| {
            let told = cause.downcast_ref::<Told>().map(|it| it.ending);
            told.or_else(|| cause.downcast_ref::<ClientError>().map(of_client))
        })
        .unwrap_or(Ending::Failed)
}

fn of_client(error: &ClientError) -> Ending {
    match error {
        ClientError::Refused(_) if error.code() == Some(ErrorCode::NotFound) => Ending::NotFound,
        ClientError::Refused(_) => Ending::Refused,
        ClientError::Unreachable { .. } => Ending::Unreachable,
        ClientError::Garbled { .. } => Ending::Failed,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use api::error::ErrorDetail;

    use super::*;

    #[test]
    fn the_cause_decides_the_exit_code() {
        assert_eq!(ending(&refused(ErrorCode::NotFound)), Ending::NotFound);
        assert_eq!(ending(&refused(ErrorCode::Unauthorized)), Ending::Refused);
        assert_eq!(ending(&anyhow::anyhow!("the disk is full")), Ending::Failed);
        let told = Told::new(Ending::Usage, "no").hint("say yes");
        let error = Err::<(), _>(told).context("ask").unwrap_err();
        assert_eq!(ending(&error), Ending::Usage);
        assert_eq!(hint(&error), Some("say yes"));
    }

    #[test]
    fn the_help_lists_every_code() {
        for ending in [
            Ending::Failed,
            Ending::Usage,
            Ending::NotFound,
            Ending::Refused,
            Ending::Unreachable,
        ] {
            assert!(HELP.contains(&format!("\n  {}  ", ending as u8)));
        }
    }

    fn refused(code: ErrorCode) -> anyhow::Error {
        let detail = ErrorDetail {
            code,
            message: "no".into(),
            hint: None,
        };
        let refused: Result<(), _> = Err(ClientError::Refused(detail));
        refused.context("look for it").unwrap_err()
    }
}
