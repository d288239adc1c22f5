//! Which model versions serve.
