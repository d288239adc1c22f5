//! Snapshots of user state: local, versioned by catalogue and store, derived; a mismatch means rebuild from the log.
