//! The truth behind a simulated log: every person's hidden hazard of converting, as pieces with a constant hazard a day.
//!
//! One JSON object per line: `{"userId","model","from","to","hazardPerDay","convertedAt"?}`. The pieces of a user and model
//! add up; a user and model without a piece never converts. A piece with `convertedAt` is void for moments at or after that
//! time (the user has converted), and counts whole for moments before it, as if it were not known yet. So at a moment t
//! before `convertedAt`, with H the model's horizon:
//!
//! ```text
//! P(conversion in (t, t + H]) = 1 - exp(-sum over pieces of hazardPerDay * days of [from, to) within (t, t + H])
//! ```
//!
//! Law: pieces end with the log, so this holds for windows that do too: mature moments, which are what training reads. The
//! reader is models/train/truth.py.

use std::io::{self, Write};

use serde::Serialize;

use super::hidden::Hidden;
use super::line::user_id;
use super::population::{Life, World};
use super::{Options, world};
use crate::domain::time::Timestamp;

/// One line of the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Piece {
    /// Who.
    pub user_id: String,
    /// Whose conversion.
    pub model: &'static str,
    /// From when on.
    pub from: Timestamp,
    /// Before when.
    pub to: Timestamp,
    /// Conversions a day.
    pub hazard_per_day: f64,
    /// When the user converted for this model, if at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub converted_at: Option<Timestamp>,
}

/// Every piece, by user and model.
pub fn pieces(options: &Options) -> impl Iterator<Item = Piece> {
    let world = world(options);
    let options = options.clone();
    (0..options.users).flat_map(move |user| {
        let life = Life::draw(&options, user, &world);
        let found: Vec<Piece> = life.hidden.iter().flat_map(|hidden| of(user, hidden, &world)).collect();
        found
    })
}

/// Writes every piece, a line each; answers their number.
///
/// # Errors
/// The writer's own.
pub fn write(options: &Options, mut out: impl Write) -> io::Result<u64> {
    let mut written = 0;
    for piece in pieces(options) {
        serde_json::to_writer(&mut out, &piece)?;
        out.write_all(b"\n")?;
        written += 1;
    }
    out.flush()?;
    Ok(written)
}

fn of<'a>(user: u32, hidden: &'a Hidden, world: &'a World) -> impl Iterator<Item = Piece> + 'a {
    hidden.pieces.iter().filter(|piece| piece.per_day > 0.0).map(move |piece| Piece {
        user_id: user_id(user),
        model: hidden.intent.model_type(),
        from: world.span.at(piece.from),
        to: world.span.at(piece.to),
        hazard_per_day: piece.per_day,
        converted_at: hidden.converted.map(|day| world.span.at(day)),
    })
}
