//! Replays the log through the entity that serves, and keeps the rows it would have scored.
//!
//! Law: what is read is what stood in the log before `known_until`; a row's features come from the entity, its label only
//! from what happened after it.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use sha2::{Digest as _, Sha256};

use super::{Count, Dataset, Error, Example, Manifest, Moments, Options, Split};
use crate::domain::catalog::{Catalog, ModelIx, ModelSpec};
use crate::domain::codec;
use crate::domain::entity::{Effect, Input, Rules, UserEntity};
use crate::domain::event::{Behaviour, ExpectedRevision, Position, Recorded, SCORE_REQUESTED, UserEvent};
use crate::domain::id::{UserId, stream};
use crate::domain::label::{Label, label};
use crate::domain::market::Market;
use crate::domain::score::Unscored;
use crate::domain::time::Timestamp;
use crate::store::{Direction, EventStore, Filter};

/// Events read at a time.
const PAGE: usize = 4_096;

/// One user in the replay.
struct Replayed {
    entity: UserEntity,
    /// When the model's last row was kept.
    kept: Option<Timestamp>,
    conversions: Vec<Timestamp>,
}

/// The replay: a fold over the log.
struct Replay<'a> {
    rules: &'a Rules,
    options: &'a Options,
    model: ModelIx,
    spec: &'a ModelSpec,
    market: Arc<Market>,
    users: HashMap<String, Replayed>,
    clock: Timestamp,
    moments: Vec<Example>,
}

/// Makes a training set from a store's log.
///
/// # Errors
/// No such model, no mature row, or a log that cannot be read.
pub async fn build(store: &dyn EventStore, catalog: Catalog, options: &Options) -> Result<Dataset, Error> {
    let rules = Rules::new(catalog);
    let none = || Error::NoModel { model: options.model.clone() };
    let model = rules.catalog.model(&options.model).ok_or_else(none)?;
    let spec = rules.catalog.models.get(usize::from(model.0)).ok_or_else(none)?;
    let mut replay = Replay {
        rules: &rules,
        options,
        model,
        spec,
        market: Arc::new(Market::default()),
        users: HashMap::new(),
        clock: Timestamp::MIN,
        moments: Vec::new(),
    };
    let filter = Filter::streams(&[stream::USER, stream::MARKET]);
    let mut from = None;
    let mut log_until = Position(0);
    loop {
        let page = store.read_all(from, Direction::Forwards, &filter, PAGE).await?;
        for recorded in page.events {
            log_until = recorded.position;
            replay.observe(recorded);
        }
        match page.next {
            Some(next) => from = Some(Position(next)),
            None => break,
        }
    }
    replay.finish(store, log_until)
}

impl Replay<'_> {
    fn observe(&mut self, recorded: Recorded) {
        let Ok(event) = codec::decode(&self.rules.catalog, &recorded) else { return };
        let occurred_at = match &event {
            UserEvent::Behaviour(behaviour) => behaviour.occurred_at,
            UserEvent::ScoreRequested(request) => request.occurred_at,
            UserEvent::ConversionRecorded(conversion) => conversion.occurred_at,
            UserEvent::Unknown => return,
        };
        if self.options.known_until.is_some_and(|until| occurred_at >= until) {
            return;
        }
        self.clock = self.clock.max(occurred_at);
        if recorded.stream.starts_with(stream::MARKET) {
            if let UserEvent::Behaviour(event) = event {
                self.market = Arc::new(self.market.with(recorded.position, event));
            }
            return;
        }
        let Some(name) = recorded.stream.strip_prefix(stream::USER) else { return };
        if !self.users.contains_key(name) {
            let Ok(user) = name.parse::<UserId>() else { return };
            let entity = UserEntity::new(user);
            self.users.insert(name.to_owned(), Replayed { entity, kept: None, conversions: Vec::new() });
        }
        let Some(user) = self.users.get_mut(name) else { return };
        if is_conversion(&event, self.spec) {
            user.conversions.push(occurred_at);
        }
        let is_request = &*recorded.event_type == SCORE_REQUESTED;
        let source = (recorded.revision, recorded.id);
        for features in rows(self.rules, user, &self.market, self.model, recorded) {
            let as_of = user.entity.clock();
            if !is_wanted(self.options, user.kept, as_of, is_request) {
                continue;
            }
            user.kept = Some(as_of);
            self.moments.push(Example {
                user: user.entity.user().detached(),
                as_of,
                revision: source.0,
                event_id: source.1,
                is_positive: false,
                features,
            });
        }
    }

    fn finish(mut self, store: &dyn EventStore, log_until: Position) -> Result<Dataset, Error> {
        let horizon = self.spec.horizon;
        let seen = self.moments.len() as u64;
        let mut moments = std::mem::take(&mut self.moments);
        // By age alone: keeping young rows that have converted already would make conversions look common.
        moments.retain(|row| row.as_of.plus(horizon) <= self.clock);
        let immature = seen - moments.len() as u64;
        if moments.is_empty() {
            return Err(Error::Empty { model: self.spec.name.clone(), moments: seen, immature });
        }
        for row in &mut moments {
            let conversions = self.users.get(row.user.as_str()).map_or(&[][..], |user| &user.conversions);
            row.is_positive = label(row.as_of, horizon, conversions, self.clock) == Label::Positive;
        }
        moments.sort_by(|a, b| (a.as_of, &a.user, a.revision).cmp(&(b.as_of, &b.user, b.revision)));
        let at = |share: f64| quantile(&moments, share);
        let valid_from = self.options.valid_from.unwrap_or_else(|| at(0.6));
        let test_from = self.options.test_from.unwrap_or_else(|| at(0.8));
        let split = |row: &Example| match row.as_of {
            time if time < valid_from => Split::Train,
            time if time < test_from => Split::Valid,
            _ => Split::Test,
        };
        let rows: Vec<(Split, Example)> = moments.into_iter().map(|row| (split(&row), row)).collect();
        let features = self.spec.features.iter().filter_map(|ix| {
            self.rules.catalog.features.get(usize::from(ix.0)).map(|feature| feature.name.clone())
        });
        let manifest = Manifest {
            model: self.spec.name.clone(),
            catalog_version: self.rules.catalog.version.clone(),
            features: features.collect(),
            horizon_days: horizon.as_secs_f64() / 86_400.0,
            source: self.options.source.clone(),
            store: store.id().to_string(),
            log_until: log_until.0,
            known_until: self.clock,
            valid_from,
            test_from,
            counts: counts(&rows),
            immature,
            rows_hash: hash(&rows),
        };
        Ok(Dataset { manifest, rows })
    }
}

fn is_conversion(event: &UserEvent, spec: &ModelSpec) -> bool {
    match event {
        UserEvent::Behaviour(Behaviour { kind, .. }) => spec.conversion_events.contains(kind),
        UserEvent::ConversionRecorded(conversion) => {
            conversion.converted && conversion.model_type == spec.name
        }
        UserEvent::ScoreRequested(_) | UserEvent::Unknown => false,
    }
}

fn is_wanted(options: &Options, kept: Option<Timestamp>, as_of: Timestamp, is_request: bool) -> bool {
    let in_time = options.from.is_none_or(|from| as_of >= from) && options.to.is_none_or(|to| as_of < to);
    in_time
        && match options.moments {
            Moments::Scores => true,
            Moments::Requests => is_request,
            Moments::Every(gap) => kept.is_none_or(|kept| kept.plus(gap) <= as_of),
        }
}

/// Tells the entity one event and answers whatever it asks with "no model", so that it goes on; the model's rows among the
/// questions are what it would have been scored with.
fn rows(
    rules: &Rules,
    user: &mut Replayed,
    market: &Arc<Market>,
    model: ModelIx,
    mut recorded: Recorded,
) -> Vec<Box<[f32]>> {
    // Events left out leave gaps: the replay counts its own revisions.
    recorded.revision = user.entity.next_revision();
    let mut inputs = vec![Input::Deliver { events: vec![recorded], market: Arc::clone(market) }];
    let mut found = Vec::new();
    let mut effects = Vec::new();
    while let Some(input) = inputs.pop() {
        user.entity.step(rules, input, &mut effects);
        for effect in effects.drain(..) {
            match effect {
                Effect::Score { ticket, rows } => {
                    let nobody = || Unscored::NoModel { model_type: String::new() };
                    let answers = rows.iter().map(|_| Err(nobody())).collect();
                    found.extend(rows.into_iter().filter(|row| row.model == model).map(|row| row.features));
                    inputs.push(Input::Scored { ticket, answers });
                }
                Effect::Append { ticket, expected, facts } => {
                    let next = match expected {
                        ExpectedRevision::Exact(last) => last + 1,
                        ExpectedRevision::Any | ExpectedRevision::NoStream | ExpectedRevision::Exists => 0,
                    };
                    let answer = Ok((next + facts.len() as u64).saturating_sub(1));
                    inputs.push(Input::Appended { ticket, answer });
                }
                Effect::Settled { .. }
                | Effect::Answer { .. }
                | Effect::Restart { .. }
                | Effect::Rebuild { .. } => {}
            }
        }
    }
    found
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index"
)]
fn quantile(rows: &[Example], share: f64) -> Timestamp {
    let at = (rows.len() as f64 * share) as usize;
    rows.get(at).or(rows.last()).map_or(Timestamp::MIN, |row| row.as_of)
}

fn counts(rows: &[(Split, Example)]) -> Vec<Count> {
    let mut found: BTreeMap<Split, (u64, u64)> =
        [Split::Train, Split::Valid, Split::Test].map(|split| (split, (0, 0))).into();
    for (split, row) in rows {
        let count = found.entry(*split).or_default();
        count.0 += 1;
        count.1 += u64::from(row.is_positive);
    }
    found.into_iter().map(|(split, (rows, positives))| Count { split, rows, positives }).collect()
}

fn hash(rows: &[(Split, Example)]) -> String {
    let mut hash = Sha256::new();
    for (split, row) in rows {
        hash.update(row.user.as_str().as_bytes());
        hash.update([0, u8::from(row.is_positive)]);
        hash.update(split.name().as_bytes());
        hash.update(row.as_of.millis().to_le_bytes());
        hash.update(row.event_id.0.as_bytes());
        for value in &row.features {
            hash.update(value.to_bits().to_le_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
