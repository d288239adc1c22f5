//! Sets up tracing: to the journal under systemd, else readable lines or JSON on standard error.
//!
//! Law: `error` = act now, `warn` = it recovered, `info` = life cycle, `debug` = per user. No personal data above `debug`.

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// Where log lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The journal when systemd started us (`JOURNAL_STREAM` is set), else text.
    #[default]
    Auto,
    /// The systemd journal, with fields.
    Journal,
    /// One JSON object a line on standard error.
    Json,
    /// Lines for people on standard error.
    Text,
}

/// `[log]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Where log lines go.
    pub format: Format,
    /// Which lines: `tracing` filter directives, such as `info` or `intentd=debug,warn`.
    pub filter: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { format: Format::Auto, filter: "info".to_owned() }
    }
}

impl Options {
    /// What is wrong with these options: key and message.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        match EnvFilter::try_new(&self.filter) {
            Ok(_) => Vec::new(),
            Err(error) => vec![("log.filter", error.to_string())],
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter does not parse.
    #[error("log.filter {filter:?} is no tracing filter")]
    Filter {
        /// As given.
        filter: String,
        /// Why.
        #[source]
        source: ParseError,
    },
    /// The journal's socket is not there.
    #[error("the systemd journal cannot be reached; set log.format = \"text\" or \"json\"")]
    Journal(#[source] std::io::Error),
    /// It is set up already.
    #[error("logging is set up already")]
    Twice(#[source] TryInitError),
}

/// Without it ractor keeps a span for each actor, some 2 KB and a look-up for each message; and the KurrentDB client logs an
/// error for each call that the adapter makes again. `ractor=info` or `kurrentdb=warn` in the filter brings them back.
const QUIET: &str = "ractor=warn,kurrentdb=off";

/// Installs the process-wide subscriber. Call once.
///
/// # Errors
/// A filter that does not parse, or a journal that cannot be reached.
pub fn install(options: &Options) -> Result<(), Error> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", options.filter))
        .map_err(|source| Error::Filter { filter: options.filter.clone(), source })?;
    let registry = tracing_subscriber::registry().with(filter);
    match resolved(options.format) {
        Format::Journal => {
            let journal = tracing_journald::layer().map_err(Error::Journal)?;
            registry.with(journal).try_init()
        }
        Format::Json => {
            registry.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).try_init()
        }
        Format::Text | Format::Auto => {
            let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry
                .with(tracing_subscriber::fmt::layer().with_ansi(color).with_writer(std::io::stderr))
                .try_init()
        }
    }
    .map_err(Error::Twice)
}

fn resolved(format: Format) -> Format {
    match format {
        Format::Auto if std::env::var_os("JOURNAL_STREAM").is_some() => Format::Journal,
        Format::Auto => Format::Text,
        Format::Journal | Format::Json | Format::Text => format,
    }
}
