//! The short way to read an event: one pass over JSON as programs write it.
//!
//! Law: it says nothing that `serde_json` would not say. At whatever is unusual (an escape, a number of more than 15 digits or
//! with an exponent, nesting, a key twice, anything wrong) it gives up, and the long way answers and names the fault.
//! Called by [`super::ingest`] and [`super::behaviour`] for every event, before the long way.

use crate::domain::catalog::{Catalog, EventIx, FieldKind, FieldSpec};
use crate::domain::event::Fields;
use crate::domain::time::Timestamp;

/// Digits that a float holds exactly, and the powers of ten that it does.
const DIGITS_MAX: u32 = 15;
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// What an event says that passes the door, as far as it can be told without a clock.
pub(super) struct Sound<'a> {
    pub(super) id: &'a str,
    pub(super) subject: &'a str,
    pub(super) kind: EventIx,
    pub(super) occurred_at: Timestamp,
}

/// Reads an event of a type that the catalogue knows and checks its fields; none when the long way has to look.
pub(super) fn check<'a>(catalog: &Catalog, raw: &'a [u8]) -> Option<Sound<'a>> {
    let mut scan = Scan::of(raw)?;
    let (mut id, mut subject, mut kind, mut occurred_at) = (None, None, None, None);
    let mut seen = None;
    scan.object(|scan, key| match key {
        "id" => set(&mut id, scan.text()?),
        "userId" => set(&mut subject, scan.text()?),
        "type" => set(&mut kind, catalog.event(scan.text()?)?),
        "occurredAt" => set(&mut occurred_at, scan.text()?.parse().ok()?),
        "data" => {
            let specs = &catalog.events.get(usize::from(kind?.0))?.fields;
            set(&mut seen, check_data(specs, scan)?)
        }
        _ => scan.scalar().map(drop),
    })?;
    let specs = &catalog.events.get(usize::from(kind?.0))?.fields;
    let seen = seen.unwrap_or(0_u64);
    let complete = specs.iter().enumerate().all(|(nth, spec)| !spec.required || seen & (1 << nth) != 0);
    scan.at_end().filter(|()| complete)?;
    Some(Sound { id: id?, subject: subject?, kind: kind?, occurred_at: occurred_at? })
}

/// Checks the fields; answers with a bit for each that has a value.
fn check_data(specs: &[FieldSpec], scan: &mut Scan<'_>) -> Option<u64> {
    let (mut seen, mut next) = (0_u64, 0);
    scan.object(|scan, key| {
        let Some((at, spec)) = find(specs, next, key) else { return scan.scalar().map(drop) };
        next = at + 1;
        let value = scan.scalar()?;
        if !matches!(value, Scalar::Null) {
            holds(&spec.kind, &value).then_some(())?;
            seen |= 1 << at;
        }
        Some(())
    })?;
    Some(seen)
}

fn holds(kind: &FieldKind, value: &Scalar<'_>) -> bool {
    match (kind, value) {
        (FieldKind::Number { min, max, integer }, Scalar::Number(number)) => {
            (*min..=*max).contains(number) && (!integer || number.fract() == 0.0)
        }
        (FieldKind::Text { bytes_max }, Scalar::Text(text)) => text.len() <= *bytes_max,
        (FieldKind::Choice { of }, Scalar::Text(text)) => of.iter().any(|known| known == text),
        (FieldKind::Flag, Scalar::Flag(_)) => true,
        _ => false,
    }
}

/// Reads the time and the row of fields of an event that the log holds; none when the long way has to look.
pub(super) fn row(specs: &[FieldSpec], data: &[u8]) -> Option<(Timestamp, Fields)> {
    let mut scan = Scan::of(data)?;
    let (mut occurred_at, mut read) = (None, None);
    scan.object(|scan, key| match key {
        "occurredAt" => set(&mut occurred_at, scan.text()?.parse().ok()?),
        "data" => set(&mut read, fields(specs, scan)?),
        _ => scan.scalar().map(drop),
    })?;
    scan.at_end()?;
    let empty = || smallvec::SmallVec::from_elem(f64::NAN, specs.len());
    Some((occurred_at?, read.unwrap_or_else(empty)))
}

fn fields(specs: &[FieldSpec], scan: &mut Scan<'_>) -> Option<Fields> {
    let mut row = Fields::from_elem(f64::NAN, specs.len());
    let mut next = 0;
    scan.object(|scan, key| {
        let Some((at, spec)) = find(specs, next, key) else { return scan.scalar().map(drop) };
        next = at + 1;
        let value = match (&spec.kind, scan.scalar()?) {
            (_, Scalar::Null) => f64::NAN,
            (FieldKind::Number { .. }, Scalar::Number(number)) => number,
            (FieldKind::Text { .. } | FieldKind::Choice { .. }, Scalar::Text(text)) => super::symbol(text),
            (FieldKind::Flag, Scalar::Flag(flag)) => f64::from(u8::from(flag)),
            _ => return None,
        };
        *row.get_mut(at)? = value;
        Some(())
    })?;
    Some(row)
}

/// Finds a field by its key, first where the catalogue's order says it stands.
fn find<'s>(specs: &'s [FieldSpec], next: usize, key: &str) -> Option<(usize, &'s FieldSpec)> {
    match specs.get(next) {
        Some(spec) if spec.name == key => Some((next, spec)),
        _ => specs.iter().enumerate().find(|(_, spec)| spec.name == key),
    }
}

/// Sets what is not set yet.
fn set<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// A value that holds no others.
enum Scalar<'a> {
    Null,
    Flag(bool),
    Number(f64),
    Text(&'a str),
}

/// A place in a JSON text.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn of(raw: &'a [u8]) -> Option<Self> {
        std::str::from_utf8(raw).ok().map(|text| Self { text, at: 0 })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is no white space, not taken.
    fn next_byte(&mut self) -> Option<u8> {
        while let b' ' | b'\n' | b'\r' | b'\t' = self.peek()? {
            self.at += 1;
        }
        self.peek()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.next_byte()? == byte).then(|| self.at += 1)
    }

    fn at_end(&mut self) -> Option<()> {
        self.next_byte().is_none().then_some(())
    }

    /// Goes through an object; `member` takes each value.
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.next_byte()? == b'}' {
            return self.take(b'}');
        }
        loop {
            let key = self.text()?;
            self.take(b':')?;
            member(self, key)?;
            match self.next_byte()? {
                b',' => self.at += 1,
                _ => return self.take(b'}'),
            }
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let from = self.at;
        let rest = self.text.as_bytes().get(from..)?;
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f))?;
        self.at = from + length + 1;
        let ends = rest.get(length) == Some(&b'"');
        self.text.get(from..from + length).filter(|_| ends)
    }

    fn scalar(&mut self) -> Option<Scalar<'a>> {
        match self.next_byte()? {
            b'"' => self.text().map(Scalar::Text),
            b'n' => self.word("null", Scalar::Null),
            b't' => self.word("true", Scalar::Flag(true)),
            b'f' => self.word("false", Scalar::Flag(false)),
            _ => self.number().map(Scalar::Number),
        }
    }

    fn word(&mut self, word: &str, means: Scalar<'a>) -> Option<Scalar<'a>> {
        let stands = self.text.as_bytes().get(self.at..)?.starts_with(word.as_bytes());
        self.at += word.len();
        stands.then_some(means)
    }

    /// A number whose digits and whose power of ten a float holds exactly: their quotient is the float nearest to it.
    fn number(&mut self) -> Option<f64> {
        let negative = self.peek()? == b'-';
        self.at += usize::from(negative);
        let (mut mantissa, from) = (0_u64, self.at);
        let whole = self.digits(&mut mantissa);
        // "01" is no number.
        if whole == 0 || (whole > 1 && self.text.as_bytes().get(from) == Some(&b'0')) {
            return None;
        }
        let mut fraction = 0;
        if self.peek() == Some(b'.') {
            self.at += 1;
            fraction = self.digits(&mut mantissa);
            (fraction > 0).then_some(())?;
        }
        if whole + fraction > DIGITS_MAX || matches!(self.peek(), Some(b'e' | b'E')) {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "15 digits are below 2^53")]
        let number = mantissa as f64 / POWERS.get(fraction as usize)?;
        Some(if negative { -number } else { number })
    }

    /// Takes digits; how many. What they are worth is right for up to 15 of them.
    fn digits(&mut self, mantissa: &mut u64) -> u32 {
        let mut count = 0;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::LazyLock, time::Duration};

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::behaviour::read_long;
    use super::super::ingest::{check_ingest, check_long};
    use super::*;

    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
        let shipped = include_str!("../../../config/catalog.toml");
        let event = "\n[event.X]\ncategory = \"search\"\ndoc = \"d\"\n\
                     fields.n = { type = \"number\", min = -10, max = 1e9, required = true }\n\
                     fields.i = { type = \"integer\", min = 0, max = 50 }\n\
                     fields.t = { type = \"text\" }\nfields.f = { type = \"flag\" }\n\
                     fields.c = { type = \"choice\", of = [\"A\", \"B\"] }\n";
        Catalog::load(&format!("{shipped}{event}"), "test").unwrap()
    });

    /// Holds the short way to the long one; answers whether the short one went through both doors.
    fn agree(text: &str) -> bool {
        let catalog = &*CATALOG;
        let raw = Bytes::copy_from_slice(text.as_bytes());
        let (now, ahead) = (Timestamp::from_millis(1_767_225_600_000), Duration::from_secs(60));
        let long = check_long(catalog, &raw, now, ahead);
        assert_eq!(check_ingest(catalog, &raw, now, ahead), long, "{text}");
        let kind = catalog.event("X").unwrap();
        let specs = &catalog.events[usize::from(kind.0)].fields;
        let short = row(specs, &raw);
        if let Some((occurred_at, fields)) = &short {
            let read = read_long(specs, kind, &raw).unwrap_or_else(|error| panic!("{text}: {error}"));
            let bits = |fields: &Fields| fields.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!((read.occurred_at, bits(&read.fields)), (*occurred_at, bits(fields)), "{text}");
        }
        check(catalog, &raw).is_some() && short.is_some()
    }

    fn spelled() -> impl Strategy<Value = String> {
        let odd = [
            "0",
            "-0",
            "-0.0",
            "01",
            "1.",
            ".5",
            "+1",
            "1e3",
            "1E-2",
            "-",
            "--1",
            "null",
            "nul",
            "true",
            "false",
            "123456789012345",
            "1234567890123456",
            "0.1234567890123456",
            "9007199254740993",
            "\"A\"",
            "\"C\"",
            "\"\"",
            "\"a\\u0041\"",
            "\"a\\\"b\"",
            "\"a\tb\"",
            "\"ü\"",
            "{}",
            "[]",
            "{\"a\":1}",
            "[1,\"]\"]",
            "",
        ];
        prop_oneof![
            2 => proptest::sample::select(odd.to_vec()).prop_map(str::to_owned),
            2 => (-50_000_000_i64..5_000_000_000, 0..12_u32).prop_map(|(digits, places)| {
                let text = format!("{:0width$}", digits.abs(), width = places as usize + 1);
                let (whole, fraction) = text.split_at(text.len() - places as usize);
                let sign = if digits < 0 { "-" } else { "" };
                if places == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
            }),
            1 => (0..60_u32).prop_map(|number| number.to_string()),
        ]
    }

    fn member() -> impl Strategy<Value = String> {
        let key = proptest::sample::select(vec!["n", "i", "t", "f", "c", "more"]);
        (key, spelled(), proptest::sample::select(vec!["", " ", "\n\t"]))
            .prop_map(|(key, value, space)| format!("{space}\"{key}\"{space}:{space}{value}{space}"))
    }

    fn event() -> impl Strategy<Value = String> {
        let data = proptest::collection::vec(member(), 0..6).prop_map(|members| {
            format!("\"data\":{{\"n\":1{}}}", members.iter().map(|it| format!(",{it}")).collect::<String>())
        });
        let others = [
            "\"id\":\"e1\"",
            "\"userId\":\"u\"",
            "\"type\":\"X\"",
            "\"occurredAt\":\"2025-01-01T00:00:00.000Z\"",
        ];
        let odd = proptest::sample::select(vec![
            "\"userId\":\"*\"",
            "\"id\":\"\"",
            "\"type\":\"Y\"",
            "\"data\":null",
            "\"more\":[1,{}]",
            "\"more\":1",
            "\"occurredAt\":\"2025-01-01T01:00:00+01:00\"",
            "\"occurredAt\":\"2030-01-01T00:00:00.000Z\"",
            "\"id\":7",
        ]);
        let odd = proptest::collection::vec(odd, 0..2);
        (data, odd, any::<proptest::sample::Index>(), any::<bool>()).prop_map(
            move |(data, odd, at, plain)| {
                let mut members: Vec<String> = others.iter().map(|it| (*it).to_owned()).collect();
                members.push(data);
                if !plain {
                    members.extend(odd.iter().map(|it| (*it).to_owned()));
                    let (a, b) = (at.index(members.len()), members.len() - 1);
                    members.swap(a, b);
                }
                format!("{{{}}}", members.join(","))
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_short_way_says_nothing_that_the_long_one_does_not(
            text in event(),
            cut in proptest::option::weighted(0.2, any::<proptest::sample::Index>()),
            byte in proptest::sample::select(b"{}[]\",:\\0 x".to_vec()),
        ) {
            let mut text = text;
            if let Some(cut) = cut {
                let at = cut.index(text.len());
                if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                    text.replace_range(at..=at, std::str::from_utf8(&[byte]).unwrap());
                }
            }
            agree(&text);
        }
    }

    #[test]
    fn events_as_programs_write_them_go_the_short_way() {
        for data in [
            r#"{"n":412000,"i":3,"t":"Österreich","f":true,"c":"A"}"#,
            r#"{"c":null,"n":-9.25}"#,
            r#"{ "n" : 0.1 , "more" : false }"#,
        ] {
            let text = format!(
                r#"{{"id":"e1","userId":"u","type":"X","occurredAt":"2025-01-01T00:00:00.000Z","data":{data}}}"#
            );
            assert!(agree(&text), "{text}");
        }
        assert!(!agree(r#"{"id":"e","userId":"u","type":"X","occurredAt":"2025-01-01T00:00:00.000Z"}"#));
    }
}
