//! What a model that serves answers: golden rows, unknown values, the same bits whatever the batch, one bad row alone.

use std::fs;

use intentd::domain::catalog::{Catalog, ModelIx};
use intentd::scoring::onnx::OnnxScorer;
use intentd::scoring::registry::Registry;
use intentd::scoring::{Options, Score, Scorer as _, Unscored};
use serde_json::Value;

use super::{five, fixtures, is_there};

const LINES: ModelIx = ModelIx(0);
const STEPS: ModelIx = ModelIx(1);

fn scorer(options: &Options, catalog: &Catalog) -> OnnxScorer {
    let registry = Registry::load(options, catalog);
    for model in registry.status() {
        assert!(model.serving.is_some(), "{} does not serve: {:?}", model.name, model.refused);
    }
    registry.scorer()
}

fn scores(scorer: &mut OnnxScorer, model: ModelIx, rows: &[Vec<f32>]) -> Vec<Score> {
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    scorer.score(model, &rows).into_iter().map(Result::unwrap).collect()
}

/// Rows all over the place, a fifth of the values unknown; the same every time.
fn rows(count: usize) -> Vec<Vec<f32>> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    let mut value = || if draw() < 0.2 { f32::NAN } else { (draw() - 0.4) * 150.0 };
    (0..count).map(|_| (0..5).map(|_| value()).collect()).collect()
}

fn bits(score: &Score) -> Vec<u32> {
    let outputs = [score.probability, score.raw, score.bias];
    outputs.iter().chain(&score.contributions).map(|value| value.to_bits()).collect()
}

fn number(value: &Value) -> f32 {
    value.as_f64().map_or(f32::NAN, |value| value as f32)
}

#[test]
fn golden_rows_are_answered_as_the_trainer_says() {
    if !is_there("golden_rows_are_answered_as_the_trainer_says") {
        return;
    }
    let mut scorer = scorer(&fixtures(), &five());
    for (model, folder) in [(LINES, "LINES/2"), (STEPS, "STEPS/1")] {
        let golden = fs::read_to_string(format!("{}/{folder}/golden.jsonl", super::FIXTURES)).unwrap();
        let golden: Vec<Value> = golden.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(golden.len() >= 50);
        let list =
            |row: &Value, key: &str| row[key].as_array().unwrap().iter().map(number).collect::<Vec<f32>>();
        let rows: Vec<Vec<f32>> = golden.iter().map(|row| list(row, "features")).collect();
        assert!(rows.iter().any(|row| row.iter().all(|value| value.is_nan())), "one row knows nothing");
        for (score, expected) in scores(&mut scorer, model, &rows).iter().zip(&golden) {
            assert!(
                (score.probability - number(&expected["probability"])).abs() < 1e-6,
                "{score:?} {expected}"
            );
            assert!((score.raw - number(&expected["raw"])).abs() < 1e-6, "{score:?} {expected}");
            for (found, expected) in score.contributions.iter().zip(list(expected, "contributions")) {
                assert!((found - expected).abs() < 1e-5, "{score:?}");
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_every_batch() {
    if !is_there("a_row_has_the_same_bits_in_every_batch") {
        return;
    }
    let mut scorer = scorer(&fixtures(), &five());
    // More than one call of the runtime takes (1,024), and no multiple of anything.
    let rows = rows(1_301);
    for model in [LINES, STEPS] {
        let together: Vec<_> = scores(&mut scorer, model, &rows).iter().map(bits).collect();
        for size in [1, 7, 16, 256] {
            let parts = rows.chunks(size).flat_map(|part| scores(&mut scorer, model, part));
            assert!(parts.map(|score| bits(&score)).eq(together.iter().cloned()), "batches of {size}");
        }
    }
}

#[test]
fn contributions_and_bias_add_up_and_unknown_values_have_their_own() {
    if !is_there("contributions_and_bias_add_up_and_unknown_values_have_their_own") {
        return;
    }
    let mut scorer = scorer(&fixtures(), &five());
    for (model, version) in [(LINES, "2"), (STEPS, "1")] {
        let unknown = scores(&mut scorer, model, &[vec![f32::NAN; 5]]).remove(0);
        assert_eq!(&*unknown.version, version, "the newest serves");
        for (row, score) in rows(300).iter().zip(scores(&mut scorer, model, &rows(300))) {
            let sum = score.contributions.iter().copied().map(f64::from).sum::<f64>() + f64::from(score.bias);
            let raw = f64::from(score.raw);
            let logit = (raw / (1.0 - raw)).ln();
            assert!((logit - sum).abs() < 1e-4 || sum.abs() > 8.0, "{score:?}: {logit} {sum}");
            for (at, value) in row.iter().enumerate().filter(|(_, value)| value.is_nan()) {
                assert_eq!(score.contributions[at].to_bits(), unknown.contributions[at].to_bits(), "{value}");
            }
        }
    }
}

#[test]
fn a_bad_row_fails_alone() {
    if !is_there("a_bad_row_fails_alone") {
        return;
    }
    let mut scorer = scorer(&fixtures(), &five());
    let rows = [vec![1.0; 5], vec![1.0; 4], vec![2.0; 5], vec![]];
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let answers = scorer.score(LINES, &rows);
    let alone = scorer.score(LINES, &[rows[2]]).remove(0).unwrap();
    assert!(answers[0].is_ok());
    assert_eq!(answers[2].as_ref().unwrap(), &alone);
    for bad in [&answers[1], &answers[3]] {
        assert!(matches!(bad, Err(Unscored::Failed { reason, .. }) if reason.contains("5")), "{bad:?}");
    }
    assert!(scorer.score(LINES, &[]).is_empty());
    assert!(matches!(scorer.score(ModelIx(9), &[rows[0]])[..], [Err(Unscored::NoModel { .. })]));
}

#[test]
fn an_infinite_feature_gives_a_score_all_the_same() {
    if !is_there("an_infinite_feature_gives_a_score_all_the_same") {
        return;
    }
    let mut scorer = scorer(&fixtures(), &five());
    for model in [LINES, STEPS] {
        for value in [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0, -0.0] {
            let score = scores(&mut scorer, model, &[vec![value; 5]]).remove(0);
            assert!((0.0..=1.0).contains(&score.probability), "{value}: {score:?}");
        }
    }
}
