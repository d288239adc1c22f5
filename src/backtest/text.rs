//! A back-test in words, for a terminal.
//!
//! Law: says first what ran, then how both sides did, then how they differ; ends with the two lines that a person looks for.

use std::fmt::{self, Display, Formatter};

use super::alerts::{Difference, Figures, Kind, Shown};
use super::report::{ModelReport, Report};

/// Differences shown one by one; the JSON has all.
const SHOWN: usize = 20;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} events of {} users, decisions {} .. {}",
            self.events, self.users, self.from, self.to
        )?;
        writeln!(f, "catalogue {}, outcomes known until {}", self.catalog_version, self.known_until)?;
        for model in &self.models {
            model.fmt(f)?;
        }
        if !self.differences.is_empty() {
            writeln!(f, "\nusers whose alerts differ: {}", self.differences.len())?;
        }
        for difference in self.differences.iter().take(SHOWN) {
            writeln!(f, "  {}", line(difference))?;
        }
        if self.differences.len() > SHOWN {
            writeln!(f, "  … {} more in the JSON", self.differences.len() - SHOWN)?;
        }
        writeln!(f)?;
        if self.commands_without_alert > 0 {
            writeln!(f, "{} commands of the live run found no alert to act on", self.commands_without_alert)?;
        }
        if self.facts_unreadable > 0 {
            writeln!(f, "{} facts of the log cannot be read by this program", self.facts_unreadable)?;
        }
        writeln!(f, "{}", features(self))?;
        for example in &self.features.examples {
            writeln!(f, "  {example}")?;
        }
        writeln!(f, "{}", decisions(self))?;
        for example in &self.decisions.examples {
            writeln!(f, "  {example}")?;
        }
        Ok(())
    }
}

/// Whether the features are the recorded ones, in a line.
pub(super) fn features(report: &Report) -> String {
    let found = &report.features;
    let other = match found.other_catalog {
        0 => String::new(),
        other => format!("; {other} scores of another catalogue were not compared"),
    };
    let (differing, alerts, scores) = (found.differing, found.alerts, found.scores);
    format!("skew: {differing} differing features over {alerts} alerts ({scores} recorded scores){other}")
}

/// Whether the decisions are the recorded ones, in a line.
pub(super) fn decisions(report: &Report) -> String {
    let found = &report.decisions;
    if found.is_equal {
        let (facts, users) = (found.facts, found.users);
        return format!("reproduces the live decisions exactly: {facts} facts of {users} users");
    }
    let kinds: Vec<String> = found
        .differing
        .iter()
        .map(|(kind, by)| {
            format!("{kind} {} only live, {} only new, {} changed", by.only_live, by.only_new, by.changed)
        })
        .collect();
    let order = match found.reordered {
        0 => String::new(),
        users => format!("; {users} users in another order"),
    };
    format!("differs from the live decisions ({} facts): {}{order}", found.facts, kinds.join("; "))
}

fn line(difference: &Difference) -> String {
    let shown = |alerts: &[Shown]| {
        let one =
            |alert: &Shown| format!("{} {:.4} {:?}", alert.scored_at, alert.probability, alert.priority);
        if alerts.is_empty() {
            "none".to_owned()
        } else {
            alerts.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    };
    let kind = match difference.kind {
        Kind::OnlyNew => "only new",
        Kind::OnlyLive => "only live",
        Kind::Changed => "changed",
    };
    let Difference { user, model, live, new, .. } = difference;
    format!("{user} {model} {kind}: live {}; new {}", shown(live), shown(new))
}

/// A share in percent, or a dash.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// A number with so many decimals, or a dash.
pub(super) fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.decimals$}"))
}

impl ModelReport {
    /// The version that runs, in words.
    pub(super) fn version(&self) -> String {
        self.run.version.clone().unwrap_or_else(|| "no model".to_owned())
    }

    /// The versions that ran, in words.
    pub(super) fn live_versions(&self) -> String {
        let versions: Vec<&str> = self.live_versions.keys().map(String::as_str).collect();
        if versions.is_empty() { "-".to_owned() } else { versions.join(", ") }
    }
}

impl Display for ModelReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let chosen = if self.run.is_chosen { "chosen" } else { "serving" };
        writeln!(f, "\n{} {} ({chosen})", self.run.model, self.version())?;
        writeln!(
            f,
            "  {:5} {:14} {:>8} {:>8} {:>14} {:>8} {:>9} {:>17} {:>8} {:>14}",
            "",
            "version",
            "alerts",
            "users",
            "/1000 users y",
            "mature",
            "precision",
            "caught",
            "recall",
            "value"
        )?;
        row(f, "live", &self.live_versions(), &self.sides.live)?;
        row(f, "new", &self.version(), &self.sides.new)?;
        let (users, scores) = (&self.users, &self.scores);
        writeln!(
            f,
            "  users with alerts: {} the same, {} changed, {} only live, {} only new; budget {:.0} / 1000 users y",
            users.same,
            users.changed,
            users.only_live,
            users.only_new,
            self.budget_per_thousand_users_per_year
        )?;
        writeln!(
            f,
            "  new scores: {} mature, AUC {}, average precision {}, Brier {}, calibration error {}{}",
            scores.rows,
            number(scores.roc_auc, 4),
            number(scores.average_precision, 4),
            number(scores.brier, 4),
            number(scores.calibration_error, 4),
            match self.unanswered {
                0 => String::new(),
                count => format!("; {count} not answered"),
            }
        )
    }
}

fn row(f: &mut Formatter<'_>, side: &str, version: &str, figures: &Figures) -> fmt::Result {
    writeln!(
        f,
        "  {side:5} {version:14} {:>8} {:>8} {:>14} {:>8} {:>9} {:>17} {:>8} {:>14.0}",
        figures.alerts,
        figures.users,
        number(figures.per_thousand_users_per_year, 1),
        figures.mature,
        percent(figures.precision),
        format!("{} of {}", figures.caught, figures.conversions),
        percent(figures.recall),
        figures.value
    )
}
