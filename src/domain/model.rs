//! Which version of a model serves: the facts in `model-<MODEL>`, and what follows from them.
//!
//! Law: what serves after a restart follows from these facts; a version that took over, was refused or went back stands here
//! with who, when and why. An event only ever gains fields. Written and read by `crate::models`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::Revision;
use super::time::Timestamp;

/// The facts in `model-<MODEL>`, written only by the model registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelEvent {
    /// A version passed its checks and serves from now on.
    ModelActivated(ModelActivated),
    /// A version did not pass its checks; what served goes on serving.
    ModelRefused(ModelRefused),
    /// An earlier version serves again.
    ModelRolledBack(ModelRolledBack),
    /// A version runs in shadow from now on.
    ChallengerStarted(ChallengerStarted),
    /// No version runs in shadow any more.
    ChallengerStopped(ChallengerStopped),
}

/// Who asked for a change, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Asked {
    /// Who: `start`, `signal`, `api`, `cli`, or a name the caller gave.
    pub by: String,
    /// Why, in words.
    pub why: String,
    /// When (wall clock).
    pub at: Timestamp,
}

/// Names the files of a version, so that a version changed in place is found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// The version.
    pub version: String,
    /// SHA-256 of its `model.onnx`, hexadecimal.
    pub model_sha256: String,
    /// The catalogue that it was checked against.
    pub catalog_version: String,
}

/// A version passed its checks and serves from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelActivated {
    /// The model.
    pub model_type: String,
    /// What serves.
    #[serde(flatten)]
    pub made: Made,
    /// What served before.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub previous: Option<String>,
    /// Who, when, why.
    #[serde(flatten)]
    pub asked: Asked,
}

/// A version did not pass its checks; what served goes on serving.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelRefused {
    /// The model.
    pub model_type: String,
    /// The version.
    pub version: String,
    /// Every reason.
    pub reasons: Vec<String>,
    /// The catalogue that it was checked against.
    pub catalog_version: String,
    /// Who, when, why it was tried.
    #[serde(flatten)]
    pub asked: Asked,
}

/// An earlier version serves again instead of a newer one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelRolledBack {
    /// The model.
    pub model_type: String,
    /// What serves again.
    #[serde(flatten)]
    pub made: Made,
    /// What served before.
    pub from: String,
    /// Who, when, why.
    #[serde(flatten)]
    pub asked: Asked,
}

/// A version runs in shadow from now on: it is asked beside the one that serves, recorded, and not acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChallengerStarted {
    /// The model.
    pub model_type: String,
    /// What runs in shadow.
    #[serde(flatten)]
    pub made: Made,
    /// Who, when, why.
    #[serde(flatten)]
    pub asked: Asked,
}

/// A version runs in shadow no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChallengerStopped {
    /// The model.
    pub model_type: String,
    /// The version.
    pub version: String,
    /// Who, when, why.
    #[serde(flatten)]
    pub asked: Asked,
}

/// The fold of a model's facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModelRecord {
    /// Versions that served, the one to serve last, each once: a rollback takes off the last.
    served: Vec<Made>,
    /// The highest version that ever served: a reload looks for higher ones.
    highest: Option<String>,
    /// Versions refused since they last served, with the newest reasons.
    refused: BTreeMap<String, Vec<String>>,
    /// What runs in shadow.
    challenger: Option<Made>,
    /// When and by whom the serving version was made to serve.
    since: Option<Asked>,
    /// The revision that the next fact gets.
    next: Revision,
}

impl ModelRecord {
    /// Folds the next fact; one of a type that is not ours (none) takes its place all the same.
    pub fn apply(&mut self, event: Option<&ModelEvent>) {
        self.next += 1;
        match event {
            Some(ModelEvent::ModelActivated(fact)) => self.serves(&fact.made, &fact.asked),
            Some(ModelEvent::ModelRolledBack(fact)) => {
                self.served.retain(|made| made.version != fact.from);
                self.serves(&fact.made, &fact.asked);
            }
            Some(ModelEvent::ModelRefused(fact)) => {
                self.refused.insert(fact.version.clone(), fact.reasons.clone());
            }
            Some(ModelEvent::ChallengerStarted(fact)) => self.challenger = Some(fact.made.clone()),
            Some(ModelEvent::ChallengerStopped(_)) => self.challenger = None,
            None => {}
        }
    }

    fn serves(&mut self, made: &Made, asked: &Asked) {
        self.served.retain(|served| served.version != made.version);
        self.served.push(made.clone());
        self.refused.remove(&made.version);
        self.since = Some(asked.clone());
        if self.challenger.as_ref().is_some_and(|challenger| challenger.version == made.version) {
            self.challenger = None;
        }
        let is_higher = |highest: &String| by_version(highest, &made.version) == Ordering::Less;
        if self.highest.as_ref().is_none_or(is_higher) {
            self.highest = Some(made.version.clone());
        }
    }

    /// What is to serve: the last version activated or rolled back to.
    pub fn serving(&self) -> Option<&Made> {
        self.served.last()
    }

    /// Who made it serve, when and why.
    pub fn since(&self) -> Option<&Asked> {
        self.since.as_ref()
    }

    /// What served before, newest first.
    pub fn earlier(&self) -> impl Iterator<Item = &Made> {
        self.served.iter().rev().skip(1)
    }

    /// A version that served, as it was then.
    pub fn served(&self, version: &str) -> Option<&Made> {
        self.served.iter().find(|made| made.version == version)
    }

    /// Whether a version is new: higher than any that ever served.
    pub fn is_new(&self, version: &str) -> bool {
        self.highest.as_ref().is_none_or(|highest| by_version(highest, version) == Ordering::Less)
    }

    /// Why a version was refused, if it was and has not served since.
    pub fn refusal(&self, version: &str) -> Option<&[String]> {
        self.refused.get(version).map(Vec::as_slice)
    }

    /// What runs in shadow.
    pub fn challenger(&self) -> Option<&Made> {
        self.challenger.as_ref()
    }

    /// The revision of `model-<MODEL>` that the next fact gets.
    pub fn next_revision(&self) -> Revision {
        self.next
    }
}

/// Orders versions by name, with runs of digits as numbers: 2 before 10, 1.9 before 1.10.
pub fn by_version(one: &str, other: &str) -> Ordering {
    let runs = |text: &str| -> Vec<(bool, usize, String)> {
        let mut runs: Vec<(bool, usize, String)> = Vec::new();
        for letter in text.chars() {
            let digit = letter.is_ascii_digit();
            match runs.last_mut() {
                Some((last, _, run)) if *last == digit => run.push(letter),
                _ => runs.push((digit, 0, letter.to_string())),
            }
        }
        for (digit, length, run) in &mut runs {
            if *digit {
                *run = run.trim_start_matches('0').to_owned();
                *length = run.len();
            }
        }
        runs
    };
    runs(one).cmp(&runs(other)).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked {
        Asked { by: "ann".into(), why: "a test".into(), at: Timestamp::from_millis(0) }
    }

    fn made(version: &str) -> Made {
        Made { version: version.into(), model_sha256: "00".into(), catalog_version: "c".into() }
    }

    fn activated(version: &str) -> ModelEvent {
        ModelEvent::ModelActivated(ModelActivated {
            model_type: "SELL".into(),
            made: made(version),
            previous: None,
            asked: asked(),
        })
    }

    fn back(from: &str, to: &str) -> ModelEvent {
        ModelEvent::ModelRolledBack(ModelRolledBack {
            model_type: "SELL".into(),
            made: made(to),
            from: from.into(),
            asked: asked(),
        })
    }

    fn given(events: &[ModelEvent]) -> ModelRecord {
        let mut record = ModelRecord::default();
        events.iter().for_each(|event| record.apply(Some(event)));
        assert_eq!(record.next_revision(), events.len() as u64);
        record
    }

    fn check(events: &[ModelEvent], serving: &str, earlier: &[&str]) {
        let record = given(events);
        assert_eq!(record.serving().map(|made| &*made.version), Some(serving), "{events:?}");
        let versions: Vec<&str> = record.earlier().map(|made| &*made.version).collect();
        assert_eq!(versions, earlier, "{events:?}");
    }

    #[test]
    fn a_rollback_goes_to_what_served_before_and_not_back_and_forth() {
        check(&[activated("1"), activated("2"), activated("3")], "3", &["2", "1"]);
        check(&[activated("1"), activated("2"), activated("3"), back("3", "2")], "2", &["1"]);
        check(&[activated("1"), activated("2"), back("2", "1"), activated("3")], "3", &["1"]);
        check(&[activated("1"), activated("2"), activated("1")], "1", &["2"]);
        check(&[activated("3"), back("3", "1")], "1", &[]);
    }

    #[test]
    fn only_what_is_higher_than_all_that_served_is_new() {
        let record = given(&[activated("9"), activated("10"), back("10", "9")]);
        for (version, is_new) in [("9", false), ("10", false), ("11", true), ("2", false)] {
            assert_eq!(record.is_new(version), is_new, "{version}");
        }
        assert!(ModelRecord::default().is_new("1"));
    }

    #[test]
    fn a_refusal_is_over_when_the_version_serves() {
        let refused = ModelEvent::ModelRefused(ModelRefused {
            model_type: "SELL".into(),
            version: "2".into(),
            reasons: vec!["wrong".into()],
            catalog_version: "c".into(),
            asked: asked(),
        });
        let record = given(&[activated("1"), refused.clone()]);
        assert_eq!(record.refusal("2"), Some(&["wrong".to_owned()][..]));
        check(&[activated("1"), refused.clone()], "1", &[]);
        assert_eq!(given(&[refused, activated("2")]).refusal("2"), None);
    }

    #[test]
    fn a_challenger_that_serves_is_none_any_more() {
        let started = ModelEvent::ChallengerStarted(ChallengerStarted {
            model_type: "SELL".into(),
            made: made("2"),
            asked: asked(),
        });
        let stopped = ModelEvent::ChallengerStopped(ChallengerStopped {
            model_type: "SELL".into(),
            version: "2".into(),
            asked: asked(),
        });
        assert_eq!(given(&[activated("1"), started.clone()]).challenger(), Some(&made("2")));
        assert_eq!(given(&[activated("1"), started.clone(), stopped]).challenger(), None);
        assert_eq!(given(&[activated("1"), started, activated("2")]).challenger(), None);
    }

    #[test]
    fn versions_are_ordered_by_number_where_they_have_one() {
        for (one, other) in
            [("1", "2"), ("2", "10"), ("1.9", "1.10"), ("2026-01-09", "2026-01-10"), ("1", "1.1")]
        {
            assert_eq!(by_version(one, other), Ordering::Less, "{one} {other}");
            assert_eq!(by_version(other, one), Ordering::Greater, "{other} {one}");
        }
        assert_ne!(by_version("01", "1"), Ordering::Equal);
    }
}
