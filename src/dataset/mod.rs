//! Training examples, point in time.
