//! The manifest of a model folder, checked against the catalogue.
