//! Versions made to order, wrong in one way each: every check of part 4 has one that only it finds.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use intentd::scoring::Options;
use intentd::scoring::folder::{Loaded, Shelf};
use intentd::scoring::refusal::{Refusal, Rows};

use super::graphs::{Recipe, Spin, write};
use super::{five, is_there};

fn check(recipe: &Recipe, limits: &Options, spoil: impl FnOnce(&Path)) -> Result<Loaded, Vec<Refusal>> {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "STEPS", "1", recipe);
    spoil(&root.path().join("STEPS/1"));
    let options = Options { folder: root.path().to_path_buf(), ..limits.clone() };
    let catalog = five();
    Shelf::open(&options).unwrap().check(&catalog, &catalog.models[1], "1")
}

/// Limits that a busy machine keeps, too.
fn patient() -> Options {
    let latency_one_max = Duration::from_secs(1);
    Options { latency_one_max, latency_batch_max: latency_one_max, ..Options::default() }
}

fn refused(recipe: &Recipe) -> Vec<Refusal> {
    check(recipe, &patient(), |_| ()).map(|loaded| loaded.version).unwrap_err()
}

fn recipe(change: impl FnOnce(&mut Recipe)) -> Recipe {
    let mut recipe = Recipe::default();
    change(&mut recipe);
    recipe
}

#[test]
fn a_version_that_is_right_is_taken() {
    if !is_there("a_version_that_is_right_is_taken") {
        return;
    }
    for recipe in [
        Recipe::default(),
        recipe(|recipe| recipe.breaks = true),
        recipe(|recipe| recipe.spin = Spin::ByRow),
        recipe(|recipe| recipe.spin = Spin::Rounds(3)),
    ] {
        let loaded = check(&recipe, &patient(), |_| ()).unwrap();
        assert_eq!(&*loaded.version, "1");
    }
}

#[test]
fn a_probability_over_one_is_out_of_range() {
    if !is_there("a_probability_over_one_is_out_of_range") {
        return;
    }
    let reasons = refused(&recipe(|recipe| recipe.lift = 0.9));
    assert!(
        matches!(&reasons[..], [Refusal::OutOfRange { rows: Rows::Golden, output, found, .. }]
            if output == "probability" && *found > 1.0),
        "{reasons:?}"
    );
}

#[test]
fn what_does_not_add_up_is_found_where_the_trainer_did_not_look() {
    if !is_there("what_does_not_add_up_is_found_where_the_trainer_did_not_look") {
        return;
    }
    // No golden row has both features that cross.
    let reasons = refused(&recipe(|recipe| recipe.crosses = true));
    assert!(matches!(&reasons[..], [Refusal::NotAdditive { rows: Rows::Mixed, .. }]), "{reasons:?}");
}

#[test]
fn outputs_of_another_type_or_shape_are_refused() {
    if !is_there("outputs_of_another_type_or_shape_are_refused") {
        return;
    }
    for wrong in [recipe(|recipe| recipe.double = true), recipe(|recipe| recipe.column = true)] {
        let reasons = refused(&wrong);
        let [Refusal::Graph { reason }] = &reasons[..] else { panic!("{reasons:?}") };
        assert!(
            reason.starts_with("output probability is ") && reason.contains("expected float32 [batch]"),
            "{reason}"
        );
    }
}

#[test]
fn a_slow_version_is_refused_for_one_row_and_for_many() {
    if !is_there("a_slow_version_is_refused_for_one_row_and_for_many") {
        return;
    }
    let none = Duration::ZERO;
    let reasons = |limits: Options| check(&Recipe::default(), &limits, |_| ()).map(|_| ()).unwrap_err();
    let one = reasons(Options { latency_one_max: none, ..patient() });
    assert!(matches!(&one[..], [Refusal::Slow { rows: 1, took, .. }] if *took > none), "{one:?}");
    let many = reasons(Options { latency_batch_max: none, ..patient() });
    assert!(matches!(&many[..], [Refusal::Slow { rows: 256, .. }]), "{many:?}");
    // A graph that takes its time, with the limits of a default configuration.
    let slow = recipe(|recipe| recipe.spin = Spin::Rounds(20_000));
    let limits = Options { trial_max: Duration::from_secs(60), ..Options::default() };
    let slow = check(&slow, &limits, |_| ()).map(|_| ()).unwrap_err();
    assert!(matches!(&slow[..], [Refusal::Slow { rows: 1, .. }, ..]), "{slow:?}");
    assert_eq!(slow[0].to_string(), "it takes over 2ms for 1 rows at once", "the same words at every trial");
}

#[test]
fn a_version_that_hangs_is_stopped_and_refused() {
    if !is_there("a_version_that_hangs_is_stopped_and_refused") {
        return;
    }
    let began = Instant::now();
    let limits = Options { trial_max: Duration::from_millis(50), ..patient() };
    let hangs = recipe(|recipe| recipe.spin = Spin::Rounds(i64::MAX));
    let reasons = check(&hangs, &limits, |_| ()).map(|_| ()).unwrap_err();
    assert!(matches!(&reasons[..], [Refusal::Hangs { .. }]), "{reasons:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn a_file_cut_short_is_refused_with_and_without_its_hash() {
    if !is_there("a_file_cut_short_is_refused_with_and_without_its_hash") {
        return;
    }
    let cut = |folder: &Path, file: &str| {
        let content = fs::read(folder.join(file)).unwrap();
        fs::write(folder.join(file), &content[..content.len() / 2]).unwrap();
        content
    };
    let hash = |content: &[u8]| {
        use sha2::{Digest as _, Sha256};
        Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    for (file, at_hash) in [("model.onnx", "model.onnx"), ("golden.jsonl", "golden.jsonl")] {
        let plain =
            check(&Recipe::default(), &patient(), |folder| drop(cut(folder, file))).map(|_| ()).unwrap_err();
        assert!(matches!(&plain[..], [Refusal::Hash { file, .. }] if *file == at_hash), "{plain:?}");
        let meant = check(&Recipe::default(), &patient(), |folder| {
            let whole = cut(folder, file);
            let manifest = fs::read_to_string(folder.join("manifest.toml")).unwrap();
            let half = hash(&whole[..whole.len() / 2]);
            fs::write(folder.join("manifest.toml"), manifest.replace(&hash(&whole), &half)).unwrap();
        });
        let meant = meant.map(|_| ()).unwrap_err();
        assert!(
            matches!(&meant[..], [Refusal::Graph { .. } | Refusal::Malformed { file: "golden.jsonl", .. }]),
            "{meant:?}"
        );
    }
    let manifest = check(&Recipe::default(), &patient(), |folder| drop(cut(folder, "manifest.toml")));
    let manifest = manifest.map(|_| ()).unwrap_err();
    assert!(matches!(&manifest[..], [Refusal::Malformed { file: "manifest.toml", .. }]), "{manifest:?}");
}

#[test]
fn a_version_is_a_name_and_no_path() {
    if !is_there("a_version_is_a_name_and_no_path") {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "STEPS", "1", &Recipe::default());
    let options = Options { folder: root.path().to_path_buf(), ..patient() };
    let (shelf, catalog) = (Shelf::open(&options).unwrap(), five());
    for version in ["", ".", "..", "../STEPS/1", "2", "/etc", "1/"] {
        let reasons = shelf.check(&catalog, &catalog.models[1], version).map(|_| ()).unwrap_err();
        assert!(matches!(&reasons[..], [Refusal::Absent { .. }]), "{version:?}: {reasons:?}");
    }
}
