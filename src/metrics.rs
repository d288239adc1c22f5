//! Every metric: name, unit, help and one emit function each; the only user of the `metrics` crate.
//!
//! Law: no user id and nothing from a request body ever becomes a label value; label values come from closed sets
//! (stages, routes, catalogue names). Emit once per batch, not per event.

use std::time::Duration;

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric as the table below names it.
struct Definition {
    name: &'static str,
    kind: Kind,
    unit: Unit,
    help: &'static str,
}

/// Seconds from 10 µs (one fold) to 100 s (a slow recovery), about three per decade.
const SECONDS: &[f64] =
    &[1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 100.0];

macro_rules! metric {
    (counter $function:ident, $name:literal, $unit:ident, $help:literal $(, $label:ident)*) => {
        #[doc = $help]
        #[expect(clippy::disallowed_macros, reason = "the one place that emits")]
        pub fn $function($($label: &str,)* count: u64) {
            metrics::counter!($name $(, stringify!($label) => $label.to_owned())*).increment(count);
        }
    };
    (gauge $function:ident, $name:literal, $unit:ident, $help:literal $(, $label:ident)*) => {
        #[doc = $help]
        #[expect(clippy::disallowed_macros, reason = "the one place that emits")]
        pub fn $function($($label: &str,)* value: f64) {
            metrics::gauge!($name $(, stringify!($label) => $label.to_owned())*).set(value);
        }
    };
    (histogram $function:ident, $name:literal, $unit:ident, $help:literal $(, $label:ident)*) => {
        #[doc = $help]
        #[expect(clippy::disallowed_macros, reason = "the one place that emits")]
        pub fn $function($($label: &str,)* took: Duration) {
            metrics::histogram!($name $(, stringify!($label) => $label.to_owned())*).record(took.as_secs_f64());
        }
    };
    (@kind counter) => { Kind::Counter };
    (@kind gauge) => { Kind::Gauge };
    (@kind histogram) => { Kind::Histogram };
}

macro_rules! metrics_table {
    ($($kind:ident $function:ident, $name:literal, $unit:ident, $help:literal $(, $label:ident)*;)*) => {
        $(metric!($kind $function, $name, $unit, $help $(, $label)*);)*

        /// Every metric there is.
        const ALL: &[Definition] = &[$(Definition {
            name: $name,
            kind: metric!(@kind $kind),
            unit: Unit::$unit,
            help: $help,
        }),*];
    };
}

metrics_table! {
    gauge build_info, "intentd_build_info", Count, "Always 1; the labels name the running build.", version, commit;
    gauge ready, "intentd_ready", Count, "1 when the component is ready, else 0.", component;
    gauge degraded, "intentd_degraded", Count, "1 while the model cannot score, else 0.", model;

    counter stage_events, "intentd_stage_events_total", Count, "Events that passed a stage.", stage;
    counter stage_errors, "intentd_stage_errors_total", Count, "Failures of a stage, by kind.", stage, kind;
    histogram stage_duration, "intentd_stage_duration_seconds", Seconds, "Time that a stage took for one batch.", stage;

    gauge bound_used, "intentd_bound_used_ratio", Count, "How full a bound is, 0 to 1.", bound;
    gauge bound_limit, "intentd_bound_limit", Count, "The limit of a bound, in its own unit.", bound;

    counter ingest_duplicates, "intentd_ingest_duplicates_total", Count, "Events that the log held already.";
    counter ingest_refused, "intentd_ingest_refused_total", Count, "Requests refused because of bad events.";
    counter events_unknown, "intentd_events_unknown_total", Count, "Events of a type that the catalogue does not know.";
    counter events_parked, "intentd_events_parked_total", Count, "Events put aside because they could not be folded.";

    gauge feed_lag, "intentd_feed_lag_events", Count, "Events read from the log and not yet settled.";
    gauge feed_behind, "intentd_feed_behind_positions", Count, "Positions between the end of the log and the checkpoint.";
    gauge projection_behind, "intentd_projection_behind_positions", Count,
        "Positions between the end of the log and the projection.";
    gauge lag, "intentd_lag_seconds", Seconds, "How long a reader of the log has been behind its end.", reader;
    gauge log_clock, "intentd_log_clock_seconds", Seconds, "The log's clock: largest event time seen, seconds since 1970.";

    gauge users_resident, "intentd_users_resident", Count, "Users in memory.";
    counter users_recovered, "intentd_users_recovered_total", Count, "Users brought to memory from the log.";
    counter users_passivated, "intentd_users_passivated_total", Count, "Users put out of memory, by reason.", reason;
    counter users_restarted, "intentd_users_restarted_total", Count, "User actors that began again from the log: after a failure, or as asked.", reason;
    gauge shard_info, "intentd_shard_info", Count, "Always 1; the labels name whose users are folded here.", index, count;
    counter fenced, "intentd_fenced_total", Count,
        "Appends of decisions that met what another instance wrote, by what stood there.", found;
    counter snapshots, "intentd_snapshots_total", Count, "Snapshots, by what became of them.", result;

    counter signals, "intentd_signals_total", Count, "Signals detected.", signal;
    counter model_changes, "intentd_model_changes_total", Count, "Changes of what serves or runs in shadow, by kind.", model, change;
    counter challenger_rows, "intentd_challenger_rows_total", Count, "Rows for versions in shadow, by what became of them.", result;
    counter scores, "intentd_scores_total", Count, "Rows scored, by result.", model, result;
    counter alerts, "intentd_alerts_total", Count, "Alerts opened.", model, priority;
    counter alerts_escalated, "intentd_alerts_escalated_total", Count, "Alerts raised to a higher band.", model, priority;
    counter alert_moves, "intentd_alert_moves_total", Count, "Alerts moved along their life.", status;
    counter outcomes, "intentd_outcomes_total", Count, "Outcomes recorded.", outcome;

    gauge model_scores_watched, "intentd_model_scores_watched", Count,
        "Scores of the serving version in the window of drift; it begins anew with the daemon.", model;
    gauge model_score_psi, "intentd_model_score_psi", Count,
        "Drift of calibrated scores against training (population stability index); NaN while it cannot be told.", model;
    gauge model_feature_psi, "intentd_model_feature_psi", Count,
        "Drift of a feature against training (population stability index); NaN while it cannot be told.", model, feature;
    gauge model_feature_missing, "intentd_model_feature_missing_ratio", Count,
        "Share of scored rows in which the feature was missing; NaN without rows.", model, feature;
    gauge model_calibration_error, "intentd_model_calibration_error", Count,
        "Expected calibration error of the newest version over its mature recorded scores; NaN without any.", model;
    gauge model_labels, "intentd_model_labels_mature", Count,
        "Recorded scores of the newest version whose label is known.", model;
    gauge model_alert_rate, "intentd_model_alert_rate_projected", Count,
        "Alerts per user and year at the pace of recent days; NaN with less than a day of log.", model;
    gauge model_alert_budget, "intentd_model_alert_budget", Count, "Alerts per user and year that the catalogue allows.", model;

    gauge store_available, "intentd_store_available", Count, "1 when the store takes appends, else 0.";
    counter store_bytes, "intentd_store_written_bytes_total", Bytes, "Bytes written to the log.";

    counter http_requests, "intentd_http_requests_total", Count, "HTTP requests answered.", route, method, status;
    histogram http_duration, "intentd_http_request_duration_seconds", Seconds, "Time to answer a request.", route;
    gauge http_connections, "intentd_http_connections", Count, "Open HTTP connections.";
    gauge wire_connections, "intentd_wire_connections", Count, "Open connections of the KurrentDB protocol.";
    gauge wire_subscriptions, "intentd_wire_subscriptions", Count, "Running subscriptions of the KurrentDB protocol.";
    counter wire_calls, "intentd_wire_calls_total", Count, "Calls of the KurrentDB protocol.", call;
    counter wire_events, "intentd_wire_events_total", Count, "Messages told and events appended over the KurrentDB protocol.", way;
    counter wire_cut, "intentd_wire_cut_total", Count, "Readers of the KurrentDB protocol cut off because they were too slow.";
    gauge stream_clients, "intentd_stream_clients", Count, "Open event streams.";
}

/// Installs the process-wide recorder and describes every metric. Call once.
///
/// # Errors
/// Another recorder is installed.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.unit, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.unit, metric.help),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.unit, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for metric in ALL {
            assert!(metric.name.starts_with("intentd_"), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(!metric.help.is_empty());
        }
        let mut names: Vec<_> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
