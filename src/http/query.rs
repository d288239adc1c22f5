//! Query strings and path segments, read strictly: a parameter that nobody knows and a value that does not parse are
//! faults that name the parameter, and all faults are told at once.
//!
//! Called by the files of the resources.

use super::problem::{Fault, Problem};

/// A text whose percent-encoding is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not percent-encoded UTF-8")]
pub(super) struct BadEncoding;

/// Decodes a percent-encoded text; `+` is a space in queries and itself in paths.
pub(super) fn decode(text: &str, plus_is_space: bool) -> Result<String, BadEncoding> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let high = rest.next().and_then(nibble).ok_or(BadEncoding)?;
                let low = rest.next().and_then(nibble).ok_or(BadEncoding)?;
                high << 4 | low
            }
            b'+' if plus_is_space => b' ',
            plain => plain,
        });
    }
    String::from_utf8(bytes).map_err(|_| BadEncoding)
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Parameters that have not been asked for yet, and what was wrong with those that have.
pub(super) struct Query {
    left: Vec<(String, String)>,
    faults: Vec<Fault>,
    known: Vec<&'static str>,
}

impl Query {
    /// Splits and decodes a raw query string.
    pub(super) fn parse(raw: &str) -> Self {
        let mut query = Self { left: Vec::new(), faults: Vec::new(), known: Vec::new() };
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name, true), decode(value, true)) {
                (Ok(name), Ok(value)) => query.left.push((name, value)),
                (Ok(name), Err(error)) => query.faults.push(Fault::new(shown(&name), error.to_string())),
                (Err(error), _) => query.faults.push(Fault::new(shown(name), error.to_string())),
            }
        }
        query
    }

    /// The one value of a parameter, parsed; none when it is not there or does not parse.
    pub(super) fn one<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let mut values = self.take(name);
        if values.len() > 1 {
            self.faults.push(Fault::new(name, "may be given once"));
            return None;
        }
        match parse(&values.pop()?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push(Fault::new(name, message));
                None
            }
        }
    }

    /// The values of a parameter that may be repeated and may hold several, parted by commas.
    pub(super) fn many<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut parsed = Vec::new();
        for value in self.take(name) {
            for part in value.split(',') {
                match parse(part) {
                    Ok(value) => parsed.push(value),
                    Err(message) => self.faults.push(Fault::new(name, message)),
                }
            }
        }
        parsed
    }

    /// Adds a fault that only several parameters together make.
    pub(super) fn fault(&mut self, name: &'static str, message: &str) {
        self.faults.push(Fault::new(name, message));
    }

    /// All has been asked for: what is left nobody knows.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        for (name, _) in self.left {
            self.faults.push(Fault::new(
                shown(&name),
                format!("there is no such query parameter here; known: {known}"),
            ));
        }
        if self.faults.is_empty() { Ok(()) } else { Err(Problem::bad(self.faults)) }
    }

    fn take(&mut self, name: &'static str) -> Vec<String> {
        self.known.push(name);
        let (wanted, left) = std::mem::take(&mut self.left).into_iter().partition(|(given, _)| given == name);
        self.left = left;
        let wanted: Vec<(String, String)> = wanted;
        wanted.into_iter().map(|(_, value)| value).collect()
    }
}

/// A name as a fault shows it: a client's text, cut.
fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Parses a whole number between two bounds.
pub(super) fn whole(text: &str, min: usize, max: usize) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

/// Takes a text of bounded length that holds no control characters.
pub(super) fn text(given: &str, bytes_max: usize) -> Result<String, String> {
    let fits = !given.is_empty() && given.len() <= bytes_max && !given.chars().any(char::is_control);
    fits.then(|| given.to_owned())
        .ok_or_else(|| format!("must have 1 to {bytes_max} bytes and no control characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_strict() {
        assert_eq!(decode("a%2Fb+c", true).unwrap(), "a/b c");
        assert_eq!(decode("a%2fb+c", false).unwrap(), "a/b+c");
        for broken in ["%", "%2", "%zz", "%+1", "%ff"] {
            assert_eq!(decode(broken, true), Err(BadEncoding), "{broken}");
        }
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let mut query = Query::parse("limit=0&limit=2&colour=red&q=%zz&size=x");
        assert_eq!(query.one("limit", |text| whole(text, 1, 500)), None);
        assert_eq!(query.one("size", |text| whole(text, 1, 500)), None);
        let problem = serde_json::to_value(query.finish().unwrap_err()).unwrap();
        let mut paths: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|fault| fault["path"].clone()).collect();
        paths.sort_by_key(ToString::to_string);
        assert_eq!(paths, ["colour", "limit", "q", "size"]);
    }

    #[test]
    fn lists_may_be_repeated_and_parted_by_commas() {
        let mut query = Query::parse("n=1,2&n=3");
        assert_eq!(query.many("n", |text| whole(text, 1, 9)), [1, 2, 3]);
        assert!(query.finish().is_ok());
    }
}
