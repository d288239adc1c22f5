//! Every measure against its definition written out naively, and its edges.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn close(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

fn cases(rows: &[(f32, bool)]) -> Vec<Case> {
    rows.iter().map(|&(probability, is_positive)| Case::new(probability, is_positive)).collect()
}

/// Every pair looked at.
fn naive_auc(cases: &[Case]) -> Option<f64> {
    let (mut pairs, mut right) = (0.0, 0.0);
    for one in cases.iter().filter(|case| case.is_positive) {
        for other in cases.iter().filter(|case| !case.is_positive) {
            let weight = one.weight * other.weight;
            pairs += weight;
            right += weight
                * match one.probability.partial_cmp(&other.probability).unwrap() {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
        }
    }
    (pairs > 0.0).then(|| right / pairs)
}

/// Precision and recall counted again at every threshold that occurs.
fn naive_average_precision(cases: &[Case]) -> f64 {
    let mut thresholds: Vec<f32> = cases.iter().map(|case| case.probability).collect();
    thresholds.sort_by(|one, other| other.total_cmp(one));
    thresholds.dedup();
    let all: f64 = cases.iter().filter(|case| case.is_positive).map(|case| case.weight).sum();
    let (mut recall_before, mut sum) = (0.0, 0.0);
    for threshold in thresholds {
        let above = || cases.iter().filter(|case| case.probability >= threshold);
        let hits: f64 = above().filter(|case| case.is_positive).map(|case| case.weight).sum();
        let weight: f64 = above().map(|case| case.weight).sum();
        sum += (hits / all - recall_before) * (hits / weight);
        recall_before = hits / all;
    }
    sum
}

/// Per bin, all cases looked through again.
fn naive_calibration_error(cases: &[Case]) -> f64 {
    let all: f64 = cases.iter().map(|case| case.weight).sum();
    let mut sum = 0.0;
    for bin in 0..10 {
        let inside: Vec<&Case> = cases
            .iter()
            .filter(|case| {
                let scaled = f64::from(case.probability) * 10.0;
                scaled >= f64::from(bin) && (scaled < f64::from(bin + 1) || bin == 9)
            })
            .collect();
        let weight: f64 = inside.iter().map(|case| case.weight).sum();
        if weight > 0.0 {
            let said: f64 = inside.iter().map(|case| case.weight * f64::from(case.probability)).sum();
            let was: f64 = inside.iter().filter(|case| case.is_positive).map(|case| case.weight).sum();
            sum += weight / all * (said / weight - was / weight).abs();
        }
    }
    sum
}

/// The mean lift over all orders that the probabilities allow, by giving every row its tied group's rate.
fn naive_lift(cases: &[Case]) -> f64 {
    let mut sorted = cases.to_vec();
    sorted.sort_by(|one, other| other.probability.total_cmp(&one.probability));
    let rate = |rows: &[&Case]| {
        let weight: f64 = rows.iter().map(|case| case.weight).sum();
        rows.iter().filter(|case| case.is_positive).map(|case| case.weight).sum::<f64>() / weight
    };
    let all: f64 = cases.iter().map(|case| case.weight).sum();
    let mut left = all / 10.0;
    let mut hits = 0.0;
    for case in &sorted {
        let tied: Vec<&Case> =
            cases.iter().filter(|other| other.probability.to_bits() == case.probability.to_bits()).collect();
        let taken = case.weight.min(left);
        hits += taken * rate(&tied);
        left -= taken;
    }
    hits / (all / 10.0) / rate(&cases.iter().collect::<Vec<_>>())
}

fn any_case() -> impl Strategy<Value = Case> {
    // Few distinct probabilities, so that ties are common; borders of bins among them.
    let probability = prop_oneof![(0_u8..=20).prop_map(|at| f32::from(at) / 20.0), 0.0_f32..=1.0];
    let weight = prop_oneof![Just(1.0), Just(10.0), 0.1_f64..5.0];
    (probability, any::<bool>(), weight).prop_map(|(probability, is_positive, weight)| Case {
        probability,
        is_positive,
        weight,
    })
}

proptest! {
    #[test]
    fn measures_are_what_their_definitions_say(rows in vec(any_case(), 1..60)) {
        let found = measure(&mut rows.clone());
        prop_assert_eq!(found.rows, rows.len() as u64);
        let weight: f64 = rows.iter().map(|case| case.weight).sum();
        let errors = rows.iter().map(|case| {
            let happened = if case.is_positive { 1.0 } else { 0.0 };
            case.weight * (f64::from(case.probability) - happened).powi(2)
        });
        close(found.brier, errors.sum::<f64>() / weight);
        close(found.calibration_error, naive_calibration_error(&rows));
        let both = rows.iter().any(|case| case.is_positive) && rows.iter().any(|case| !case.is_positive);
        prop_assert_eq!(found.roc_auc.is_some(), both);
        if both {
            close(found.roc_auc, naive_auc(&rows).unwrap());
            close(found.average_precision, naive_average_precision(&rows));
            close(found.lift_top_decile, naive_lift(&rows));
        }
    }

    #[test]
    fn the_order_of_the_rows_changes_no_bit(rows in vec(any_case(), 0..60), by in 0_usize..60) {
        let mut turned = rows.clone();
        turned.rotate_left(by.min(rows.len()));
        turned.reverse();
        prop_assert_eq!(measure(&mut rows.clone()), measure(&mut turned));
    }

    #[test]
    fn a_weight_is_so_many_rows(rows in vec((any_case(), 1_usize..4), 1..20)) {
        let mut weighted: Vec<Case> =
            rows.iter().map(|(case, times)| Case { weight: *times as f64, ..*case }).collect();
        let mut repeated: Vec<Case> = rows
            .iter()
            .flat_map(|(case, times)| std::iter::repeat_n(Case { weight: 1.0, ..*case }, *times))
            .collect();
        let (one, other) = (measure(&mut weighted), measure(&mut repeated));
        for (one, other) in [
            (one.roc_auc, other.roc_auc),
            (one.average_precision, other.average_precision),
            (one.brier, other.brier),
            (one.calibration_error, other.calibration_error),
            (one.lift_top_decile, other.lift_top_decile),
        ] {
            prop_assert_eq!(one.is_some(), other.is_some());
            if let Some(other) = other {
                close(one, other);
            }
        }
    }

    #[test]
    fn a_place_is_the_number_of_edges_at_or_below(
        edges in proptest::collection::btree_set(-50_i32..50, 0..EDGES_MAX),
        value in prop_oneof![(-60_i32..60).prop_map(|at| at as f32), any::<f32>()],
    ) {
        let edges: Vec<f32> = edges.into_iter().map(|edge| edge as f32).collect();
        let shares = vec![1.0 / (edges.len() + 1) as f64; edges.len() + 1];
        let bins = Bins::new(&edges, &shares, 0.25).unwrap();
        let naive = if value.is_nan() {
            edges.len() + 1
        } else {
            edges.iter().take_while(|&&edge| edge <= value).count()
        };
        prop_assert_eq!(bins.place(value), naive);
        prop_assert!(naive < bins.places());
        prop_assert!((bins.shares().iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }

    #[test]
    fn psi_is_none_the_same_both_ways_and_never_negative(counts in vec((100_u64..1_000, 100_u64..1_000), 2..12)) {
        let (one, other): (Vec<u64>, Vec<u64>) = counts.into_iter().unzip();
        let shares = |counts: &[u64]| -> Vec<f64> {
            let all: u64 = counts.iter().sum();
            counts.iter().map(|&count| count as f64 / all as f64).collect()
        };
        let there = psi(&shares(&one), &other).unwrap();
        close(psi(&shares(&other), &one), there);
        close(psi(&shares(&one), &one), 0.0);
        prop_assert!(there >= 0.0);
    }
}

#[test]
fn one_class_or_no_rows_have_no_order_and_no_number() {
    let nothing = measure(&mut Vec::new());
    assert_eq!((nothing.rows, nothing.base_rate, nothing.brier), (0, None, None));
    assert_eq!((nothing.roc_auc, nothing.calibration_error), (None, None));
    assert_eq!(nothing.reliability.len(), BINS);
    assert!(nothing.reliability.iter().all(|bin| bin.mean_probability.is_none() && bin.rows == 0));
    for happened in [true, false] {
        let one = measure(&mut cases(&[(0.25, happened), (0.5, happened)]));
        assert_eq!((one.roc_auc, one.average_precision, one.lift_top_decile), (None, None, None));
        assert!(one.brier.is_some() && one.calibration_error.is_some());
    }
}

#[test]
fn what_is_no_probability_is_left_out_and_counted() {
    let mut odd = cases(&[(f32::NAN, true), (1.5, true), (-0.1, false), (0.75, true), (0.25, false)]);
    odd.push(Case { probability: 0.5, is_positive: true, weight: 0.0 });
    odd.push(Case { probability: 0.5, is_positive: true, weight: f64::NAN });
    let found = measure(&mut odd);
    assert_eq!((found.rows, found.left_out, found.positives), (2, 5, 1));
    close(found.roc_auc, 1.0);
}

#[test]
fn known_answers() {
    // scikit-learn's own example for roc_auc_score and average_precision_score.
    let found = measure(&mut cases(&[(0.1, false), (0.4, false), (0.35, true), (0.8, true)]));
    close(found.roc_auc, 0.75);
    close(found.average_precision, 0.833_333_333_333_333_3);
    // Ten rows: the top tenth is the one at 0.9, and three in ten are positive.
    let mut ten: Vec<(f32, bool)> = (0_u8..10).map(|at| (f32::from(at) / 10.0, at >= 7)).collect();
    close(measure(&mut cases(&ten)).lift_top_decile, 1.0 / 0.3);
    // All tied: the top tenth is like all others.
    ten.iter_mut().for_each(|row| row.0 = 0.5);
    let tied = measure(&mut cases(&ten));
    close(tied.lift_top_decile, 1.0);
    close(tied.roc_auc, 0.5);
    close(tied.average_precision, 0.3);
    close(tied.calibration_error, 0.2);
    assert_eq!(tied.reliability[5].rows, 10);
}

#[test]
fn psi_needs_rows_and_bears_empty_bins() {
    let half = [0.5, 0.5, 0.0];
    assert_eq!(psi(&half, &[100, 99, 0]), None);
    assert_eq!(psi(&half, &[1_000, 1_000]), None, "not the same bins");
    close(psi(&half, &[100, 100, 0]), 0.0);
    // By hand: (0.9 - 0.5) ln(0.9 / 0.5) + (0.1 - 0.5) ln(0.1 / 0.5).
    close(psi(&half, &[900, 100, 0]), 0.4 * 1.8_f64.ln() - 0.4 * 0.2_f64.ln());
    assert!(psi(&half, &[0, 1_000, 0]).unwrap() > 0.25);
    assert!(psi(&half, &[250, 250, 500]).unwrap() > 0.25, "values that go missing are drift");
}

#[test]
fn bins_that_make_no_sense_are_refused() {
    let check = |edges: &[f32], shares: &[f64], missing, says: &str| {
        let told = Bins::new(edges, shares, missing).unwrap_err().to_string();
        assert!(told.contains(says), "{told}");
    };
    check(&[1.0, 1.0], &[0.5, 0.2, 0.3], 0.0, "edge 2 is 1");
    check(&[f32::NAN], &[0.5, 0.5], 0.0, "edge 1 is NaN");
    check(&[1.0], &[1.0], 0.0, "1 shares for 1 edges");
    check(&[1.0], &[0.5, 0.4], 0.0, "sum of the shares is 0.9");
    check(&[1.0], &[1.5, -0.5], 0.0, "share is 1.5");
    check(&[1.0], &[0.5, 0.5], 1.1, "missing");
    check(&[0.0; 40], &[0.0; 41], 0.0, "40 edges");
    assert!(Bins::new(&[1.0], &[0.0, 0.0], 1.0).is_ok(), "every value was missing");
}
