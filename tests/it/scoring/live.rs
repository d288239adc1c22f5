//! Versions that change while they score: between two batches, whole, named by each score; and ones that fail as they run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use intentd::domain::catalog::ModelIx;
use intentd::scoring::folder::{Loaded, Shelf};
use intentd::scoring::live::Live;
use intentd::scoring::{Options, Scorer as _, Unscored};

use super::graphs::{Recipe, Spin, write};
use super::{five, is_there};

const STEPS: ModelIx = ModelIx(1);

struct Place {
    root: tempfile::TempDir,
    shelf: Shelf,
    live: Live,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let limit = Duration::from_secs(1);
        let folder = root.path().to_path_buf();
        let options =
            Options { folder, latency_one_max: limit, latency_batch_max: limit, ..Options::default() };
        Self { shelf: Shelf::open(&options).unwrap(), live: Live::new(&five()), root }
    }

    fn load(&self, version: &str, recipe: &Recipe) -> Loaded {
        write(self.root.path(), "STEPS", version, recipe);
        let catalog = five();
        self.shelf.check(&catalog, &catalog.models[1], version).unwrap()
    }

    fn install(&self, loaded: &Loaded) {
        self.live.install(STEPS, self.live.prepare(self.shelf.runtime(), loaded.clone()).unwrap());
    }
}

#[test]
fn a_scorer_takes_up_what_is_installed_at_its_next_batch() {
    if !is_there("a_scorer_takes_up_what_is_installed_at_its_next_batch") {
        return;
    }
    let place = Place::new();
    let mut scorer = place.live.scorer();
    let row: &[f32] = &[1.0, 0.0, 0.0, 0.0, 0.0];
    let mut ask = || scorer.score(STEPS, &[row]).remove(0);
    assert!(matches!(ask(), Err(Unscored::NoModel { .. })));
    let one = place.load("1", &Recipe::default());
    let two = place.load("2", &Recipe { bias: 0.5, ..Recipe::default() });
    for (loaded, bias) in [(&one, -0.5), (&two, 0.5), (&one, -0.5)] {
        place.install(loaded);
        let score = ask().unwrap();
        assert_eq!((&*score.version, score.bias), (&*loaded.version, bias));
        let expected = 1.0 / (1.0 + (-(0.5 + bias)).exp());
        assert!((score.raw - expected).abs() < 1e-6, "{score:?}");
    }
    // One that begins later has it at once, and does not hold up the others.
    let late = place.live.scorer().score(STEPS, &[row]).remove(0).unwrap();
    assert_eq!(&*late.version, "1");
    place.live.remove(STEPS);
    assert!(matches!(ask(), Err(Unscored::NoModel { .. })));
}

/// Two threads score all the time while the version changes: each score is whole and of the version it names.
#[test]
fn under_load_no_score_is_lost_or_of_two_versions() {
    if !is_there("under_load_no_score_is_lost_or_of_two_versions") {
        return;
    }
    let place = Place::new();
    let versions =
        [place.load("1", &Recipe::default()), place.load("2", &Recipe { bias: 1.5, ..Recipe::default() })];
    place.install(&versions[0]);
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (mut scorer, stop, seen) = (place.live.scorer(), Arc::clone(&stop), Arc::clone(&seen));
            std::thread::spawn(move || {
                let rows: Vec<[f32; 5]> =
                    (0..37).map(|row| [row as f32 / 10.0, 0.0, 0.0, 0.0, 0.0]).collect();
                let rows: Vec<&[f32]> = rows.iter().map(|row| &row[..]).collect();
                while !stop.load(Ordering::Relaxed) {
                    let scores = scorer.score(STEPS, &rows);
                    assert_eq!(scores.len(), rows.len());
                    let first = scores[0].as_ref().unwrap().version.clone();
                    for (score, row) in scores.into_iter().zip(&rows) {
                        let score = score.unwrap();
                        assert_eq!(score.version, first, "a batch of two versions");
                        let bias = if &*score.version == "1" { -0.5 } else { 1.5 };
                        let expected = 1.0 / (1.0 + (-(row[0] * 0.5 + bias)).exp());
                        assert!((score.raw - expected).abs() < 1e-6, "{score:?} {expected}");
                        seen[usize::from(&*score.version == "2")].fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for round in 0..40 {
        place.install(&versions[round % 2]);
    }
    // Both have to have come up, however the threads were scheduled.
    for version in [1, 0] {
        place.install(&versions[version]);
        let before = seen[version].load(Ordering::Relaxed);
        while seen[version].load(Ordering::Relaxed) == before {
            std::thread::yield_now();
        }
    }
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_version_that_answers_nonsense_is_failing_until_it_answers_or_another_does() {
    if !is_there("a_version_that_answers_nonsense_is_failing_until_it_answers_or_another_does") {
        return;
    }
    let place = Place::new();
    let breaks = place.load("1", &Recipe { breaks: true, ..Recipe::default() });
    place.install(&breaks);
    let mut scorer = place.live.scorer();
    let (good, bad): (&[f32], &[f32]) = (&[0.0; 5], &[0.0, 0.0, 0.0, 3.0, 0.0]);
    let mut ask = |rows: &[&[f32]]| scorer.score(STEPS, rows).iter().map(Result::is_ok).collect::<Vec<_>>();
    assert_eq!(ask(&[good, bad]), [true, false], "one bad row fails alone");
    assert_eq!(place.live.failing(STEPS), None);
    assert_eq!(ask(&[bad]), [false]);
    let reason = place.live.failing(STEPS).unwrap();
    assert!(reason.contains("STEPS") && reason.contains("probability is NaN"), "{reason}");
    assert_eq!(ask(&[good]), [true]);
    assert_eq!(place.live.failing(STEPS), None);
    assert_eq!(ask(&[bad]), [false]);
    place.install(&place.load("2", &Recipe::default()));
    assert_eq!(place.live.failing(STEPS), None, "what failed was the version before");
    assert_eq!(ask(&[bad]), [true]);
}

#[test]
fn a_call_that_hangs_can_be_stopped_from_outside() {
    if !is_there("a_call_that_hangs_can_be_stopped_from_outside") {
        return;
    }
    let place = Place::new();
    let mut scorer = place.live.scorer();
    let interrupt = scorer.interrupt().unwrap();
    // Installed after the interrupt was asked for: it stops that, too.
    place.install(&place.load("1", &Recipe { spin: Spin::ByRow, ..Recipe::default() }));
    assert!(scorer.score(STEPS, &[&[0.0; 5]])[0].is_ok());
    let call = std::thread::spawn(move || scorer.score(STEPS, &[&[0.0, 0.0, 0.0, 0.0, 3.0]]).remove(0));
    let began = Instant::now();
    // One that is stopped before it begins does not begin.
    while !call.is_finished() {
        interrupt();
        std::thread::yield_now();
    }
    let answer = call.join().unwrap();
    assert!(matches!(&answer, Err(Unscored::Failed { .. })), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(place.live.failing(STEPS).is_some());
}
