//! Sets up tracing and the Prometheus recorder.
