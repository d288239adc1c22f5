//! The fold at its boundary: whatever the order, split and lateness of events, features are what a recount of the whole
//! history says, bit for bit. The recount is as plain as the definitions, and knows no series.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::LazyLock;

use intentd::domain::catalog::{Aggregation, Catalog, FeatureKind, Source, Span};
use intentd::domain::event::{Behaviour, Position};
use intentd::domain::features::{FeatureState, Moment};
use intentd::domain::market::Market;
use intentd::domain::plan::Plan;
use intentd::domain::time::{DAY_MS, HOUR_MS, Timestamp};
use intentd::domain::window::DISTINCT_MAX;
use proptest::prelude::*;
use smallvec::smallvec;

const START: &str = "2026-03-01T00:00:00.000Z";
const GAP_MS: i64 = 30 * 60_000;

/// Every aggregation over one and two event types, with and without a filter, over windows of every sort.
fn catalog() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(load);
    &CATALOG
}

fn load() -> Catalog {
    let mut text = String::from(
        r#"
name = "test"
session_gap = "30m"
categories = ["c"]
"#,
    );
    for event in ["VIEWED", "CALLED"] {
        let fields = "fields.amount = { type = \"number\", min = -1e12, max = 1e12 }\n\
                      fields.place = { type = \"number\", min = -9, max = 9 }\n";
        writeln!(text, "[event.{event}]\ncategory = \"c\"\ndoc = \"d\"\n{fields}").unwrap();
    }
    text.push_str(
        "[event.RATE]\ncategory = \"c\"\ndoc = \"d\"\nmarket = \"m\"\nfields.rate = { type = \"number\", min = 0, max = 9 }\n",
    );
    let mut feature = |name: String, body: String| {
        writeln!(text, "[feature.{name}]\ncategory = \"c\"\ndoc = \"d\"\nunit = \"u\"\n{body}").unwrap();
    };
    let by_event = ["count", "days_since_last", "days_since_first", "active_days", "streak", "sessions"];
    let by_field = ["sum", "mean", "min", "max", "last", "distinct"];
    for make in by_event.iter().chain(&by_field) {
        for window in ["1h", "24h", "48h", "1d", "7d", "30d", "all"] {
            if window.ends_with('h') && ["active_days", "streak"].contains(make) {
                continue;
            }
            let field = match *make {
                "distinct" => ".place",
                make if by_field.contains(&make) => ".amount",
                _ => "",
            };
            let one = format!("{make} = \"VIEWED{field}\"\nwindow = \"{window}\"");
            let two = format!("{make} = [\"CALLED{field}\", \"VIEWED{field}\"]\nwindow = \"{window}\"");
            feature(format!("{make}_where_{window}"), format!("{one}\nwhere = 'amount > 0.5'"));
            feature(format!("{make}_one_{window}"), one);
            feature(format!("{make}_two_{window}"), two);
        }
    }
    feature("attribute".into(), "last = [\"VIEWED.amount\", \"CALLED.place\"]".into());
    feature("decayed_hours".into(), "decayed = \"VIEWED\"\nhalf_life = \"5h\"".into());
    feature("decayed_days".into(), "decayed = [\"VIEWED\", \"CALLED\"]\nhalf_life = \"3d\"".into());
    feature("rate".into(), "market = \"RATE.rate\"".into());
    feature("derived".into(), "derive = 'count_one_7d * 2 + coalesce(mean_two_30d, 0) + rate'".into());
    feature("deeper".into(), "derive = 'derived - 1'".into());
    text.push_str("[signal.s]\ncategory = \"c\"\ndoc = \"d\"\nwhen = 'count_one_7d >= 5'\nstrength = 0.5\n");
    text.push_str("cooldown = \"1d\"\nexpires = \"1d\"\nmodels = [\"M\"]\n");
    text.push_str("[model.M]\ndoc = \"d\"\nfeatures = [\"deeper\", \"count_one_7d\", \"mean_one_1h\"]\n");
    text.push_str("threshold = 0.5\nexit = 0.4\ncooldown = \"1d\"\nhorizon = \"9d\"\n");
    text.push_str("bands = [{ priority = \"LOW\", score = 0.5 }]\n");
    Catalog::load(&text, "test.toml").unwrap_or_else(|faults| {
        panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// One rate that everybody sees.
fn market(catalog: &Catalog) -> Market {
    let kind = catalog.event("RATE").unwrap();
    let occurred_at = Timestamp::MIN;
    Market::new(vec![(Position(1), Behaviour { kind, occurred_at, fields: smallvec![3.5] })])
}

fn values(state: &FeatureState, plan: &Plan, market: &Market, as_of: Timestamp) -> Vec<f64> {
    let mut out = vec![f64::NAN; plan.features()];
    state.values(plan, &plan.all(), &Moment { as_of, market, market_revision: 1 }, &mut out);
    out
}

fn fold(plan: &Plan, events: &[Behaviour]) -> FeatureState {
    let mut state = FeatureState::new();
    events.iter().for_each(|event| state.apply(plan, event));
    state
}

// The recount.

/// Whether a window of that span, ending at `as_of`, counts a time.
fn counts(window: Span, as_of: Timestamp, at: Timestamp) -> bool {
    let within = |width: i64, buckets: u32| {
        let (now, then) = (as_of.millis().div_euclid(width), at.millis().div_euclid(width));
        then > now - i64::from(buckets) && then <= now
    };
    match window {
        Span::Hours(hours) => within(HOUR_MS, hours),
        Span::Days(days) => within(DAY_MS, days),
        Span::All => true,
    }
}

/// The times and values of the events that a feature sees, ordered by both.
fn seen(events: &[Behaviour], sources: &[Source], window: Span, as_of: Timestamp) -> Vec<(Timestamp, f64)> {
    let mut seen = Vec::new();
    for event in events.iter().filter(|event| counts(window, as_of, event.occurred_at)) {
        for source in sources.iter().filter(|source| source.kind == event.kind) {
            let passes = source.filter.as_ref().is_none_or(|filter| filter.holds(&event.fields));
            let value = source.field.map_or(0.0, |field| event.fields[usize::from(field.0)]);
            if passes && !value.is_nan() {
                // A negative zero is a zero.
                seen.push((event.occurred_at, value + 0.0));
            }
        }
    }
    seen.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    seen
}

fn aggregate(aggregation: Aggregation, seen: &[(Timestamp, f64)], as_of: Timestamp) -> f64 {
    let count = seen.len() as f64;
    // The generated amounts are whole thousandths, so this sum is exact.
    let sum = seen.iter().map(|(_, value)| (value * 1e3).round() as i128).sum::<i128>() as f64 / 1e3;
    let days: BTreeSet<i64> = seen.iter().map(|(at, _)| at.millis().div_euclid(DAY_MS)).collect();
    let values = seen.iter().map(|(_, value)| *value);
    match aggregation {
        Aggregation::Count => count,
        Aggregation::Sum => sum,
        Aggregation::Mean => sum / count,
        Aggregation::Min => values.fold(f64::NAN, f64::min),
        Aggregation::Max => values.fold(f64::NAN, f64::max),
        Aggregation::Last => seen.last().map_or(f64::NAN, |last| last.1),
        Aggregation::Distinct => values.map(f64::to_bits).collect::<BTreeSet<_>>().len() as f64,
        Aggregation::DaysSinceLast => seen.last().map_or(f64::NAN, |last| as_of.days_since(last.0)),
        Aggregation::DaysSinceFirst => seen.first().map_or(f64::NAN, |first| as_of.days_since(first.0)),
        Aggregation::ActiveDays => days.len() as f64,
        Aggregation::Streak => {
            let today = as_of.millis().div_euclid(DAY_MS);
            let last = days.last().copied().filter(|last| *last >= today - 1);
            last.map_or(0.0, |last| (0..).take_while(|back| days.contains(&(last - back))).count() as f64)
        }
        Aggregation::Sessions => {
            let breaks = seen.windows(2).filter(|two| two[1].0.millis_since(two[0].0) >= GAP_MS);
            breaks.count() as f64 + f64::from(u8::from(!seen.is_empty()))
        }
    }
}

fn recount(catalog: &Catalog, events: &[Behaviour], as_of: Timestamp) -> Vec<f64> {
    let mut out: Vec<f64> = Vec::new();
    for feature in &catalog.features {
        out.push(match &feature.kind {
            FeatureKind::Aggregate { aggregation, sources, window } => {
                aggregate(*aggregation, &seen(events, sources, *window, as_of), as_of)
            }
            FeatureKind::Attribute { sources } => {
                aggregate(Aggregation::Last, &seen(events, sources, Span::All, as_of), as_of)
            }
            FeatureKind::Decayed { sources, half_life } => {
                let half_life = half_life.as_millis() as i64;
                let width = if half_life <= 2 * DAY_MS { HOUR_MS } else { DAY_MS };
                let seen = seen(events, sources, Span::All, as_of);
                let half_lives = seen.iter().map(|(at, _)| {
                    let age = as_of.millis().div_euclid(width) - at.millis().div_euclid(width);
                    age as f64 * width as f64 / half_life as f64
                });
                half_lives.filter(|age| *age <= 20.0).map(|age| (-age).exp2()).sum()
            }
            FeatureKind::Market { .. } => 3.5,
            FeatureKind::Derived(program) => program.number(&out),
        });
    }
    out
}

/// Equal bit for bit, any NaN like any other; decayed counts, which the recount sums in another order, to 1e-12.
fn check(catalog: &Catalog, found: &[f64], expected: &[f64]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for ((feature, found), expected) in catalog.features.iter().zip(found).zip(expected) {
        let same = found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan());
        let decayed = matches!(feature.kind, FeatureKind::Decayed { .. });
        let near = decayed && (found - expected).abs() <= 1e-12 * expected.abs().max(1e-9);
        prop_assert!(same || near, "{} is {found}, a recount says {expected}", feature.name);
    }
    Ok(())
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

// What happens.

/// An event in the 40 days from [`START`]; half of them within three days. Times meet the borders of hours and sessions.
fn event() -> impl Strategy<Value = Behaviour> {
    let day = prop_oneof![0_i64..40, 36_i64..39];
    let border = prop_oneof![Just(0_i64), Just(-1), Just(1), 0..HOUR_MS];
    let amount = prop_oneof![
        1 => Just(f64::NAN),
        3 => (-2_000_i64..2_000).prop_map(|thousandths| thousandths as f64 / 1e3),
        1 => (-1_000_000_000_000_i64..1_000_000_000_000).prop_map(|thousandths| thousandths as f64 / 1e3),
        1 => Just(-0.0),
    ];
    let place = prop_oneof![1 => Just(f64::NAN), 5 => (-3_i32..4).prop_map(f64::from)];
    (0_u16..2, day, 0_i64..48, border, amount, place).prop_map(
        |(kind, day, half_hour, border, amount, place)| {
            let start = START.parse::<Timestamp>().unwrap().millis();
            Behaviour {
                kind: intentd::domain::catalog::EventIx(kind),
                occurred_at: Timestamp::from_millis(start + day * DAY_MS + half_hour * GAP_MS + border),
                fields: smallvec![amount, place],
            }
        },
    )
}

fn events_in_two_orders() -> impl Strategy<Value = (Vec<Behaviour>, Vec<Behaviour>)> {
    prop::collection::vec(event(), 0..80)
        .prop_flat_map(|events| (Just(events.clone()), Just(events).prop_shuffle()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// After every event, late ones included, the values as of the user's clock are those of a recount.
    #[test]
    fn every_prefix_equals_a_recount(events in prop::collection::vec(event(), 1..40)) {
        let catalog = catalog();
        let (plan, market) = (Plan::compile(catalog), market(catalog));
        let mut state = FeatureState::new();
        for (at, event) in events.iter().enumerate() {
            state.apply(&plan, event);
            let known = &events[..=at];
            let clock = known.iter().map(|event| event.occurred_at).max();
            prop_assert_eq!(state.clock(), clock);
            let clock = clock.unwrap();
            check(catalog, &values(&state, &plan, &market, clock), &recount(catalog, known, clock))?;
        }
    }

    /// Any order gives the same bits, at the clock and at any later time; before the clock counts as the clock.
    #[test]
    fn any_order_gives_the_same_bits(
        (events, shuffled) in events_in_two_orders(),
        later_ms in prop_oneof![Just(0_i64), 0..DAY_MS, 0..60 * DAY_MS, -60 * DAY_MS..0],
    ) {
        let catalog = catalog();
        let (plan, market) = (Plan::compile(catalog), market(catalog));
        let (one, other) = (fold(&plan, &events), fold(&plan, &shuffled));
        let start = START.parse::<Timestamp>().unwrap();
        let clock = one.clock().unwrap_or(start);
        let as_of = Timestamp::from_millis(clock.millis() + later_ms);
        let found = values(&one, &plan, &market, as_of);
        prop_assert_eq!(bits(&found), bits(&values(&other, &plan, &market, as_of)));
        let read_at = if events.is_empty() { as_of } else { as_of.max(clock) };
        check(catalog, &found, &recount(catalog, &events, read_at))?;
    }

    /// A state that was written, read back and folded on is the state that was never written.
    #[test]
    fn a_snapshot_in_between_changes_nothing((events, _) in events_in_two_orders(), cut in 0_usize..80) {
        let plan = Plan::compile(catalog());
        let cut = cut.min(events.len());
        let before = fold(&plan, &events[..cut]);
        let written = postcard::to_allocvec(&before).unwrap();
        let mut after: FeatureState = postcard::from_bytes(&written).unwrap();
        prop_assert_eq!(&after, &before);
        events[cut..].iter().for_each(|event| after.apply(&plan, event));
        prop_assert_eq!(after, fold(&plan, &events));
    }

    /// Beyond the bound a count of distinct values stands still at the bound, in any order, for each window on its own.
    #[test]
    fn distinct_values_stand_still_at_their_bound(
        events in prop::collection::vec((0_i64..20, 0_i64..2_000), 0..1_500).prop_flat_map(|events| {
            (Just(events.clone()), Just(events).prop_shuffle())
        }),
    ) {
        let catalog = catalog();
        let (plan, market) = (Plan::compile(catalog), market(catalog));
        let start = START.parse::<Timestamp>().unwrap();
        let view = |(day, place): &(i64, i64)| Behaviour {
            kind: catalog.event("VIEWED").unwrap(),
            occurred_at: Timestamp::from_millis(start.millis() + day * DAY_MS),
            fields: smallvec![1.0, *place as f64],
        };
        let (one, other): (Vec<_>, Vec<_>) =
            (events.0.iter().map(view).collect(), events.1.iter().map(view).collect());
        let (one_state, other_state) = (fold(&plan, &one), fold(&plan, &other));
        let as_of = one_state.clock().unwrap_or(start);
        let found = values(&one_state, &plan, &market, as_of);
        prop_assert_eq!(bits(&found), bits(&values(&other_state, &plan, &market, as_of)));
        for window in ["1d", "7d", "all"] {
            let feature = usize::from(catalog.feature(&format!("distinct_one_{window}")).unwrap().0);
            let FeatureKind::Aggregate { aggregation, sources, window: span } = &catalog.features[feature].kind
            else {
                panic!("{window} is no aggregation");
            };
            let expected = aggregate(*aggregation, &seen(&one, sources, *span, as_of), as_of);
            let expected = expected.min(DISTINCT_MAX as f64);
            prop_assert_eq!(found[feature].to_bits(), expected.to_bits(), "{}", window);
        }
    }
}

#[test]
fn a_user_without_events_has_counts_of_zero_and_no_means() {
    let catalog = catalog();
    let (plan, market) = (Plan::compile(catalog), market(catalog));
    let start = START.parse().unwrap();
    let found = values(&FeatureState::new(), &plan, &market, start);
    check(catalog, &found, &recount(catalog, &[], start)).unwrap();
    let of = |name: &str| found[usize::from(catalog.feature(name).unwrap().0)];
    assert_eq!(of("count_one_7d").to_bits(), 0.0_f64.to_bits());
    assert_eq!(of("decayed_days").to_bits(), 0.0_f64.to_bits());
    assert!(of("mean_one_7d").is_nan() && of("attribute").is_nan());
}

#[test]
fn a_row_holds_the_features_of_the_model_in_its_order() {
    let catalog = catalog();
    let (plan, market) = (Plan::compile(catalog), market(catalog));
    let as_of = START.parse().unwrap();
    let kind = catalog.event("VIEWED").unwrap();
    let view = Behaviour { kind, occurred_at: as_of, fields: smallvec![0.25, 1.0] };
    let state = fold(&plan, &[view.clone(), view]);
    let model = catalog.model("M").unwrap();
    let row = state.row(&plan, model, &Moment { as_of, market: &market, market_revision: 1 });
    assert_eq!(*row, [2.0 * 2.0 + 0.25 + 3.5 - 1.0, 2.0, 0.25]);
    let unknown = state.row(&plan, model, &Moment { as_of, market: &market, market_revision: 0 });
    assert!(unknown[0].is_nan() && !unknown[1].is_nan());
}

/// 100,000 users are held in 1 GiB beside their actors, and each takes at most 400 bytes on disk (DESIGN 8).
#[test]
fn a_user_of_twenty_events_is_small() {
    const USERS: usize = 200;
    let text = include_str!("../fixtures/catalog/forty.toml");
    let catalog = Catalog::load(text, "forty.toml").unwrap();
    let plan = Plan::compile(&catalog);
    let start = START.parse::<Timestamp>().unwrap().millis();
    let (mut held, mut held_max, mut written) = (0, 0, 0);
    for user in 0..USERS {
        let mut state = FeatureState::new();
        for nth in 0..20 {
            // Every type but the market's, spread over 90 days, each value another.
            let kind = intentd::domain::catalog::EventIx(((user * 7 + nth * 5) % 11) as u16);
            let fields = catalog.events[usize::from(kind.0)].fields.iter();
            let fields =
                fields.zip(1..).map(|(_, field)| (user * 1_000 + nth * 10 + field) as f64 * 1.5).collect();
            let occurred_at = Timestamp::from_millis(start + nth as i64 * 4 * DAY_MS + user as i64 * HOUR_MS);
            state.apply(&plan, &Behaviour { kind, occurred_at, fields });
        }
        let bytes = size_of::<FeatureState>() + state.heap_bytes();
        held += bytes;
        held_max = held_max.max(bytes);
        written += postcard::to_allocvec(&state).unwrap().len();
    }
    println!("held {} bytes a user (at most {held_max}), written {}", held / USERS, written / USERS);
    assert!(held_max <= 1_024, "a user of 20 events takes {held_max} bytes");
    assert!(written / USERS <= 400, "a user of 20 events takes {} bytes on disk", written / USERS);
}
