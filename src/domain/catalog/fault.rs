//! Faults of a catalogue: where, which key, what is wrong, and the way out.
//!
//! Law: a check goes on after a fault; the author sees all of them at once.

use std::fmt;

/// Something wrong in a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, as it was named to [`super::Catalog::load`].
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key, such as `feature.listing_views_7d.window`.
    pub key: String,
    /// What is wrong, and the way out.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.file, self.line, self.key, self.message)
    }
}

/// The faults found so far.
#[derive(Debug)]
pub(super) struct Faults {
    file: String,
    /// Where each line ends.
    line_ends: Vec<usize>,
    found: Vec<Fault>,
}

impl Faults {
    pub(super) fn new(file: &str, text: &str) -> Self {
        let line_ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { file: file.to_owned(), line_ends, found: Vec::new() }
    }

    /// Notes a fault at a byte of the text.
    pub(super) fn add(&mut self, at: usize, key: impl Into<String>, message: impl Into<String>) {
        let line = 1 + self.line_ends.partition_point(|end| *end < at);
        self.found.push(Fault { file: self.file.clone(), line, key: key.into(), message: message.into() });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them, by line.
    pub(super) fn sorted(&self) -> Vec<Fault> {
        let mut found = self.found.clone();
        found.sort();
        found.dedup();
        found
    }
}

/// `; did you mean "x"?` for the known name nearest to a wrong one, or nothing when none is near.
pub(super) fn nearest<'n>(wrong: &str, known: impl Iterator<Item = &'n str>) -> String {
    // A third of the letters may be wrong: more would be guessing.
    let far = wrong.chars().count().div_ceil(3);
    known
        .map(|name| (distance(wrong, name), name))
        .filter(|(steps, _)| *steps <= far)
        .min()
        .map(|(_, name)| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default()
}

/// Levenshtein distance, letter case aside.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (nth, from) in left.to_lowercase().chars().enumerate() {
        let mut diagonal = nth;
        let mut beside = nth + 1;
        for (to, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = *cell;
            beside = replaced.min(*cell + 1).min(beside + 1);
            *cell = beside;
        }
        if let Some(first) = row.first_mut() {
            *first = nth + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (left, right, expected) in [
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("SELL", "sell", 0),
            ("ab", "", 2),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }

    #[test]
    fn a_name_that_is_near_is_suggested_and_a_far_one_is_not() {
        let known = ["SELL", "BUY", "REFINANCE"];
        assert_eq!(nearest("REFINANCED", known.into_iter()), "; did you mean \"REFINANCE\"?");
        assert_eq!(nearest("LEASE", known.into_iter()), "");
    }
}
