//! Where a list reads on: the sort key of the last item, as 36 hexadecimal digits that say which list they belong to.
//!
//! Law: a cursor is accepted only by the kind of list that gave it, and only whole.

use crate::projection::Error;

/// Which list a cursor belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum List {
    /// Alerts by time of the score.
    Scored = 1,
    /// Alerts by priority, then time of the score.
    Priority = 2,
    /// Alerts by calibrated probability.
    Calibrated = 3,
    /// Signals of a user.
    Signals = 4,
    /// Parked events.
    Parked = 5,
}

/// The sort key of an item; parts that a list does not sort by are 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Key {
    /// The code of the priority.
    pub(super) priority: u8,
    /// Milliseconds, or the bits of a probability.
    pub(super) main: i64,
    /// The position of the event that made the item: breaks ties.
    pub(super) position: i64,
}

/// The text of a cursor.
pub(super) fn encode(list: List, key: Key) -> String {
    format!("{:02x}{:02x}{:016x}{:016x}", list as u8, key.priority, key.main, key.position)
}

/// The key behind a cursor of this list; none at the start.
pub(super) fn decode(list: List, cursor: Option<&str>) -> Result<Option<Key>, Error> {
    cursor.map(|text| parse(list, text).ok_or(Error::BadCursor)).transpose()
}

fn parse(list: List, text: &str) -> Option<Key> {
    let lower_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != 36 || !lower_hex || u8::from_str_radix(text.get(..2)?, 16).ok()? != list as u8 {
        return None;
    }
    let number = |from: usize| u64::from_str_radix(text.get(from..from + 16)?, 16).ok();
    let key = Key {
        priority: u8::from_str_radix(text.get(2..4)?, 16).ok()?,
        main: number(4)?.cast_signed(),
        position: number(20)?.cast_signed(),
    };
    (key.position >= 0 && key.priority <= 3).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_cursors_of_the_same_list_are_taken() {
        let key = Key { priority: 3, main: -5, position: 77 };
        let text = encode(List::Scored, key);
        assert_eq!(decode(List::Scored, Some(&text)).unwrap(), Some(key));
        assert_eq!(decode(List::Scored, None).unwrap(), None);
        let shouted = text.to_uppercase();
        let negative = encode(List::Scored, Key { position: -1, ..key });
        for wrong in ["", "x", &text[1..], &shouted, &negative, &format!("{text}0"), "é".repeat(18).as_str()]
        {
            assert!(matches!(decode(List::Scored, Some(wrong)), Err(Error::BadCursor)), "{wrong}");
        }
        assert!(matches!(decode(List::Priority, Some(&text)), Err(Error::BadCursor)));
    }
}
