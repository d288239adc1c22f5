//! Which versions serve, as the log says.
//!
//! Law: the newest activation or rollback counts; a model without one is not named. Called by `intentd backtest`.

use std::collections::BTreeMap;

use crate::domain::catalog::Catalog;
use crate::domain::codec::decode_model_event;
use crate::domain::id::stream;
use crate::domain::model::ModelRecord;
use crate::store::{Direction, Error, EventStore};

/// Facts of one page.
const PAGE: usize = 500;

/// The serving version by model.
///
/// # Errors
/// The log cannot be read.
pub async fn serving(store: &dyn EventStore, catalog: &Catalog) -> Result<BTreeMap<String, String>, Error> {
    let mut found = BTreeMap::new();
    for spec in &catalog.models {
        let (name, mut record, mut next) = (stream::model(&spec.name), ModelRecord::default(), Some(0));
        while let Some(from) = next {
            let page = store.read_stream(&name, Some(from), Direction::Forwards, PAGE).await?;
            for recorded in &page.events {
                // One that cannot be read the daemon passes over too, and says so.
                let event = decode_model_event(&recorded.event_type, &recorded.data).ok().flatten();
                record.apply(event.as_ref());
            }
            next = page.next;
        }
        found.extend(record.serving().map(|made| (spec.name.clone(), made.version.clone())));
    }
    Ok(found)
}
