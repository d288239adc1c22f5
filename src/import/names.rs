//! Logs whose keys have other names: `--map userId=user,occurredAt=time`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::str::FromStr;

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

/// Our keys that may have other names in a log.
const OURS: [&str; 5] = ["id", "userId", "type", "occurredAt", "data"];

/// What our keys are called in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    theirs: BTreeMap<&'static str, String>,
}

/// A `--map` that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMap {
    /// No equals sign.
    #[error("{0:?} is not of the form OURS=THEIRS, such as userId=user")]
    Form(String),
    /// Not one of our keys.
    #[error("{0:?} is none of our keys, which are id, userId, type, occurredAt and data")]
    Unknown(String),
}

impl FromStr for Names {
    type Err = BadMap;

    fn from_str(text: &str) -> Result<Self, BadMap> {
        let mut names = Self::default();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (ours, theirs) = pair.split_once('=').ok_or_else(|| BadMap::Form(pair.to_owned()))?;
            let ours = OURS.into_iter().find(|&name| name == ours.trim());
            let ours =
                ours.ok_or_else(|| BadMap::Unknown(pair.split('=').next().unwrap_or_default().to_owned()))?;
            names.theirs.insert(ours, theirs.trim().to_owned());
        }
        Ok(names)
    }
}

#[derive(Serialize)]
struct Renamed<'a>(#[serde(with = "entries")] Vec<(&'a str, &'a RawValue)>);

mod entries {
    use serde::Serializer;
    use serde_json::value::RawValue;

    pub(super) fn serialize<S: Serializer>(
        pairs: &[(&str, &RawValue)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(pairs.iter().copied())
    }
}

impl Names {
    /// Whether nothing is renamed.
    pub fn is_empty(&self) -> bool {
        self.theirs.is_empty()
    }

    /// A line with our names. A line that is no JSON object is handed on as it is: the check behind names its fault.
    pub fn apply(&self, line: Bytes) -> Bytes {
        if self.is_empty() {
            return line;
        }
        let Ok(object) = serde_json::from_slice::<BTreeMap<Cow<'_, str>, &RawValue>>(&line) else {
            return line;
        };
        let pairs = OURS.into_iter().filter_map(|ours| {
            let theirs = self.theirs.get(ours).map_or(ours, String::as_str);
            object.get(theirs).map(|value| (ours, *value))
        });
        serde_json::to_vec(&Renamed(pairs.collect())).map_or_else(|_| line.clone(), Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_renamed_and_values_kept_to_the_byte() {
        let names: Names = "userId=user, occurredAt=time".parse().unwrap();
        let line =
            Bytes::from_static(br#"{"user":"a","time":"t","type":"X","id":"1","data":{"n":1.50},"more":0}"#);
        let wanted = br#"{"id":"1","userId":"a","type":"X","occurredAt":"t","data":{"n":1.50}}"#;
        assert_eq!(&names.apply(line)[..], wanted);
    }

    #[test]
    fn what_is_no_object_is_left_to_the_check() {
        let names: Names = "userId=user".parse().unwrap();
        assert_eq!(names.apply(Bytes::from_static(b"[1]")), Bytes::from_static(b"[1]"));
        assert_eq!("user".parse::<Names>(), Err(BadMap::Form("user".to_owned())));
        assert_eq!("who=user".parse::<Names>(), Err(BadMap::Unknown("who".to_owned())));
    }
}
