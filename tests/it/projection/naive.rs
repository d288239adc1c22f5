//! The projection as a few vectors: the same answers by the plainest means.

use std::collections::{BTreeMap, BTreeSet};

use intentd::domain::alert::Status;
use intentd::domain::event::*;
use intentd::domain::id::{AlertId, UserId};
use intentd::domain::time::Timestamp;
use intentd::projection::{AlertQuery, AlertView, Sort, Stats};

use super::given::{Log, PRIORITIES, STATUSES, Told};

#[derive(Default)]
pub struct Naive {
    /// In log order.
    pub alerts: Vec<AlertView>,
    pub changes: Vec<(Position, String, AlertView)>,
    pub signals: Vec<SignalDetected>,
    pub parked: Vec<EventParked>,
    /// Per user and model: attempts, event time, reason, place.
    pub failures: BTreeMap<(UserId, String), (u32, Timestamp, String, usize)>,
    conversions: BTreeMap<(UserId, String, Timestamp), bool>,
    /// Models that scored without an alert, or that views are conversions of.
    scored: BTreeSet<String>,
    responses: BTreeMap<AlertId, i64>,
    recorded: BTreeMap<AlertId, Timestamp>,
    users: u64,
    times: Vec<Timestamp>,
}

pub fn fold(log: &Log) -> Naive {
    let mut naive = Naive::default();
    for (place, (event, told)) in log.events.iter().zip(&log.told).enumerate() {
        if event.stream.starts_with("user-") && event.revision == 0 {
            naive.users += 1;
        }
        if &*event.event_type == "LISTING_VIEWED" {
            naive.scored.insert("SELL".to_owned());
        }
        match told {
            Told::Fact(fact) => naive.fact(place, event, fact),
            Told::First(at) => naive.times.push(*at),
            Told::Conversion(fact) => {
                if event.revision == 0 {
                    naive.times.push(fact.occurred_at);
                }
                let key = (fact.user_id.clone(), fact.model_type.clone(), fact.occurred_at);
                naive.conversions.insert(key, fact.converted);
            }
            Told::Nothing => {}
        }
    }
    naive
}

impl Naive {
    fn fact(&mut self, place: usize, event: &Recorded, fact: &IntentEvent) {
        let changed = match fact {
            IntentEvent::AlertScored(fact) => {
                self.times.push(fact.scored_at);
                self.failures.remove(&(fact.user_id.clone(), fact.model_type.clone()));
                self.recorded.insert(fact.alert_id, event.recorded_at);
                self.alerts.push(view(event.position, fact));
                fact.alert_id
            }
            IntentEvent::AlertEscalated(fact) => {
                self.times.push(fact.scored_at);
                self.failures.remove(&(fact.user_id.clone(), fact.model_type.clone()));
                let alert = self.alert(fact.alert_id);
                alert.model_version = fact.scoring.model_version.clone();
                alert.priority = fact.priority;
                alert.confidence = fact.scoring.raw;
                alert.calibrated_score = fact.scoring.probability;
                alert.top_features = top(&fact.scoring);
                alert.scored_at = fact.scored_at;
                alert.escalations += 1;
                fact.alert_id
            }
            IntentEvent::AlertStatusChanged(fact) => {
                if fact.by == "api" || fact.by == "ann" {
                    let took = fact.at.millis() - self.recorded[&fact.alert_id].millis();
                    self.responses.entry(fact.alert_id).or_insert(took.max(0));
                }
                let alert = self.alert(fact.alert_id);
                alert.status = fact.status;
                let snoozed = fact.status == Status::Snoozed;
                alert.snoozed_until = if snoozed { fact.snooze_until } else { None };
                if fact.status == Status::Pending && fact.as_of > alert.expires_at {
                    alert.expires_at = fact.as_of;
                }
                fact.alert_id
            }
            IntentEvent::AlertOutcomeRecorded(fact) => {
                let alert = self.alert(fact.alert_id);
                alert.outcome = Some(fact.outcome);
                alert.converted = fact.converted;
                alert.conversion_value = fact.conversion_value;
                fact.alert_id
            }
            IntentEvent::AlertRearmed(fact) => fact.alert_id,
            other => return self.beside(place, other),
        };
        let alert = self.alert(changed);
        alert.changed_at = event.position;
        let alert = alert.clone();
        self.changes.push((event.position, event.event_type.to_string(), alert));
    }

    fn beside(&mut self, place: usize, fact: &IntentEvent) {
        match fact {
            IntentEvent::UserScored(fact) => {
                self.scored.insert(fact.model_type.clone());
                self.times.push(fact.scoring.as_of);
                self.failures.remove(&(fact.user_id.clone(), fact.model_type.clone()));
            }
            IntentEvent::ChallengerScored(fact) => {
                self.scored.insert(fact.model_type.clone());
                self.times.push(fact.as_of);
            }
            IntentEvent::ScoringFailed(fact) => {
                self.times.push(fact.as_of);
                for model in &fact.model_types {
                    let key = (fact.user_id.clone(), model.clone());
                    let attempts = self.failures.get(&key).map_or(1, |failure| failure.0 + 1);
                    self.failures.insert(key, (attempts, fact.as_of, fact.reason.clone(), place));
                }
            }
            IntentEvent::SignalDetected(fact) => {
                self.times.push(fact.detected_at);
                self.signals.push(fact.clone());
            }
            IntentEvent::EventParked(fact) => {
                self.unpark(&fact.user_id, fact.cause.revision);
                self.parked.push(fact.clone());
            }
            IntentEvent::EventUnparked(fact) => self.unpark(&fact.user_id, fact.cause.revision),
            _ => unreachable!(),
        }
    }

    fn unpark(&mut self, user: &UserId, revision: u64) {
        self.parked.retain(|parked| parked.user_id != *user || parked.cause.revision != revision);
    }

    fn alert(&mut self, id: AlertId) -> &mut AlertView {
        self.alerts.iter_mut().find(|alert| alert.id == id).unwrap()
    }

    /// Every alert of a query, all pages at once.
    pub fn list(&self, query: &AlertQuery) -> Vec<AlertView> {
        let text = query.text.as_deref().map(str::to_lowercase);
        let mut found: Vec<(usize, &AlertView)> = self
            .alerts
            .iter()
            .enumerate()
            .filter(|(_, alert)| query.user.as_ref().is_none_or(|user| *user == alert.user_id))
            .filter(|(_, alert)| query.status.is_empty() || query.status.contains(&alert.status))
            .filter(|(_, alert)| query.priority.is_empty() || query.priority.contains(&alert.priority))
            .filter(|(_, alert)| query.model_type.is_empty() || query.model_type.contains(&alert.model_type))
            .filter(|(_, alert)| query.min_confidence.is_none_or(|least| alert.confidence >= least))
            .filter(|(_, alert)| query.from.is_none_or(|from| alert.scored_at >= from))
            .filter(|(_, alert)| query.to.is_none_or(|to| alert.scored_at < to))
            .filter(|(_, alert)| query.outcome.is_none_or(|outcome| alert.outcome == Some(outcome)))
            .filter(|(_, alert)| {
                text.as_ref().is_none_or(|text| {
                    alert.user_id.as_str().to_lowercase().contains(text)
                        || alert.top_features.iter().any(|feature| feature.name.contains(text))
                })
            })
            .collect();
        found.sort_by(|(one_place, one), (other_place, other)| {
            let by_key = match query.sort {
                Sort::ScoredAtDescending => other.scored_at.cmp(&one.scored_at),
                Sort::PriorityDescending => {
                    (other.priority, other.scored_at).cmp(&(one.priority, one.scored_at))
                }
                Sort::CalibratedScoreDescending => other.calibrated_score.total_cmp(&one.calibrated_score),
            };
            by_key.then(other_place.cmp(one_place))
        });
        found.into_iter().map(|(_, alert)| alert.clone()).collect()
    }

    pub fn due(&self, now: Timestamp) -> Vec<UserId> {
        let mut due: Vec<(Timestamp, usize)> = Vec::new();
        for (place, alert) in self.alerts.iter().enumerate() {
            let at = match alert.status {
                Status::Pending => Some(alert.expires_at),
                Status::Snoozed => alert.snoozed_until,
                _ => None,
            };
            due.extend(at.filter(|at| *at <= now).map(|at| (at, place)));
        }
        due.sort();
        let mut users = Vec::new();
        for (_, place) in due {
            if !users.contains(&self.alerts[place].user_id) {
                users.push(self.alerts[place].user_id.clone());
            }
        }
        users
    }

    pub fn stats(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> Stats {
        let within = |at: Timestamp| from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to);
        let alerts: Vec<&AlertView> = self.alerts.iter().filter(|alert| within(alert.created_at)).collect();
        let count =
            |wanted: &dyn Fn(&AlertView) -> bool| alerts.iter().filter(|alert| wanted(alert)).count() as u64;
        let mut models: BTreeMap<String, u64> = self
            .alerts
            .iter()
            .map(|alert| alert.model_type.clone())
            .chain(self.conversions.keys().map(|key| key.1.clone()))
            .chain(self.scored.iter().cloned())
            .map(|model| (model, 0))
            .collect();
        let mut days = BTreeMap::new();
        for alert in &alerts {
            *models.get_mut(&alert.model_type).unwrap() += 1;
            *days.entry(alert.created_at.to_string()[..10].to_owned()).or_default() += 1;
        }
        let mut responses: Vec<i64> =
            alerts.iter().filter_map(|alert| self.responses.get(&alert.id)).copied().collect();
        responses.sort_unstable();
        let rank = |share: f64| {
            let rank = (responses.len() as f64 * share).ceil() as usize;
            rank.checked_sub(1).map(|index| responses[index])
        };
        let first = self.times.iter().min().copied().map(|at| from.map_or(at, |from| at.max(from)));
        let last = self.times.iter().max().copied().map(|at| to.map_or(at, |to| at.min(to)));
        Stats {
            total: alerts.len() as u64,
            by_status: STATUSES.map(|status| (status, count(&|alert| alert.status == status))).into(),
            by_priority: PRIORITIES
                .iter()
                .rev()
                .map(|&priority| (priority, count(&|alert| alert.priority == priority)))
                .collect(),
            by_model: models.into_iter().collect(),
            by_day: days.into_iter().collect(),
            open: count(&|alert| alert.status.is_open()),
            oldest_open: alerts
                .iter()
                .filter(|alert| alert.status.is_open())
                .map(|alert| alert.created_at)
                .min(),
            response_ms_p50: rank(0.5),
            response_ms_p90: rank(0.9),
            outcomes_known: count(&|alert| alert.converted.is_some()),
            converted: count(&|alert| alert.converted == Some(true)),
            conversion_value: alerts
                .iter()
                .filter(|alert| alert.converted == Some(true))
                .filter_map(|alert| alert.conversion_value)
                .sum(),
            conversions_recorded: self.conversions.iter().filter(|(key, yes)| **yes && within(key.2)).count()
                as u64,
            users: self.users,
            span_days: first.zip(last).map_or(0.0, |(first, last)| last.days_since(first).max(0.0)),
        }
    }
}

fn view(position: Position, fact: &AlertScored) -> AlertView {
    AlertView {
        id: fact.alert_id,
        user_id: fact.user_id.clone(),
        model_type: fact.model_type.clone(),
        model_version: fact.scoring.model_version.clone(),
        status: Status::Pending,
        priority: fact.priority,
        confidence: fact.scoring.raw,
        calibrated_score: fact.scoring.probability,
        top_features: top(&fact.scoring),
        scored_at: fact.scored_at,
        created_at: fact.scored_at,
        expires_at: fact.expires_at,
        snoozed_until: None,
        escalations: 0,
        outcome: None,
        converted: None,
        conversion_value: None,
        changed_at: position,
    }
}

/// The five largest, by picking the largest that is left.
fn top(scoring: &Scoring) -> Vec<Reason> {
    let mut left = scoring.features.clone();
    let mut top = Vec::new();
    while top.len() < 5 && !left.is_empty() {
        let mut best = 0;
        for (at, feature) in left.iter().enumerate() {
            if feature.contribution.abs() > left[best].contribution.abs() {
                best = at;
            }
        }
        top.push(left.remove(best));
    }
    top
}
