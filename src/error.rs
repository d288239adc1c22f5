//! How an error is shown: its own step first, then every cause behind it.

use std::error::Error;
use std::fmt;

/// Displays an error with its causes, `a: b: c`; the only way errors reach a log line or a terminal.
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
