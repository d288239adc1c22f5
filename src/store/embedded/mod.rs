//! The default store: one directory, one process, durable before acknowledged.
