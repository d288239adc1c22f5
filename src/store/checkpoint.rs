//! Checkpoints: how far a reader of `$all` has come. Local, derived, good only with the store they came from.
