//! The store for tests and simulation, with fault hooks.
