//! Plots as inline SVG: alerts by week on both sides, and what was said against what happened.
//!
//! Law: no script, no font, no address outside; the same figures give the same bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::domain::quality::Reliability;
use crate::domain::time::{DAY_MS, Timestamp};

const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 220.0;
/// Room for the axes' words.
const LEFT: f64 = 44.0;
const BELOW: f64 = 30.0;
const ABOVE: f64 = 14.0;

/// Where values lie on the picture.
struct Frame {
    picture: String,
    x: (f64, f64),
    y: (f64, f64),
}

impl Frame {
    fn new(title: &str, x: (f64, f64), y: (f64, f64)) -> Self {
        let picture = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
             aria-label=\"{title}\"><title>{title}</title>"
        );
        let mut frame = Self { picture, x, y };
        let (left, low) = (frame.at_x(x.0), frame.at_y(y.0));
        let (right, high) = (frame.at_x(x.1), frame.at_y(y.1));
        frame.add(&format!("<path class=\"axis\" d=\"M{left:.1} {high:.1}V{low:.1}H{right:.1}\"/>"));
        frame
    }

    fn add(&mut self, text: &str) {
        self.picture.push_str(text);
    }

    fn at_x(&self, value: f64) -> f64 {
        LEFT + (value - self.x.0) / (self.x.1 - self.x.0).max(f64::EPSILON) * (WIDTH - LEFT - 10.0)
    }

    fn at_y(&self, value: f64) -> f64 {
        let room = HEIGHT - ABOVE - BELOW;
        ABOVE + room - (value - self.y.0) / (self.y.1 - self.y.0).max(f64::EPSILON) * room
    }

    fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (nth, (x, y)) in points.iter().enumerate() {
            let step = if nth == 0 { 'M' } else { 'L' };
            // Writing to a string cannot fail.
            write!(path, "{step}{:.1} {:.1}", self.at_x(*x), self.at_y(*y)).unwrap_or_default();
        }
        self.add(&format!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    fn dot(&mut self, class: &str, x: f64, y: f64, radius: f64) {
        let (x, y) = (self.at_x(x), self.at_y(y));
        self.add(&format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\"/>"));
    }

    fn word(&mut self, x: f64, y: f64, anchor: &str, word: &str) {
        self.add(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{word}</text>"));
    }

    fn words(&mut self, x: (&str, &str), y: (&str, &str)) {
        let (left, right, low, high) =
            (self.at_x(self.x.0), self.at_x(self.x.1), self.at_y(self.y.0), self.at_y(self.y.1));
        self.word(left, low + 16.0, "start", x.0);
        self.word(right, low + 16.0, "end", x.1);
        self.word(left - 5.0, low, "end", y.0);
        self.word(left - 5.0, high + 8.0, "end", y.1);
    }

    fn closed(mut self) -> String {
        self.add("</svg>");
        self.picture
    }
}

/// Alerts by week: the live run and the replay. Empty without alerts.
#[expect(clippy::cast_precision_loss, reason = "counts on a picture")]
pub(super) fn weeks(live: &BTreeMap<i32, u64>, new: &BTreeMap<i32, u64>) -> String {
    let weeks = || live.keys().chain(new.keys()).copied();
    let (Some(first), Some(last)) = (weeks().min(), weeks().max()) else { return String::new() };
    let most = live.values().chain(new.values()).copied().max().unwrap_or(1);
    let x = (f64::from(first), f64::from(last.max(first + 1)));
    let mut frame = Frame::new("alerts by week", x, (0.0, most as f64));
    for (class, side) in [("live", live), ("new", new)] {
        let points: Vec<(f64, f64)> = (first..=last)
            .map(|week| (f64::from(week), side.get(&week).copied().unwrap_or_default() as f64))
            .collect();
        frame.line(class, &points);
    }
    frame.words((&date(first), &date(last)), ("0", &most.to_string()));
    frame.closed()
}

/// The day a week begins.
fn date(week: i32) -> String {
    let text = Timestamp::from_millis(i64::from(week) * 7 * DAY_MS).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// What was said against what happened, by bin; the diagonal is a perfect model. Empty without rows.
#[expect(clippy::cast_precision_loss, reason = "counts on a picture")]
pub(super) fn reliability(table: &[Reliability]) -> String {
    let all: u64 = table.iter().map(|bin| bin.rows).sum();
    if all == 0 {
        return String::new();
    }
    let mut frame = Frame::new("said against happened", (0.0, 1.0), (0.0, 1.0));
    frame.line("axis", &[(0.0, 0.0), (1.0, 1.0)]);
    let points: Vec<(f64, f64, u64)> =
        table.iter().filter_map(|bin| Some((bin.mean_probability?, bin.positive_share?, bin.rows))).collect();
    frame.line("new", &points.iter().map(|(said, happened, _)| (*said, *happened)).collect::<Vec<_>>());
    for (said, happened, rows) in points {
        // By area, so that bins with many rows show.
        let radius = 2.5 + 8.0 * (rows as f64 / all as f64).sqrt();
        frame.dot("dot", said, happened, radius);
    }
    frame.words(("0 said", "1"), ("0", "1"));
    frame.closed()
}
