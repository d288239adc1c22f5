//! `[drift]` of a manifest: how scores and features were distributed in training.
//!
//! Law: optional, so that older manifests serve; where it is there it must make sense, or the version is refused. Written by
//! `models/train` (a bin holds its lower edge, shares count by weight); read by the registry and by the live watch.

use std::sync::Arc;

use serde::Deserialize;

use super::refusal::Refusal;
use crate::domain::quality::{BadBins, Bins, Trained};

/// `[drift]`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Drift {
    /// Of the calibrated probability.
    pub score: Distribution,
    /// Of features, by name; those that are not here are not watched.
    #[serde(default)]
    pub feature: Vec<FeatureDistribution>,
}

/// How numbers were distributed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Distribution {
    /// Inner edges, ascending.
    pub edges: Vec<f32>,
    /// One more than edges: shares of the rows.
    pub shares: Vec<f64>,
}

/// How a feature was distributed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct FeatureDistribution {
    /// The feature.
    pub name: String,
    /// Inner edges, ascending.
    pub edges: Vec<f32>,
    /// One more than edges: shares among rows with a known value.
    pub shares: Vec<f64>,
    /// Share of rows whose value was missing.
    pub missing: f64,
}

impl Drift {
    /// The distributions in the order of a model's features.
    ///
    /// # Errors
    /// Everything in it that makes no sense.
    pub fn trained(&self, features: &[String]) -> Result<Arc<Trained>, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut bins = |name: &str, edges: &[f32], shares: &[f64], missing: f64| {
            let refuse = |error: BadBins| Refusal::Drift { name: name.to_owned(), reason: error.to_string() };
            Bins::new(edges, shares, missing).map_err(|error| refusals.push(refuse(error))).ok()
        };
        let score = bins("score", &self.score.edges, &self.score.shares, 0.0);
        let mut trained = vec![None; features.len()];
        let mut strange = Vec::new();
        for each in &self.feature {
            let place = features.iter().position(|name| *name == each.name);
            match place.and_then(|at| trained.get_mut(at)) {
                Some(slot @ None) => *slot = bins(&each.name, &each.edges, &each.shares, each.missing),
                Some(Some(_)) => strange.push((&each.name, "is there twice")),
                None => strange.push((&each.name, "is not a feature of the model")),
            }
        }
        refusals.extend(
            strange
                .into_iter()
                .map(|(name, reason)| Refusal::Drift { name: name.clone(), reason: reason.to_owned() }),
        );
        match score {
            Some(score) if refusals.is_empty() => Ok(Arc::new(Trained { score, features: trained })),
            Some(_) | None => Err(refusals),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Arc<Trained>, Vec<String>> {
        let drift: Drift = toml::from_str(text).unwrap();
        let features = ["views".to_owned(), "saves".to_owned()];
        drift.trained(&features).map_err(|all| all.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn distributions_are_in_the_order_of_the_features() {
        let trained = check(
            "[score]\nedges = [0.1, 0.5]\nshares = [0.5, 0.25, 0.25]\n\
             [[feature]]\nname = \"saves\"\nedges = [1.0]\nshares = [0.75, 0.25]\nmissing = 0.5\n",
        )
        .unwrap();
        assert_eq!(trained.score.shares(), [0.5, 0.25, 0.25, 0.0]);
        assert_eq!(trained.features[0], None);
        assert_eq!(trained.features[1].as_ref().unwrap().shares(), [0.375, 0.125, 0.5]);
    }

    #[test]
    fn every_fault_is_told() {
        let found = check(
            "[score]\nedges = [0.5, 0.1]\nshares = [0.5, 0.25, 0.25]\n\
             [[feature]]\nname = \"saves\"\nedges = [1.0]\nshares = [0.75, 0.25]\nmissing = 0.5\n\
             [[feature]]\nname = \"saves\"\nedges = []\nshares = [1.0]\nmissing = 0.5\n\
             [[feature]]\nname = \"views\"\nedges = []\nshares = [0.5]\nmissing = 0.5\n\
             [[feature]]\nname = \"clicks\"\nedges = []\nshares = [1.0]\nmissing = 0.5\n",
        )
        .unwrap_err();
        for (found, says) in found.iter().zip(["score", "views", "saves", "clicks"]) {
            assert!(found.starts_with(&format!("drift of {says}: ")), "{found}");
        }
        assert_eq!(found.len(), 4, "{found:#?}");
    }
}
