//! The TOML of a catalogue as sections that are read key by key, each value with its place in the text.
//!
//! Law: a key that nobody asked for is a fault, and so is a value of the wrong kind; reading goes on after both.
//! Called by `check`.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Span;
use super::fault::{Faults, nearest};

/// A value and the byte of the text it begins at.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    pub(super) at: usize,
    pub(super) value: T,
}

/// A table that is being read.
pub(super) struct Section<'t> {
    /// Its key, such as `feature.listing_views_7d`; empty for the whole file.
    pub(super) key: String,
    /// Where it begins.
    pub(super) at: usize,
    table: &'t DeTable<'t>,
    asked: BTreeSet<&'static str>,
    faults: &'t RefCell<Faults>,
}

impl<'t> Section<'t> {
    pub(super) fn new(key: String, at: usize, table: &'t DeTable<'t>, faults: &'t RefCell<Faults>) -> Self {
        Self { key, at, table, asked: BTreeSet::new(), faults }
    }

    fn path(&self, name: &str) -> String {
        match (self.key.as_str(), name) {
            ("", name) => name.to_owned(),
            (key, "") => key.to_owned(),
            (key, name) => format!("{key}.{name}"),
        }
    }

    /// Notes a fault of one of its keys (of the section itself when the name is empty).
    pub(super) fn fault(&self, at: usize, name: &str, message: impl Into<String>) {
        self.faults.borrow_mut().add(at, self.path(name), message);
    }

    /// Notes a fault for which one of its keys is needed and missing.
    pub(super) fn missing(&self, name: &str, what: &str) {
        self.fault(self.at, name, format!("is missing: {what}"));
    }

    fn value(&mut self, name: &'static str) -> Option<At<&'t DeValue<'t>>> {
        self.asked.insert(name);
        self.table
            .iter()
            .find(|(key, _)| key.get_ref() == name)
            .map(|(_, value)| At { at: value.span().start, value: value.get_ref() })
    }

    /// Whether the key is there at all.
    pub(super) fn has(&self, name: &str) -> bool {
        self.table.iter().any(|(key, _)| key.get_ref() == name)
    }

    /// Counts keys as asked for.
    pub(super) fn ask(&mut self, names: &[&'static str]) {
        self.asked.extend(names);
    }

    /// Where a key's value begins; the section's own place when the key is missing.
    pub(super) fn at_key(&self, name: &str) -> usize {
        let found = self.table.iter().find(|(key, _)| key.get_ref() == name);
        found.map_or(self.at, |(_, value)| value.span().start)
    }

    fn expected<T>(
        &mut self,
        name: &'static str,
        what: &str,
        read: impl Fn(&'t DeValue<'t>) -> Option<T>,
    ) -> Option<At<T>> {
        let found = self.value(name)?;
        if let Some(value) = read(found.value) {
            return Some(At { at: found.at, value });
        }
        self.fault(found.at, name, format!("must be {what}, not a {}", found.value.type_str()));
        None
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Option<At<&'t str>> {
        self.expected(name, "a text", DeValue::as_str)
    }

    /// A text that has to be there and to say something.
    pub(super) fn text_needed(&mut self, name: &'static str, what: &str) -> Option<At<&'t str>> {
        if self.value(name).is_none() {
            self.missing(name, what);
            return None;
        }
        let found = self.text(name)?;
        if found.value.trim().is_empty() {
            self.fault(found.at, name, format!("is empty: {what}"));
            return None;
        }
        Some(found)
    }

    /// A number, whole or not.
    pub(super) fn number(&mut self, name: &'static str) -> Option<At<f64>> {
        self.expected(name, "a number", number_of)
    }

    /// A number between two bounds, or a default.
    pub(super) fn number_within(&mut self, name: &'static str, min: f64, max: f64) -> Option<At<f64>> {
        let found = self.number(name)?;
        if (min..=max).contains(&found.value) {
            return Some(found);
        }
        self.fault(found.at, name, format!("must be between {min} and {max}, is {}", found.value));
        None
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &'static str) -> Option<At<bool>> {
        self.expected(name, "true or false", DeValue::as_bool)
    }

    /// A list of texts; a single text is a list of one.
    pub(super) fn texts(&mut self, name: &'static str) -> Option<Vec<At<&'t str>>> {
        let found = self.value(name)?;
        if let Some(text) = found.value.as_str() {
            return Some(vec![At { at: found.at, value: text }]);
        }
        let read = |item: &'t Spanned<DeValue<'t>>| {
            Some(At { at: item.span().start, value: item.get_ref().as_str()? })
        };
        let texts: Option<Vec<_>> = found.value.as_array().and_then(|items| items.iter().map(read).collect());
        if texts.is_none() {
            self.fault(found.at, name, "must be a text or a list of texts");
        }
        texts
    }

    /// A list of tables.
    pub(super) fn rows(&mut self, name: &'static str) -> Option<Vec<Section<'t>>> {
        let found = self.value(name)?;
        let path = self.path(name);
        let faults = self.faults;
        let read = |(nth, item): (usize, &'t Spanned<DeValue<'t>>)| {
            let table = item.get_ref().as_table()?;
            Some(Section::new(format!("{path}[{nth}]"), item.span().start, table, faults))
        };
        let rows: Option<Vec<_>> =
            found.value.as_array().and_then(|items| items.iter().enumerate().map(read).collect());
        if rows.is_none() {
            self.fault(found.at, name, "must be a list of tables");
        }
        rows
    }

    /// Named tables below a key, in the order in which they are written.
    pub(super) fn tables(&mut self, name: &'static str) -> Vec<(At<&'t str>, Section<'t>)> {
        let Some(found) = self.value(name) else { return Vec::new() };
        let Some(table) = found.value.as_table() else {
            self.fault(found.at, name, "must be a table of tables");
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (key, value) in table {
            let (at, inner) = (key.span().start, key.get_ref().as_ref());
            let path = self.path(&format!("{name}.{inner}"));
            match value.get_ref().as_table() {
                Some(table) => {
                    sections.push((At { at, value: inner }, Section::new(path, at, table, self.faults)));
                }
                None => self.faults.borrow_mut().add(at, path, "must be a table"),
            }
        }
        sections.sort_by_key(|(name, _)| name.at);
        sections
    }

    /// A span of time, such as `30m`, `12h` or `7d`.
    pub(super) fn duration(&mut self, name: &'static str) -> Option<At<Duration>> {
        let found = self.text(name)?;
        if let Some(value) = duration_of(found.value) {
            return Some(At { at: found.at, value });
        }
        self.fault(
            found.at,
            name,
            format!(
                "\"{}\" is no span of time: write a whole number and s, m, h or d, such as \"7d\"",
                found.value
            ),
        );
        None
    }

    /// A span of time that has to be there.
    pub(super) fn duration_needed(&mut self, name: &'static str, what: &str) -> Option<Duration> {
        if self.value(name).is_none() {
            self.missing(name, what);
        }
        self.duration(name).map(|found| found.value)
    }

    /// A window: `6h` up to `48h`, `1d` up to `365d`, or `all`.
    pub(super) fn window(&mut self) -> Option<At<Span>> {
        const HOW: &str = "write \"1h\" to \"48h\", \"1d\" to \"365d\", or \"all\"";
        let found = self.text("window")?;
        let (at, text) = (found.at, found.value);
        if text == "all" {
            return Some(At { at, value: Span::All });
        }
        let count = |unit| text.strip_suffix(unit).and_then(|count| count.parse::<u32>().ok());
        let wrong = match (count('h'), count('d')) {
            (Some(hours @ 1..=48), _) => return Some(At { at, value: Span::Hours(hours) }),
            (_, Some(days @ 1..=365)) => return Some(At { at, value: Span::Days(days) }),
            (Some(49..), _) => "counts in hours and is longer than two days",
            (_, Some(366..)) => "is longer than a year",
            (Some(0), _) | (_, Some(0)) => "is empty",
            (None, None) => "is no window",
        };
        self.fault(at, "window", format!("\"{text}\" {wrong}: {HOW}"));
        None
    }

    /// Ends the reading: every key that nobody asked for is a fault.
    pub(super) fn finish(self) {
        for (key, _) in self.table {
            let name = key.get_ref().as_ref();
            if !self.asked.contains(name) {
                let hint = nearest(name, self.asked.iter().copied());
                self.fault(key.span().start, name, format!("is not a key of this section{hint}"));
            }
        }
    }
}

fn number_of(value: &DeValue<'_>) -> Option<f64> {
    let text = match (value.as_integer(), value.as_float()) {
        (Some(whole), _) if whole.radix() == 10 => whole.as_str(),
        (_, Some(float)) => float.as_str(),
        _ => return None,
    };
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn duration_of(text: &str) -> Option<Duration> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let count: u64 = count.parse().ok().filter(|count| *count <= 100_000)?;
    Some(Duration::from_secs(count * seconds))
}
