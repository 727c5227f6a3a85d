//! Why the center cannot start, and how it says no to a request.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use api::ErrorCode;
use mesh::authority::AuthorityError;
use mesh::link::BindError;

use crate::records::RecordError;

/// Why the center cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The data directory cannot be made.
    #[error("make the directory {}", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The administrator's token cannot be read or made.
    #[error("keep the administrator's token in {}", path.display())]
    AdminToken {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The store cannot be opened or read.
    #[error("open the store")]
    Records(#[from] RecordError),
    /// The certificate authority cannot be opened.
    #[error("open the certificate authority")]
    Authority(#[from] AuthorityError),
    /// The TCP port cannot be used.
    #[error("listen on {address} (tcp)")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The UDP port cannot be used.
    #[error("listen for nodes")]
    Links(#[source] BindError),
    /// The HTTP certificate cannot be used.
    #[error("use the certificate {}", path.display())]
    Certificate {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// How the center says no: a code for programs, words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    pub(crate) fn conflict() -> Self {
        Self::new(
            ErrorCode::Conflict,
            "somebody else changed it at the same moment",
        )
        .hint("look at it again, then decide again")
    }

    /// Our own fault: the reason goes into the log and not to the caller.
    pub(crate) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %chain(error), "a request failed");
        Self::new(ErrorCode::Internal, "the center failed to do this")
            .hint("the center's log says why")
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Conflict => Self::conflict(),
            other => Self::internal(&other),
        }
    }
}

/// The error and all that caused it, in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
