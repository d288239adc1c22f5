//! Every reason for which a version may not serve, each planted alone; and that the next older one serves instead.

use std::fs;

use intentd::scoring::refusal::Refusal;
use intentd::scoring::registry::Registry;
use intentd::scoring::{Options, Scorer as _};

use super::{Models, catalog, five, fixtures, is_there};

/// Spoils STEPS/1 and gives the reasons for which it is refused.
fn reasons(spoil: impl FnOnce(&Models)) -> Vec<Refusal> {
    let models = Models::copy();
    spoil(&models);
    let registry = Registry::load(&models.options(), &five());
    assert!(registry.is_degraded());
    let steps = registry.status().nth(1).unwrap();
    assert!(steps.serving.is_none(), "STEPS serves although it is spoiled");
    assert_eq!(steps.refused.len(), 1);
    steps.refused[0].reasons.clone()
}

const MANIFEST: &str = "STEPS/1/manifest.toml";
const GRAPH: &str = "STEPS/1/model.onnx";
const GOLDEN: &str = "STEPS/1/golden.jsonl";

/// One manifest line changed.
fn manifest(key: &str, value: &str) -> Vec<Refusal> {
    reasons(|models| {
        models.edit(MANIFEST, |text| {
            let line = |line: &str| match line.split_once(" = ") {
                Some((found, _)) if found == key => format!("{key} = {value}\n"),
                _ => format!("{line}\n"),
            };
            text.lines().map(line).collect()
        });
    })
}

macro_rules! refused {
    ($reasons:expr, $($pattern:pat $(if $guard:expr)?),+ $(,)?) => {
        let reasons = $reasons;
        assert!(matches!(&reasons[..], [$($pattern),+] if true $($(&& $guard)?)+), "{reasons:?}");
    };
}

#[test]
fn what_is_wrong_with_a_manifest() {
    if !is_there("what_is_wrong_with_a_manifest") {
        return;
    }
    refused!(manifest("schema", "2"), Refusal::Schema { found: 2, known: 1 });
    refused!(manifest("bias", "\"much\""), Refusal::Malformed { file: "manifest.toml", line: 14, .. });
    refused!(manifest("model", "\"SELL\""), Refusal::Misplaced { key: "model", .. });
    refused!(manifest("version", "\"7\""), Refusal::Misplaced { key: "version", .. });
    refused!(manifest("tolerance", "0.1"), Refusal::OutOfBounds { key: "tolerance", .. });
    refused!(manifest("tolerance", "nan"), Refusal::OutOfBounds { key: "tolerance", .. });
    refused!(manifest("bias", "inf"), Refusal::OutOfBounds { key: "bias", .. });
    refused!(manifest("bias", "-0.4"), Refusal::NotAdditive { row: 1, .. });
    // All at once.
    refused!(
        reasons(|models| {
            models.edit(MANIFEST, |text| text.replace("\"STEPS\"", "\"SELL\"").replace("1e-05", "1"));
            fs::remove_file(models.path("STEPS/1/CARD.md")).unwrap();
            fs::remove_file(models.path(GRAPH)).unwrap();
        }),
        Refusal::Misplaced { .. },
        Refusal::OutOfBounds { .. },
        Refusal::Unreadable { file: "CARD.md", .. },
        Refusal::Unreadable { file: "model.onnx", .. },
    );
    refused!(
        reasons(|models| fs::remove_file(models.path(MANIFEST)).unwrap()),
        Refusal::Unreadable { file: "manifest.toml", .. }
    );
}

#[test]
fn a_catalogue_that_does_not_fit() {
    if !is_there("a_catalogue_that_does_not_fit") {
        return;
    }
    let refused = |features: &[&str]| {
        let registry = Registry::load(&fixtures(), &catalog(features));
        let steps = registry.status().nth(1).unwrap();
        assert!(steps.serving.is_none());
        steps.refused[0].reasons.clone()
    };
    refused!(refused(&["f0", "f1", "f2", "f3"]), Refusal::FeaturesMissing { names } if names == &["f4"]);
    refused!(
        refused(&["f0", "f1", "f2", "f3", "f4", "f5"]),
        Refusal::FeaturesUnknown { names } if names == &["f5"]
    );
    refused!(
        refused(&["f0", "f1", "f2", "f3", "g4"]),
        Refusal::FeaturesMissing { .. },
        Refusal::FeaturesUnknown { .. }
    );
    refused!(
        refused(&["f0", "f2", "f1", "f3", "f4"]),
        Refusal::FeatureOrder { place: 2, found, expected } if found == "f1" && expected == "f2"
    );
}

#[test]
fn files_that_are_not_the_ones_meant() {
    if !is_there("files_that_are_not_the_ones_meant") {
        return;
    }
    let flip = |file: &str, at: usize| {
        reasons(|models| {
            let mut content = fs::read(models.path(file)).unwrap();
            content[at] ^= 1;
            fs::write(models.path(file), content).unwrap();
        })
    };
    refused!(flip(GRAPH, 700), Refusal::Hash { file: "model.onnx", .. });
    refused!(flip(GOLDEN, 20), Refusal::Hash { file: "golden.jsonl", .. });
    let golden = |change: &dyn Fn(&str) -> String| {
        reasons(|models| {
            models.edit(GOLDEN, |text| change(&text));
            models.rehash("STEPS/1");
        })
    };
    let first = |text: &str, count: usize| text.lines().take(count).map(|line| format!("{line}\n")).collect();
    refused!(golden(&|text| first(text, 10)), Refusal::GoldenFew { found: 10, needed: 50 });
    refused!(
        golden(&|text| format!("{text}oops")),
        Refusal::Malformed { file: "golden.jsonl", line: 65, .. }
    );
    refused!(
        golden(&|text| text.replacen("[", "[1.0, ", 1)),
        Refusal::Malformed { file: "golden.jsonl", line: 1, .. }
    );
    refused!(
        golden(&|text| text.replacen("\"probability\": 0.", "\"probability\": 0.9", 1)),
        Refusal::Golden { row: 1, output, .. } if output == "probability"
    );
    refused!(
        golden(&|text| text.replacen("\"contributions\": [-", "\"contributions\": [-9", 1)),
        Refusal::Golden { row: 1, output, .. } if output == "the contribution of f0"
    );
}

#[test]
fn graphs_that_answer_wrongly() {
    if !is_there("graphs_that_answer_wrongly") {
        return;
    }
    let graph = |from: &[u8], to: &[u8]| {
        reasons(|models| {
            models.patch(GRAPH, from, to);
            models.rehash("STEPS/1");
        })
    };
    refused!(
        reasons(|models| {
            fs::write(models.path(GRAPH), b"no graph at all").unwrap();
            models.rehash("STEPS/1");
        }),
        Refusal::Graph { .. }
    );
    // The input is declared as [batch, 6].
    refused!(graph(b"\x05batch\x0a\x02\x08\x05b", b"\x05batch\x0a\x02\x08\x06b"), Refusal::Graph { .. });
    // A slope of NaN makes every probability NaN.
    let slope = |value: f64| [b"B\x05slopeJ\x08", &value.to_le_bytes()[..]].concat();
    refused!(
        graph(&slope(1.0), &slope(f64::NAN)),
        Refusal::Golden { row: 1, .. },
        Refusal::OutOfRange { row: 1, .. }
    );
    // Summing over rows instead of features: each row then depends on those before it.
    refused!(
        graph(b"B\x04axisJ\x08\x01\0", b"B\x04axisJ\x08\0\0"),
        Refusal::Golden { .. },
        Refusal::NotAdditive { .. },
        Refusal::BatchDependent { row: 2 }
    );
}

#[test]
fn the_newest_that_passes_serves_unless_one_is_pinned() {
    if !is_there("the_newest_that_passes_serves_unless_one_is_pinned") {
        return;
    }
    let serving = |options: &Options| {
        let registry = Registry::load(options, &five());
        let lines = registry.status().next().unwrap();
        let refused: Vec<String> = lines.refused.iter().map(|refused| refused.version.clone()).collect();
        (lines.serving.map(|loaded| loaded.version.to_string()), refused)
    };
    let models = Models::copy();
    let mut options = models.options();
    assert_eq!(serving(&options), (Some("2".to_owned()), vec![]));
    options.pin.insert("LINES".to_owned(), "1".to_owned());
    assert_eq!(serving(&options), (Some("1".to_owned()), vec![]));
    options.pin.insert("LINES".to_owned(), "3".to_owned());
    assert_eq!(serving(&options), (None, vec!["3".to_owned()]));
    options.pin.clear();
    models.edit("LINES/2/manifest.toml", |text| text.replace("schema = 1", "schema = 9"));
    assert_eq!(serving(&options), (Some("1".to_owned()), vec!["2".to_owned()]));
    // A folder that is being written is no version.
    fs::rename(models.path("LINES/1"), models.path("LINES/.1.partial")).unwrap();
    assert_eq!(serving(&options), (None, vec!["2".to_owned()]));
    let mut scorer = Registry::load(&options, &five()).scorer();
    let faults = Registry::load(&options, &five()).faults();
    let [fault] = &faults[..] else { panic!("{faults:?}") };
    assert!(fault.ends_with("/LINES/2: the manifest has schema 9, this program knows 1"), "{fault}");
    let answer = scorer.score(intentd::domain::catalog::ModelIx(0), &[&[0.0; 5]]).remove(0);
    assert_eq!(answer.unwrap_err().to_string(), "no model of type LINES is loaded");
}

#[test]
fn a_folder_without_models_is_named() {
    if !is_there("a_folder_without_models_is_named") {
        return;
    }
    let options = Options { folder: "/nowhere".into(), ..Options::default() };
    let expected = ["/nowhere/LINES: no version of LINES", "/nowhere/STEPS: no version of STEPS"];
    assert_eq!(Registry::load(&options, &five()).faults(), expected);
    assert!(Registry::load(&fixtures(), &five()).faults().is_empty());
}
