//! The fields of one event, as the shipped catalogue has them; what the sender leaves out is missing, as in life.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::hidden::{Intent, Stage};
use super::kind::Kind;
use super::line::{Datum, Fields, Focus};
use super::person::{Person, Sender};

/// Fields by name.
macro_rules! fields {
    ($($name:ident: $datum:expr),*) => {
        [$((stringify!($name), $datum)),*].into_iter().collect::<Fields>()
    };
}

const TOPICS: [&str; 5] = ["SELL", "BUY", "REFINANCE", "INVEST", "NEWS"];
const HOMES: [&str; 5] = ["HOUSE", "CONDO", "TOWNHOUSE", "MULTI_FAMILY", "LAND"];
/// Homes that somebody who means it keeps coming back to.
const SHORTLIST: u32 = 6;
/// Chance that a field is missing whoever sends it.
const LOST: f64 = 0.02;

/// The fields of an event of a person, the market being at `rate`.
pub(crate) fn of(kind: Kind, person: &Person, focus: Focus, rate: f64, rng: &mut ChaCha8Rng) -> Fields {
    let mut found = whole(kind, person, focus, rate, rng);
    found.retain(|(name, _)| {
        is_required(kind, name) || !(rng.random_bool(LOST) || left_out(person.sender, name))
    });
    found
}

fn is_required(kind: Kind, name: &str) -> bool {
    match name {
        "listingId" | "balance" | "estimate" => true,
        "price" => kind == Kind::ListingViewed,
        "amount" => kind == Kind::MortgageCalculated,
        "rate" => matches!(kind, Kind::RateAlertSet | Kind::MortgageReported),
        _ => false,
    }
}

fn left_out(sender: Sender, name: &str) -> bool {
    match sender {
        Sender::Full => false,
        Sender::OldApp => matches!(name, "dwellSeconds" | "monthlySaving" | "netProceeds" | "propertyType"),
        Sender::Partner => matches!(name, "topic" | "location" | "agentId"),
    }
}

fn whole(kind: Kind, person: &Person, focus: Focus, rate: f64, rng: &mut ChaCha8Rng) -> Fields {
    let near = Datum::Number(person.budget * (0.7 + 0.6 * rng.random::<f64>()), 0);
    let dwell = Datum::Number(-60.0 * (1.0 - rng.random::<f64>()).ln(), 1);
    match kind {
        Kind::ListingViewed => {
            let home = Datum::Word(home(focus, rng));
            fields![listingId: listing(person, focus, rng), price: near, dwellSeconds: dwell, propertyType: home]
        }
        Kind::ListingSaved | Kind::TourRequested | Kind::OpenHouseRegistered => {
            fields![listingId: listing(person, focus, rng), price: near]
        }
        Kind::ListingShared => fields![listingId: listing(person, focus, rng)],
        Kind::SearchPerformed => {
            let home = Datum::Word(home(focus, rng));
            fields![location: location(person, focus, rng), maxPrice: near, propertyType: home]
        }
        Kind::SearchSaved => fields![location: location(person, focus, rng), maxPrice: near],
        Kind::NeighborhoodViewed => fields![location: location(person, focus, rng), dwellSeconds: dwell],
        Kind::EmailOpened | Kind::EmailClicked | Kind::AgentContacted => {
            let mut found = fields![topic: Datum::Word(topic(focus, rng))];
            if kind == Kind::AgentContacted {
                found.push(("agentId", agent(person, rng)));
            }
            found
        }
        Kind::ArticleRead => fields![topic: Datum::Word(topic(focus, rng)), dwellSeconds: dwell],
        Kind::SessionStarted => {
            let channel = if rng.random_bool(0.6) { "APP" } else { "WEB" };
            fields![channel: Datum::Word(channel)]
        }
        Kind::AgentProfileViewed | Kind::MessageSent => fields![agentId: agent(person, rng)],
        Kind::CallCompleted => {
            fields![agentId: agent(person, rng), minutes: Datum::Number(1.0 + 20.0 * rng.random::<f64>(), 1)]
        }
        Kind::HomeValueChecked
        | Kind::ValuationReportViewed
        | Kind::SaleComparablesViewed
        | Kind::SellingCostCalculated
        | Kind::ListingDraftStarted
        | Kind::HomeClaimed => home_fields(kind, person, near, dwell, rng),
        Kind::MortgageCalculated
        | Kind::AffordabilityCalculated
        | Kind::RefinanceCalculated
        | Kind::RateAlertSet
        | Kind::PreapprovalStarted
        | Kind::MortgageReported
        | Kind::RentalYieldViewed
        | Kind::InvestmentCalculated => money_fields(kind, person, near, rate, rng),
        Kind::MortgageRatePublished
        | Kind::HomePriceIndexPublished
        | Kind::RentIndexPublished
        | Kind::Conversion => Fields::new(),
    }
}

/// The fields of events about the home somebody has.
fn home_fields(kind: Kind, person: &Person, near: Datum, dwell: Datum, rng: &mut ChaCha8Rng) -> Fields {
    if kind == Kind::HomeValueChecked {
        fields![estimate: near]
    } else if kind == Kind::ValuationReportViewed {
        fields![dwellSeconds: dwell]
    } else if kind == Kind::SaleComparablesViewed {
        fields![comparables: Datum::Number(rng.random_range(1..20).into(), 0)]
    } else if kind == Kind::SellingCostCalculated {
        fields![salePrice: near, netProceeds: Datum::Number(person.budget * (0.93 - person.debt_share), 0)]
    } else if kind == Kind::ListingDraftStarted {
        fields![askingPrice: near]
    } else {
        let year = (2026.0 - person.years_owned).floor();
        fields![purchaseYear: Datum::Number(year, 0), purchasePrice: Datum::Number(person.budget * 0.8, 0)]
    }
}

/// The fields of events about loans and returns.
fn money_fields(kind: Kind, person: &Person, near: Datum, rate: f64, rng: &mut ChaCha8Rng) -> Fields {
    let amount = Datum::Number(person.budget * 0.8, 0);
    let owed = person.budget * person.debt_share;
    if kind == Kind::MortgageCalculated {
        fields![amount: amount, rate: Datum::Number(rate, 3)]
    } else if kind == Kind::PreapprovalStarted {
        fields![amount: amount]
    } else if kind == Kind::AffordabilityCalculated {
        fields![income: Datum::Number(person.budget / 4.0, 0)]
    } else if kind == Kind::RefinanceCalculated {
        let saving = owed * (person.mortgage_rate - rate) / 1_200.0;
        fields![
            currentRate: Datum::Number(person.mortgage_rate, 3),
            newRate: Datum::Number(rate, 3),
            monthlySaving: Datum::Number(saving * (0.9 + 0.2 * rng.random::<f64>()), 0)
        ]
    } else if kind == Kind::RateAlertSet {
        fields![rate: Datum::Number((rate - 0.5).max(0.5), 3)]
    } else if kind == Kind::MortgageReported {
        fields![
            balance: Datum::Number(owed, 0),
            rate: Datum::Number(person.mortgage_rate, 3),
            homeValue: Datum::Number(person.budget, 0)
        ]
    } else if kind == Kind::RentalYieldViewed {
        fields![location: location(person, None, rng), yield: Datum::Number(2.0 + 6.0 * rng.random::<f64>(), 2)]
    } else {
        fields![price: near, rent: Datum::Number(person.budget * 0.004, 0)]
    }
}

/// Whether the session is past looking around.
fn is_settled(focus: Focus) -> bool {
    focus.is_some_and(|(_, stage)| stage != Stage::Curious)
}

fn listing(person: &Person, focus: Focus, rng: &mut ChaCha8Rng) -> Datum {
    let is_buying = focus.is_some_and(|(intent, _)| matches!(intent, Intent::Buy | Intent::Invest));
    if is_buying && is_settled(focus) && rng.random_bool(0.45) {
        return Datum::Tag("L", person.zip * 100 % 50_000 + rng.random_range(0..SHORTLIST));
    }
    Datum::Tag("L", rng.random_range(0..50_000))
}

fn location(person: &Person, focus: Focus, rng: &mut ChaCha8Rng) -> Datum {
    Datum::Tag("", person.zip + rng.random_range(0..if is_settled(focus) { 2 } else { 5 }))
}

fn agent(person: &Person, rng: &mut ChaCha8Rng) -> Datum {
    Datum::Tag("A", person.zip % 40 * 10 + rng.random_range(0..8))
}

fn home(focus: Focus, rng: &mut ChaCha8Rng) -> &'static str {
    match focus {
        Some((Intent::Invest, _)) if rng.random_bool(0.4) => "MULTI_FAMILY",
        _ => one_of(&HOMES, rng),
    }
}

fn topic(focus: Focus, rng: &mut ChaCha8Rng) -> &'static str {
    let meant = focus.map(|(intent, _)| match intent {
        Intent::Sell => "SELL",
        Intent::Buy => "BUY",
        Intent::Refinance => "REFINANCE",
        Intent::Invest => "INVEST",
    });
    match meant {
        Some(word) if rng.random_bool(0.75) => word,
        _ => one_of(&TOPICS, rng),
    }
}

fn one_of(words: &[&'static str; 5], rng: &mut ChaCha8Rng) -> &'static str {
    words.get(rng.random_range(0..5)).copied().unwrap_or("NEWS")
}
