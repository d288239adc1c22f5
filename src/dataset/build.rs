//! Replays the log through the entity that serves, and keeps the rows it would have scored.
