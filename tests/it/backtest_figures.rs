//! The figures of a back-test, counted by hand: a small shop, and a model that gives every row the same score.

use intentd::backtest::report::{ModelReport, Report};
use intentd::backtest::{self, Options, Running, page};
use intentd::domain::catalog::ModelIx;
use intentd::domain::score::{Score, Unscored};
use intentd::scoring::Scorer;
use serde_json::json;

use super::dataset::{Shop, at, catalog};

/// Always as sure.
struct Sure(f32);

impl Scorer for Sure {
    fn score(&mut self, _: ModelIx, rows: &[&[f32]]) -> Vec<Result<Score, Unscored>> {
        let score = |row: &&[f32]| {
            let contributions = row.iter().map(|_| 0.0).collect();
            let version = "test".into();
            Ok(Score { version, raw: self.0, probability: self.0, bias: 0.0, contributions, shadow: None })
        };
        rows.iter().map(score).collect()
    }
}

/// Five users: one buys after an alert, one does not, one buys without, one converts for 700, one is too young to tell.
fn shop() -> Shop {
    let shop = Shop::new();
    for user in ["buys", "<i>does not</i>", "converts"] {
        shop.views(user, &[(0, 0)]);
    }
    shop.happens("buys", "BOUGHT", at(3, 0), json!({}));
    let converted = json!({ "modelType": "BUY", "converted": true, "conversionValue": 700 });
    shop.happens("converts", "ConversionRecorded", at(4, 0), converted);
    shop.happens("missed", "BOUGHT", at(5, 0), json!({}));
    shop.views("young", &[(60, 0)]);
    shop
}

async fn report(shop: &Shop, sure: f32, options: Options) -> Report {
    let models = vec![Running { version: Some("test".into()), is_chosen: true }];
    let options = Options { models, threads: 2, ..options };
    backtest::run(&shop.0, catalog(), &options, || Box::new(Sure(sure))).await.unwrap()
}

fn model(report: &Report) -> &ModelReport {
    &report.models[0]
}

#[tokio::test]
async fn alerts_and_conversions_are_counted_as_by_hand() {
    let report = report(&shop(), 0.8, Options::default()).await;
    let (live, new) = (&model(&report).sides.live, &model(&report).sides.new);
    assert_eq!((new.alerts, new.users, new.mature, new.right), (4, 4, 3, 2));
    assert_eq!((new.conversions, new.caught, new.value), (3, 2, 700.0));
    assert_eq!(new.precision.map(|share| (share * 3.0).round()), Some(2.0));
    assert_eq!(new.recall.map(|share| (share * 3.0).round()), Some(2.0));
    let rate = 4.0 / (5.0 * 60.0 / 365.2425) * 1_000.0;
    assert!((new.per_thousand_users_per_year.unwrap() - rate).abs() < 1e-9, "{new:?}");
    assert_eq!((live.alerts, live.precision, live.conversions, live.recall), (0, None, 3, Some(0.0)));
    assert_eq!((model(&report).users.only_new, report.differences.len()), (4, 4));
    assert!(!report.decisions.is_equal);
    assert_eq!(report.decisions.differing["AlertScored"].only_new, 4);
    let scores = &model(&report).scores;
    assert_eq!((scores.rows, scores.positives), (3, 2));
    assert!(scores.brier.is_some_and(|brier| (brier - (2.0 * 0.04 + 0.64) / 3.0).abs() < 1e-6), "{scores:?}");
}

#[tokio::test]
async fn below_the_threshold_there_are_no_alerts_and_nothing_is_caught() {
    let report = report(&shop(), 0.4, Options::default()).await;
    let new = &model(&report).sides.new;
    assert_eq!((new.alerts, new.caught, new.precision, new.recall), (0, 0, None, Some(0.0)));
    assert_eq!(new.per_thousand_users_per_year, Some(0.0));
}

#[tokio::test]
async fn a_range_holds_what_was_decided_in_it_and_all_that_became_of_that() {
    let shop = shop();
    let until = report(&shop, 0.8, Options { to: Some(at(1, 0)), ..Options::default() }).await;
    let new = &model(&until).sides.new;
    // What happened later is known all the same; it is no conversion of the range.
    assert_eq!((new.alerts, new.mature, new.right, new.conversions), (3, 3, 2, 0));
    assert_eq!((until.known_until, until.users), (at(60, 0), 3));
    let since = report(&shop, 0.8, Options { from: Some(at(1, 0)), ..Options::default() }).await;
    let new = &model(&since).sides.new;
    assert_eq!((new.alerts, new.mature, new.conversions), (1, 0, 3));
    assert_eq!((since.from, since.to), (at(1, 0), at(60, 0)));
}

#[tokio::test]
async fn the_page_shows_names_as_text() {
    let html = page::html(&report(&shop(), 0.8, Options::default()).await);
    assert!(html.contains("&lt;i&gt;does not&lt;/i&gt;") && !html.contains("<i>"), "{html}");
    assert_eq!(html.matches("<svg").count(), 2);
}
