//! Every metric: name, unit, help, buckets, and one emit function each; the only user of the metrics crate.
