//! The projection in one SQLite file.
