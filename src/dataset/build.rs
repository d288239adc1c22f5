//! From a replay of the log to a training set: rows labelled, split, sampled, counted, hashed.
//!
//! Law: what is read is what stood in the log before `known_until`; a row's features come from the entity, its label only
//! from what happened after it, or from what people said of the alert that it opened.

use std::sync::Arc;

use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};

use super::gather::{Gatherer, Known};
use super::shape::{Slices, base_rate, counts, keep_apart, sample};
use super::{Dataset, Error, Example, Manifest, Moments, Options, Sampling, Span, Split};
use crate::domain::catalog::{Catalog, ModelIx, ModelSpec};
use crate::domain::entity::Rules;
use crate::domain::id::UserId;
use crate::domain::label::Label;
use crate::replay::{self, Settings, Told};
use crate::store::EventStore;

/// Makes a training set from a store's log.
///
/// # Errors
/// No such model, no mature row, or a log that cannot be read.
pub async fn build(store: &dyn EventStore, catalog: Catalog, options: &Options) -> Result<Dataset, Error> {
    let rules = Arc::new(Rules::new(catalog));
    let none = || Error::NoModel { model: options.model.clone() };
    let model = rules.catalog.model(&options.model).ok_or_else(none)?;
    let spec = rules.catalog.models.get(usize::from(model.0)).ok_or_else(none)?;
    let settings =
        Settings { known_until: options.known_until, threads: options.threads, ..Settings::default() };
    let shared = Arc::new(options.clone());
    let listen = || (Gatherer::new(Arc::clone(&rules), Arc::clone(&shared), model), None);
    let mut told = replay::run(store, &rules, &settings, listen).await?;
    let mut examples = label_all(&mut told, model, spec);
    let seen = examples.len() as u64;
    let immature = examples.iter().filter(|row| row.is_immature).count() as u64;
    if seen == immature {
        return Err(Error::Empty { model: spec.name.clone(), moments: seen, immature });
    }
    examples.sort_by(|a, b| (a.as_of, &a.user, a.revision).cmp(&(b.as_of, &b.user, b.revision)));
    let slices = Slices::of(&examples, options);
    if !options.with_immature {
        examples.retain(|row| !row.is_immature);
    }
    let rows: Vec<(Split, Example)> = examples.into_iter().map(|row| (slices.split(&row), row)).collect();
    let (rows, left_apart) = keep_apart(rows, options.users_apart);
    let (rows, negatives_kept, left_negative) = sample(rows, options.negatives);
    let sampling = Sampling {
        moments: moments_text(options.moments),
        users_apart: options.users_apart,
        left_apart,
        with_immature: options.with_immature,
        negatives_kept,
        left_negative,
    };
    let manifest = describe(store, &rules, spec, options, &told, &rows);
    let manifest = Manifest {
        valid_from: slices.valid_from,
        test_from: slices.test_from,
        sampling,
        immature,
        ..manifest
    };
    Ok(Dataset { manifest, rows })
}

/// The rows with their labels. A row is immature by its age alone: a young one that has converted already would make
/// conversions look common.
fn label_all(told: &mut Told<Gatherer>, model: ModelIx, spec: &ModelSpec) -> Vec<Example> {
    let clock = told.clock;
    let mut rows = Vec::new();
    for heard in &mut told.heard {
        let users: HashMap<&UserId, &Known> = heard.users.iter().map(|(user, known)| (user, known)).collect();
        for moment in std::mem::take(&mut heard.listener.moments) {
            let Some(known) = users.get(&moment.user) else { continue };
            let found = known.truth.label(model, moment.revision, moment.as_of, spec.horizon, clock);
            let version = known.scored.iter().rev().find(|(revision, _)| *revision == moment.revision);
            rows.push(Example {
                is_positive: found == Label::Positive,
                is_immature: moment.as_of.plus(spec.horizon) > clock,
                weight: 1.0,
                model_version: version.map(|(_, version)| Arc::clone(version)),
                user: moment.user,
                as_of: moment.as_of,
                revision: moment.revision,
                event_id: moment.event_id,
                features: moment.features,
            });
        }
    }
    rows
}

/// The manifest, as far as it follows from the log and the rows.
fn describe(
    store: &dyn EventStore,
    rules: &Rules,
    spec: &ModelSpec,
    options: &Options,
    told: &Told<Gatherer>,
    rows: &[(Split, Example)],
) -> Manifest {
    let name = |ix: &crate::domain::catalog::FeatureIx| {
        rules.catalog.features.get(usize::from(ix.0)).map(|feature| feature.name.clone())
    };
    let mut versions = std::collections::BTreeMap::new();
    for version in rows.iter().filter_map(|(_, row)| row.model_version.as_ref()) {
        *versions.entry(version.to_string()).or_default() += 1;
    }
    let at = |row: Option<&(Split, Example)>| row.map_or(told.clock, |(_, row)| row.as_of);
    Manifest {
        model: spec.name.clone(),
        catalog_version: rules.catalog.version.clone(),
        model_versions: versions,
        features: spec.features.iter().filter_map(name).collect(),
        horizon_days: spec.horizon.as_secs_f64() / 86_400.0,
        source: options.source.clone(),
        store: store.id().to_string(),
        log_from: told.log_from.0,
        log_until: told.log_until.0,
        known_until: told.clock,
        time_range: Span { from: at(rows.first()), to: at(rows.last()) },
        valid_from: told.clock,
        test_from: told.clock,
        sampling: Sampling {
            moments: String::new(),
            users_apart: false,
            left_apart: 0,
            with_immature: false,
            negatives_kept: 1.0,
            left_negative: 0,
        },
        counts: counts(rows),
        base_rate: base_rate(rows.iter().map(|(_, row)| row)),
        immature: 0,
        rows_hash: hash(rows),
    }
}

fn moments_text(moments: Moments) -> String {
    match moments {
        Moments::Scores => "scores".to_owned(),
        Moments::Requests => "requests".to_owned(),
        Moments::Daily => "daily".to_owned(),
        Moments::Every(gap) => format!("{}s", gap.as_secs()),
    }
}

fn hash(rows: &[(Split, Example)]) -> String {
    let mut hash = Sha256::new();
    for (split, row) in rows {
        hash.update(row.user.as_str().as_bytes());
        hash.update([0, u8::from(row.is_positive), u8::from(row.is_immature)]);
        hash.update(split.name().as_bytes());
        hash.update(row.as_of.millis().to_le_bytes());
        hash.update(row.revision.to_le_bytes());
        hash.update(row.weight.to_bits().to_le_bytes());
        hash.update(row.event_id.0.as_bytes());
        hash.update(row.model_version.as_deref().unwrap_or_default().as_bytes());
        for value in &row.features {
            hash.update(value.to_bits().to_le_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
