//! Where the log goes: stderr.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;
use crate::exit::{Ending, Told};
use crate::output::colourful;

/// What is logged unless told otherwise.
const FILTER: &str = "info,moq_net=error";

/// Starts logging.
pub(super) fn start(filter: Option<&str>, format: Option<LogFormat>) -> anyhow::Result<()> {
    let filter = filter.unwrap_or(FILTER);
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        Told::new(
            Ending::Usage,
            format!("`{filter}` is not a log filter: {error}"),
        )
        .hint("write a level or levels by module, as in `info` or `warn,edge=debug`")
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colourful(&io::stderr()))
        // A log that cannot be written is no reason to fail.
        .log_internal_errors(false);
    match format.unwrap_or_default() {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
    Ok(())
}
