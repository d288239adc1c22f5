//! The shell: feeds the pure entities and performs their effects.
