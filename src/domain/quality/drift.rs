//! How far a distribution has moved: bins fixed at training, counts now, and the population stability index between them.
//!
//! Law: a value's bin is the number of edges at or below it (numpy: `searchsorted(edges, value, side="right")`), a missing
//! value has a bin of its own. Called by the live watch for every score, so placing a value has no branches.

/// Most inner edges of one distribution. Trainers write nine (ten bins).
pub const EDGES_MAX: usize = 32;
/// With fewer rows the index says more about chance than about drift: without any drift its mean is about
/// (bins − 1) / rows (Yurdakul & Naranjo 2020), 0.05 with ten bins and 200 rows.
pub const ROWS_MIN: u64 = 200;
/// A bin that has nobody counts as this share: the logarithm of nothing is no number, and 0.0001 is what practice takes.
const SHARE_MIN: f64 = 1e-4;
/// How far the shares of training may be from adding up to 1: they are written as decimals.
const SUM_TOLERANCE: f64 = 1e-3;

/// Bins that make no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadBins {
    /// More edges than are kept.
    #[error("{edges} edges, at most {EDGES_MAX} are kept")]
    Many {
        /// How many.
        edges: usize,
    },
    /// An edge is not a finite number, or not above the one before it.
    #[error("edge {place} is {found}, which is not a number above the one before it")]
    NotAscending {
        /// From 1.
        place: usize,
        /// What it is.
        found: f32,
    },
    /// Not one share more than edges.
    #[error("{shares} shares for {edges} edges, expected one more than edges")]
    Count {
        /// How many shares.
        shares: usize,
        /// How many edges.
        edges: usize,
    },
    /// A share is not a number from 0 to 1, or all do not add up to 1.
    #[error("the {what} is {found}, expected {expected}")]
    Share {
        /// Which.
        what: &'static str,
        /// What it is.
        found: f64,
        /// What would be right.
        expected: &'static str,
    },
}

/// One distribution as it was at training.
#[derive(Clone, Debug, PartialEq)]
pub struct Bins {
    /// Padded with NaN, which is at or below nothing.
    edges: [f32; EDGES_MAX],
    /// How many are real.
    len: usize,
    /// Per bin the share of all rows; the last is the share of missing values.
    shares: Box<[f64]>,
}

impl Bins {
    /// Bins between `edges`, with the shares of known values in them, and the share of rows whose value was missing.
    ///
    /// # Errors
    /// They make no sense.
    pub fn new(edges: &[f32], shares: &[f64], missing: f64) -> Result<Self, BadBins> {
        let len = edges.len();
        if len > EDGES_MAX {
            return Err(BadBins::Many { edges: len });
        }
        let mut last = f32::NEG_INFINITY;
        for (at, &edge) in edges.iter().enumerate() {
            if !(edge.is_finite() && edge > last) {
                return Err(BadBins::NotAscending { place: at + 1, found: edge });
            }
            last = edge;
        }
        if shares.len() != len + 1 {
            return Err(BadBins::Count { shares: shares.len(), edges: len });
        }
        let is_share = |share: &f64| (0.0..=1.0).contains(share);
        let odd = |what, found| Err(BadBins::Share { what, found, expected: "a number from 0 to 1" });
        if let Some(&found) = shares.iter().find(|share| !is_share(share)) {
            return odd("share", found);
        }
        if !is_share(&missing) {
            return odd("share of missing values", missing);
        }
        let sum: f64 = shares.iter().sum();
        // Where every value was missing, no bin has a share.
        let nothing_known = missing >= 1.0 && sum <= 0.0;
        if !nothing_known && (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(BadBins::Share { what: "sum of the shares", found: sum, expected: "1" });
        }
        let mut padded = [f32::NAN; EDGES_MAX];
        for (place, &edge) in padded.iter_mut().zip(edges) {
            *place = edge;
        }
        let of_rows = shares.iter().map(|share| share * (1.0 - missing)).chain([missing]).collect();
        Ok(Self { edges: padded, len, shares: of_rows })
    }

    /// Bins that only tell known values from missing ones: for features of which training says nothing.
    pub fn unknown() -> Self {
        Self { edges: [f32::NAN; EDGES_MAX], len: 0, shares: [1.0, 0.0].into() }
    }

    /// How many counts it needs: its bins, and one for missing values.
    pub fn places(&self) -> usize {
        self.len + 2
    }

    /// Where a value counts.
    #[inline]
    pub fn place(&self, value: f32) -> usize {
        // Over all lanes, without a branch: the compiler makes vector instructions of it.
        let at_or_below: u32 = self.edges.iter().map(|&edge| u32::from(edge <= value)).sum();
        if value.is_nan() { self.len + 1 } else { at_or_below as usize }
    }

    /// Share of rows per place at training, the missing values last.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }
}

/// The population stability index of counts against shares, both by place (Siddiqi 2006): under 0.1 nothing to speak of,
/// over 0.25 another population. None with fewer than [`ROWS_MIN`] rows.
#[expect(clippy::cast_precision_loss, reason = "counts of rows")]
pub fn psi(trained: &[f64], counts: &[u64]) -> Option<f64> {
    let rows: u64 = counts.iter().sum();
    if rows < ROWS_MIN || trained.len() != counts.len() {
        return None;
    }
    let part = |(&trained, &count): (&f64, &u64)| {
        let (trained, live) = (trained.max(SHARE_MIN), (count as f64 / rows as f64).max(SHARE_MIN));
        (live - trained) * (live / trained).ln()
    };
    Some(trained.iter().zip(counts).map(part).sum())
}
