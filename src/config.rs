//! Configuration: composes each module's own options; unknown keys are refused; all faults are listed at once.
