//! The real loan log, measured from the facts: how good the scores are at each model's moments, against how it ended.
//!
//! Law: scores are read from `UserScored` as written, outcomes from the outcomes file; nothing is scored here.
//! `tests/real/bpi2012/run.sh` (`make real`) makes the data directory and names it in `BPI2012_DATA`.

use std::collections::{HashMap, HashSet};
use std::io::BufRead as _;
use std::path::Path;

use intentd::domain::codec::decode_fact;
use intentd::domain::event::IntentEvent;
use intentd::domain::time::Timestamp;
use serde_json::Value;

use super::daemon::events_in;

const OUTCOMES: &str = "data/bpi2012-loan/outcomes.jsonl.zst";
/// Submissions that nothing was trained on; later ones have no known end (the data's README).
const TESTED: [&str; 2] = ["2012-01-01T00:00:00Z", "2012-02-10T00:00:00Z"];
/// Model, the type its moment counts from, days after it, and what its ranking must reach: below, features or training are
/// broken. The yardsticks in the data's README are 0.70 and 0.75, for the final outcome that is also asked for here; the models
/// learned what happens within three and two weeks.
const MOMENTS: [(&str, &str, f64, f64); 2] =
    [("ACTIVATE", "A_SUBMITTED", 7.0, 0.70), ("OFFER", "O_SENT", 14.0, 0.70)];

/// The chance that a positive scores higher than a negative; ties count half.
fn auc(scored: &[(f32, bool)]) -> f64 {
    let of = |wanted: bool| {
        scored.iter().filter(move |(_, positive)| *positive == wanted).map(|(score, _)| *score)
    };
    let (mut won, mut pairs) = (0.0, 0.0);
    for positive in of(true) {
        for negative in of(false) {
            pairs += 1.0;
            won += if positive > negative {
                1.0
            } else if positive < negative {
                0.0
            } else {
                0.5
            };
        }
    }
    won / pairs
}

fn activated(shared: &str) -> HashSet<String> {
    let file = std::fs::File::open(Path::new(shared).join(OUTCOMES)).unwrap();
    let lines = std::io::BufReader::new(zstd::Decoder::new(file).unwrap()).lines();
    let outcomes = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let activated = outcomes.filter(|outcome| outcome["outcome"] == "activated");
    activated.map(|outcome| outcome["user"].as_str().unwrap().to_owned()).collect()
}

/// When the first event of each type came, by user.
fn firsts(data: &Path) -> HashMap<(String, String), Timestamp> {
    let mut firsts = HashMap::new();
    for event in events_in(data, "user-") {
        let body: Value = serde_json::from_slice(&event.data).unwrap();
        let (user, at) = (body["userId"].as_str().unwrap(), body["occurredAt"].as_str().unwrap());
        firsts.entry((user.to_owned(), event.event_type.to_string())).or_insert_with(|| at.parse().unwrap());
    }
    firsts
}

#[test]
fn auc_counts_pairs() {
    let half_right = auc(&[(0.9, true), (0.1, false), (0.5, true), (0.5, false)]);
    assert!((half_right - 0.875).abs() < 1e-12, "{half_right}");
}

#[test]
fn later_submissions_are_ranked_at_their_moments() {
    let name = "later_submissions_are_ranked_at_their_moments";
    let Ok(data) = std::env::var("BPI2012_DATA") else {
        println!("skipped {name}: `make real` makes what it reads");
        return;
    };
    let data = Path::new(&data);
    let shared = std::env::var("BPI2012_SHARED").unwrap_or_else(|_| "../shared".to_owned());
    let (activated, firsts) = (activated(&shared), firsts(data));
    let [from, to] = TESTED.map(|time| time.parse::<Timestamp>().unwrap());
    let mut scored: HashMap<String, Vec<(f32, bool)>> = HashMap::new();
    for event in events_in(data, "intent-") {
        let fact = decode_fact(&event.event_type, &event.data).unwrap().unwrap();
        let IntentEvent::UserScored(fact) = fact else { continue };
        let since = |kind: &str| firsts[&(fact.user_id.as_str().to_owned(), kind.to_owned())];
        let submitted = since("A_SUBMITTED");
        if submitted < from || submitted >= to {
            continue;
        }
        let (_, kind, days, _) = MOMENTS.iter().find(|moment| moment.0 == fact.model_type).unwrap();
        let age = fact.scoring.as_of.days_since(since(kind));
        assert!((age - days).abs() < 0.001, "{} was scored {age} days after {kind}", fact.user_id);
        let activated = activated.contains(fact.user_id.as_str());
        scored.entry(fact.model_type).or_default().push((fact.scoring.probability, activated));
    }
    for (model, kind, days, wanted) in MOMENTS {
        let scored = &scored[model];
        let positives = scored.iter().filter(|(_, positive)| *positive).count();
        let reached = auc(scored);
        println!(
            "{model}: {days} days after {kind}, submissions 2012-01-01..02-09: {} scored, {positives} activated in the end, \
             AUC {reached:.4}",
            scored.len()
        );
        assert!(scored.len() > 500 && positives > 200, "{} scores, {positives} activated", scored.len());
        assert!(reached >= wanted, "{model}: AUC {reached}");
    }
}
