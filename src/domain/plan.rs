//! The catalogue's features as a plan of work: which series an event feeds, which series a feature reads.
//!
//! Law: features over the same sources, filters and field share one series per class and grain, kept as long as the longest
//! of their windows; nothing is kept that no feature reads. Compiled once per catalogue, shared by all users.
//!
//! ```text
//! event ─ kind ─→ groups: one filter each ─→ feeds ─→ series ←─ readers ←─ features
//! ```

use super::catalog::expr::Program;
use super::catalog::{Aggregation, Catalog, EventIx, FeatureIx, FeatureKind, FieldIx, ModelIx, Source, Span};
use super::time::{DAY_MS, HOUR_MS};
use super::window::{Class, Grain, Reach, decay_weights};

/// Ten years: how far back `all` reaches where a series needs a bucket per day (distinct values, active days, streaks,
/// sessions). Counts, sums, extremes and last values over `all` are one cell and really reach over everything.
pub const ALL_DAYS_MAX: i32 = 3_653;

/// Half-lives up to two days decay by hours, longer ones by days: the same border as for windows.
const HOURLY_HALF_LIFE_MS: i64 = 2 * DAY_MS;

/// A compiled catalogue, as the fold needs it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) series: Vec<SeriesPlan>,
    pub(super) readers: Vec<Reader>,
    pub(super) session_gap_ms: i64,
    groups: Vec<Vec<Group>>,
    models: Vec<ModelInput>,
}

/// A series and how long it is kept.
#[derive(Clone, Debug)]
pub(super) struct SeriesPlan {
    pub(super) class: Class,
    pub(super) reach: Reach,
}

/// What an event feeds when its filter holds.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) filter: Option<Program>,
    pub(super) feeds: Vec<Feed>,
}

/// A series that an event feeds, and with what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feed {
    pub(super) series: u16,
    pub(super) operand: Operand,
}

/// The value that an event gives to a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operand {
    /// None: the event itself counts.
    Event,
    /// When it happened, in milliseconds.
    Time,
    /// A field; an event without it is not there for this series.
    Field(FieldIx),
}

/// What a series needs of an event.
#[derive(Clone, Copy)]
enum Need {
    Event,
    Time,
    Field,
}

/// How a feature gets its value.
#[derive(Clone, Debug)]
pub(super) enum Reader {
    /// From a series.
    Series { series: u16, question: Question, reach: Reach },
    /// From the market.
    Market { kind: EventIx, field: FieldIx },
    /// From other features.
    Derived(Program),
}

/// What is asked of a series.
#[derive(Clone, Debug)]
pub(super) enum Question {
    Of(Aggregation),
    Decayed(Box<[f64]>),
}

#[derive(Clone, Debug)]
pub(super) struct ModelInput {
    /// In the model's order.
    pub(super) features: Box<[FeatureIx]>,
    /// With what they derive from, ascending.
    pub(super) closed: Box<[FeatureIx]>,
}

/// What makes two features read the same series.
#[derive(PartialEq)]
struct Key<'a> {
    class: Class,
    grain: Grain,
    strands: Vec<(EventIx, Operand, Option<&'a Program>)>,
}

impl Plan {
    /// The plan of a checked catalogue.
    pub fn compile(catalog: &Catalog) -> Self {
        let mut plan = Self {
            series: Vec::new(),
            readers: Vec::with_capacity(catalog.features.len()),
            session_gap_ms: i64::try_from(catalog.session_gap.as_millis()).unwrap_or(i64::MAX),
            groups: vec![Vec::new(); catalog.events.len()],
            models: Vec::new(),
        };
        let mut keys = Vec::new();
        for feature in &catalog.features {
            let reader = plan.reader(&mut keys, &feature.kind);
            plan.readers.push(reader);
        }
        for (at, key) in keys.iter().enumerate() {
            plan.feed(at, key);
        }
        plan.models = catalog
            .models
            .iter()
            .map(|model| ModelInput {
                features: model.features.clone().into_boxed_slice(),
                closed: plan.closed(&model.features),
            })
            .collect();
        plan
    }

    /// Features and everything they derive from, ascending, as [`super::features::FeatureState::values`] wants them.
    pub fn closed(&self, wanted: &[FeatureIx]) -> Box<[FeatureIx]> {
        let mut closed = vec![false; self.readers.len()];
        let mut open: Vec<u16> = wanted.iter().map(|feature| feature.0).collect();
        while let Some(feature) = open.pop() {
            let Some(seen) = closed.get_mut(usize::from(feature)) else { continue };
            if !std::mem::replace(seen, true)
                && let Some(Reader::Derived(program)) = self.readers.get(usize::from(feature))
            {
                open.extend_from_slice(program.reads());
            }
        }
        (0..).zip(closed).filter(|(_, wanted)| *wanted).map(|(feature, _)| FeatureIx(feature)).collect()
    }

    /// Every feature of the catalogue, ascending.
    pub fn all(&self) -> Box<[FeatureIx]> {
        (0..).zip(&self.readers).map(|(feature, _)| FeatureIx(feature)).collect()
    }

    /// How many features there are: the length of a full vector of values.
    pub fn features(&self) -> usize {
        self.readers.len()
    }

    pub(super) fn model(&self, model: ModelIx) -> Option<&ModelInput> {
        self.models.get(usize::from(model.0))
    }

    pub(super) fn groups(&self, kind: EventIx) -> &[Group] {
        self.groups.get(usize::from(kind.0)).map_or(&[], |groups| groups)
    }

    fn reader<'a>(&mut self, keys: &mut Vec<Key<'a>>, kind: &'a FeatureKind) -> Reader {
        match kind {
            FeatureKind::Aggregate { aggregation, sources, window } => {
                let aggregation = *aggregation;
                let (class, need) = class_of(aggregation);
                let asked = reach_of(aggregation, *window);
                let grain = if class == Class::Latest { Grain::Whole } else { asked.grain };
                let key = Key { class, grain, strands: strands(sources, need) };
                let series = self.series(keys, key, asked.buckets);
                Reader::Series { series, question: Question::Of(aggregation), reach: asked }
            }
            FeatureKind::Attribute { sources } => {
                let reach = Reach { grain: Grain::Whole, buckets: Reach::UNBOUNDED };
                let key =
                    Key { class: Class::Latest, grain: Grain::Whole, strands: strands(sources, Need::Field) };
                let series = self.series(keys, key, reach.buckets);
                Reader::Series { series, question: Question::Of(Aggregation::Last), reach }
            }
            FeatureKind::Decayed { sources, half_life } => {
                let half_life_ms = i64::try_from(half_life.as_millis()).unwrap_or(i64::MAX);
                let (grain, bucket_ms, buckets_max) = if half_life_ms <= HOURLY_HALF_LIFE_MS {
                    (Grain::Hour, HOUR_MS, ALL_DAYS_MAX * 24)
                } else {
                    (Grain::Day, DAY_MS, ALL_DAYS_MAX)
                };
                let buckets_max = usize::try_from(buckets_max).unwrap_or_default();
                let weights = decay_weights(half_life.as_secs_f64() * 1e3 / bucket_ms as f64, buckets_max);
                let buckets = i32::try_from(weights.len()).unwrap_or(i32::MAX);
                let key = Key { class: Class::Counts, grain, strands: strands(sources, Need::Event) };
                let series = self.series(keys, key, buckets);
                Reader::Series {
                    series,
                    question: Question::Decayed(weights),
                    reach: Reach { grain, buckets },
                }
            }
            FeatureKind::Market { kind, field } => Reader::Market { kind: *kind, field: *field },
            FeatureKind::Derived(program) => Reader::Derived(program.clone()),
        }
    }

    /// The series of that key, new or shared, kept for at least so many buckets.
    fn series<'a>(&mut self, keys: &mut Vec<Key<'a>>, key: Key<'a>, buckets: i32) -> u16 {
        let at = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
            let reach = Reach { grain: key.grain, buckets };
            self.series.push(SeriesPlan { class: key.class, reach });
            keys.push(key);
            keys.len() - 1
        });
        if let Some(series) = self.series.get_mut(at) {
            series.reach.buckets = series.reach.buckets.max(buckets);
        }
        u16::try_from(at).unwrap_or(u16::MAX)
    }

    /// Lets the events of a series' sources feed it. Each filter of an event type is evaluated once for all its series.
    fn feed(&mut self, series: usize, key: &Key<'_>) {
        let series = u16::try_from(series).unwrap_or(u16::MAX);
        for (kind, operand, filter) in &key.strands {
            let Some(groups) = self.groups.get_mut(usize::from(kind.0)) else { continue };
            let feed = Feed { series, operand: *operand };
            match groups.iter_mut().find(|group| group.filter.as_ref() == *filter) {
                Some(group) => group.feeds.push(feed),
                None => groups.push(Group { filter: filter.cloned(), feeds: vec![feed] }),
            }
        }
    }
}

/// The sources of a series in an order of their own, since the order they are written in means nothing. A source without
/// the field that the aggregation needs feeds nothing; the catalogue's check refuses it.
fn strands(sources: &[Source], need: Need) -> Vec<(EventIx, Operand, Option<&Program>)> {
    let mut strands: Vec<_> = sources
        .iter()
        .filter_map(|source| {
            let operand = match need {
                Need::Event => Operand::Event,
                Need::Time => Operand::Time,
                Need::Field => Operand::Field(source.field?),
            };
            Some((source.kind, operand, source.filter.as_ref()))
        })
        .collect();
    strands.sort_by_key(|(kind, operand, _)| (*kind, *operand));
    strands
}

/// Which class of series answers, and what it needs of an event.
const fn class_of(aggregation: Aggregation) -> (Class, Need) {
    match aggregation {
        Aggregation::Count | Aggregation::ActiveDays | Aggregation::Streak => (Class::Counts, Need::Event),
        Aggregation::Sum | Aggregation::Mean => (Class::Sums, Need::Field),
        Aggregation::Min => (Class::Min, Need::Field),
        Aggregation::Max => (Class::Max, Need::Field),
        Aggregation::Last => (Class::Latest, Need::Field),
        Aggregation::Distinct => (Class::Symbols, Need::Field),
        Aggregation::DaysSinceLast => (Class::Latest, Need::Event),
        Aggregation::DaysSinceFirst => (Class::Min, Need::Time),
        Aggregation::Sessions => (Class::Sessions, Need::Event),
    }
}

fn reach_of(aggregation: Aggregation, window: Span) -> Reach {
    let buckets = |count: u32| i32::try_from(count).unwrap_or(Reach::UNBOUNDED - 1);
    match window {
        Span::Hours(hours) => Reach { grain: Grain::Hour, buckets: buckets(hours) },
        Span::Days(days) => Reach { grain: Grain::Day, buckets: buckets(days) },
        Span::All => match aggregation {
            Aggregation::Distinct | Aggregation::ActiveDays | Aggregation::Streak | Aggregation::Sessions => {
                Reach { grain: Grain::Day, buckets: ALL_DAYS_MAX }
            }
            Aggregation::Count
            | Aggregation::Sum
            | Aggregation::Mean
            | Aggregation::Min
            | Aggregation::Max
            | Aggregation::Last
            | Aggregation::DaysSinceLast
            | Aggregation::DaysSinceFirst => Reach { grain: Grain::Whole, buckets: Reach::UNBOUNDED },
        },
    }
}
