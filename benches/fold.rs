//! How fast the fold alone is, and how much memory users take: 2,000,000 events of 100,000 users in time order, over 40
//! features. Prints one line per figure. `cargo bench --bench fold [events] [users]`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench fails by panicking and answers on standard output"
)]

use std::hint::black_box;
use std::time::Instant;

use intentd::domain::catalog::{Catalog, EventIx, FieldKind};
use intentd::domain::event::{Behaviour, Fields, Position};
use intentd::domain::features::{FeatureState, Moment};
use intentd::domain::market::Market;
use intentd::domain::plan::Plan;
use intentd::domain::time::{DAY_MS, Timestamp};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CATALOG: &str = include_str!("../tests/fixtures/catalog/forty.toml");
/// 2026-01-01.
const START_MS: i64 = 1_767_225_600_000;
/// How long the log is.
const DAYS: i64 = 90;

/// A small generator of its own (splitmix64): the same log in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

fn field(kind: &FieldKind, dice: &mut Dice) -> f64 {
    match kind {
        FieldKind::Number { .. } => dice.roll(1_000_000) as f64 / 8.0,
        FieldKind::Text { .. } | FieldKind::Choice { .. } | FieldKind::Flag => dice.roll(5_000) as f64,
    }
}

/// Events in time order, each with its user: a third are listing views, users are equally busy.
fn log(catalog: &Catalog, events: usize, users: u64) -> Vec<(u32, Behaviour)> {
    let mut dice = Dice(7);
    let kinds: Vec<u16> = (0..catalog.events.len() as u16)
        .filter(|kind| catalog.events[usize::from(*kind)].market.is_none())
        .flat_map(|kind| {
            vec![kind; if catalog.events[usize::from(kind)].name == "LISTING_VIEWED" { 5 } else { 1 }]
        })
        .collect();
    let step_ms = DAYS * DAY_MS / events as i64;
    (0..events)
        .map(|nth| {
            let kind = kinds[dice.roll(kinds.len() as u64) as usize];
            let spec = &catalog.events[usize::from(kind)];
            let fields: Fields = spec.fields.iter().map(|spec| field(&spec.kind, &mut dice)).collect();
            let occurred_at = Timestamp::from_millis(START_MS + nth as i64 * step_ms);
            (dice.roll(users) as u32, Behaviour { kind: EventIx(kind), occurred_at, fields })
        })
        .collect()
}

fn market(catalog: &Catalog) -> Market {
    let kind = catalog.event("RATE_PUBLISHED").unwrap();
    let days = (0..DAYS as u64).map(|day| {
        let occurred_at = Timestamp::from_millis(START_MS + day as i64 * DAY_MS);
        (Position(day), Behaviour { kind, occurred_at, fields: Fields::from_slice(&[day as f64]) })
    });
    Market::new(days.collect())
}

fn report(what: &str, events: usize, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    let (rate, each) = (events as f64 / seconds, seconds * 1e9 / events as f64);
    println!("{what:<44} {rate:>12.0} events/s {each:>8.0} ns/event");
}

fn main() {
    let mut sizes = std::env::args().skip(1).filter_map(|word| word.parse::<usize>().ok());
    let (events, users) = (sizes.next().unwrap_or(2_000_000), sizes.next().unwrap_or(100_000));
    let catalog = Catalog::load(CATALOG, "forty.toml").expect("the catalogue of the bench is sound");
    let (plan, market) = (Plan::compile(&catalog), market(&catalog));
    let model = catalog.model("M").unwrap();
    let log = log(&catalog, events, users as u64);

    let mut states = vec![FeatureState::new(); users];
    let began = Instant::now();
    for (user, event) in &log {
        states[*user as usize].apply(&plan, event);
    }
    report("fold", events, began);

    let heap: usize = states.iter().map(FeatureState::heap_bytes).sum();
    let written: usize = states.iter().map(|state| postcard::to_allocvec(state).unwrap().len()).sum();
    println!("{:<44} {:>12} bytes/user", "held (heap)", heap / users);
    println!("{:<44} {:>12} bytes/user", "written (snapshot)", written / users);

    let mut states = vec![FeatureState::new(); users];
    let mut out = vec![f64::NAN; plan.features()];
    let wanted = plan.closed(&catalog.models[0].features);
    let began = Instant::now();
    for (user, event) in &log {
        let state = &mut states[*user as usize];
        state.apply(&plan, event);
        let moment = Moment { as_of: event.occurred_at, market: &market, market_revision: DAYS as u64 };
        state.values(&plan, &wanted, &moment, &mut out);
        black_box(&out);
    }
    report(&format!("fold and read {} features", wanted.len()), events, began);

    let all = plan.all();
    let began = Instant::now();
    for state in &states {
        let as_of = state.clock().unwrap_or_default();
        state.values(&plan, &all, &Moment { as_of, market: &market, market_revision: 90 }, &mut out);
        black_box(&out);
    }
    report("read all 40 features (per user)", users, began);

    let began = Instant::now();
    for state in &states {
        let as_of = state.clock().unwrap_or_default();
        black_box(state.row(&plan, model, &Moment { as_of, market: &market, market_revision: 90 }));
    }
    report("row of a model of 10 features (per user)", users, began);
}
