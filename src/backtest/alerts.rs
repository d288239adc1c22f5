//! Figures over alerts, of the live run and of the replay, and how they differ user by user.
//!
//! Law: both sides are measured by the same rules on the same truth; an alert counts as right or wrong only once its horizon
//! has passed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Range;
use super::witness::{Alert, Known};
use crate::domain::catalog::{ModelIx, ModelSpec};
use crate::domain::id::{AlertId, UserId};
use crate::domain::label::Label;
use crate::domain::policy::Priority;
use crate::domain::time::Timestamp;

/// Mean length of a year in the Gregorian calendar.
const DAYS_PER_YEAR: f64 = 365.2425;

/// Alerts of one model on one side, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Alerts opened.
    pub alerts: u64,
    /// Different users among them.
    pub users: u64,
    /// Alerts per 1,000 users and year; none over no time.
    pub per_thousand_users_per_year: Option<f64>,
    /// Alerts whose horizon has passed.
    pub mature: u64,
    /// Of these, right.
    pub right: u64,
    /// Their share; none without mature alerts.
    pub precision: Option<f64>,
    /// Conversions that happened.
    pub conversions: u64,
    /// Of these, with an alert at most the horizon before.
    pub caught: u64,
    /// Their share; none without conversions.
    pub recall: Option<f64>,
    /// What the caught ones were worth, where somebody said so.
    pub value: f64,
    /// Alerts by week, counted from 1970-01-01: for the plot.
    #[serde(skip)]
    pub weeks: BTreeMap<i32, u64>,
}

/// Both sides.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sides {
    /// What was really decided.
    pub live: Figures,
    /// What the replay decided.
    pub new: Figures,
}

/// A user's alerts of a model, where the two sides differ.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Who.
    pub user: UserId,
    /// Which model.
    pub model: String,
    /// How.
    pub kind: Kind,
    /// What was really decided.
    pub live: Vec<Shown>,
    /// What the replay decided.
    pub new: Vec<Shown>,
}

/// How a user's alerts differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Kind {
    /// Alerts in the replay alone.
    OnlyNew,
    /// Alerts in the live run alone.
    OnlyLive,
    /// Alerts in both, at other moments or with other scores.
    Changed,
}

/// An alert of a difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Its id.
    pub id: AlertId,
    /// When.
    pub scored_at: Timestamp,
    /// The calibrated probability.
    pub probability: f32,
    /// How urgent.
    pub priority: Priority,
}

/// How many users have alerts where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// In the replay alone.
    pub only_new: u64,
    /// In the live run alone.
    pub only_live: u64,
    /// In both, changed.
    pub changed: u64,
    /// In both, the same.
    pub same: u64,
}

/// One model of the comparison.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) model: ModelIx,
    pub(super) spec: &'a ModelSpec,
    pub(super) range: Range,
    /// The log's clock at the end.
    pub(super) clock: Timestamp,
}

impl Subject<'_> {
    fn ours<'k>(&self, alerts: &'k [Alert]) -> Vec<&'k Alert> {
        alerts.iter().filter(|alert| alert.model == self.model && self.range.holds(alert.at)).collect()
    }

    /// Adds a user to both sides; answers how its alerts differ, and whether it has any.
    pub(super) fn add(&self, sides: &mut Sides, user: &UserId, known: &Known) -> (Option<Difference>, bool) {
        let (live, new) = (self.ours(&known.live_alerts), self.ours(&known.new_alerts));
        let conversions: Vec<_> = known.truth.conversions(self.model);
        for (figures, alerts) in [(&mut sides.live, &live), (&mut sides.new, &new)] {
            figures.users += u64::from(!alerts.is_empty());
            for alert in alerts {
                figures.alerts += 1;
                *figures.weeks.entry(alert.at.day().div_euclid(7)).or_default() += 1;
                if alert.at.plus(self.spec.horizon) > self.clock {
                    continue;
                }
                let label =
                    known.truth.label(self.model, alert.revision, alert.at, self.spec.horizon, self.clock);
                figures.mature += 1;
                figures.right += u64::from(label == Label::Positive);
            }
            for conversion in conversions.iter().filter(|conversion| self.range.holds(conversion.at)) {
                figures.conversions += 1;
                let is_before = |alert: &&&Alert| {
                    alert.at < conversion.at && conversion.at <= alert.at.plus(self.spec.horizon)
                };
                if alerts.iter().any(|alert| is_before(&alert)) {
                    figures.caught += 1;
                    figures.value += conversion.value.unwrap_or_default();
                }
            }
        }
        let has_any = !live.is_empty() || !new.is_empty();
        (self.difference(user, &live, &new), has_any)
    }

    fn difference(&self, user: &UserId, live: &[&Alert], new: &[&Alert]) -> Option<Difference> {
        let key = |alert: &&Alert| (alert.id, alert.at, alert.probability.to_bits(), alert.priority);
        if live.iter().map(key).eq(new.iter().map(key)) {
            return None;
        }
        let kind = match (live.is_empty(), new.is_empty()) {
            (true, _) => Kind::OnlyNew,
            (_, true) => Kind::OnlyLive,
            (false, false) => Kind::Changed,
        };
        let shown = |alerts: &[&Alert]| {
            let one = |alert: &&Alert| Shown {
                id: alert.id,
                scored_at: alert.at,
                probability: alert.probability,
                priority: alert.priority,
            };
            alerts.iter().map(one).collect()
        };
        Some(Difference {
            user: user.clone(),
            model: self.spec.name.clone(),
            kind,
            live: shown(live),
            new: shown(new),
        })
    }
}

impl Tally {
    /// Counts a user that has alerts.
    pub(super) fn count(&mut self, difference: Option<&Difference>) {
        let count = match difference.map(|difference| difference.kind) {
            None => &mut self.same,
            Some(Kind::OnlyNew) => &mut self.only_new,
            Some(Kind::OnlyLive) => &mut self.only_live,
            Some(Kind::Changed) => &mut self.changed,
        };
        *count += 1;
    }
}

impl Figures {
    /// Fills in the shares, over so many users and days.
    #[expect(clippy::cast_precision_loss, reason = "counts")]
    pub(super) fn close(&mut self, users: u64, days: f64) {
        let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        self.precision = share(self.right, self.mature);
        self.recall = share(self.caught, self.conversions);
        let user_years = users as f64 * days / DAYS_PER_YEAR;
        let rate = self.alerts as f64 / user_years * 1_000.0;
        self.per_thousand_users_per_year = Some(rate).filter(|rate| rate.is_finite());
    }
}
