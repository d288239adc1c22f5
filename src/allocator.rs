//! How our programs' allocator, mimalloc, treats memory that was freed.
//!
//! Law: an operator's `MIMALLOC_PURGE_DELAY` wins. Called by `main` and the benches before anything else.

use std::ffi::c_long;

use libmimalloc_sys::mi_option_t;

/// The option `purge_delay` in `mi_option_t` of mimalloc 3; the binding has no name for it.
const PURGE_DELAY: mi_option_t = 15;

/// Freed memory goes back to the system after so long, in milliseconds. 10 s: the batches of an import come and go several
/// times a second, and after mimalloc's 1 s they had given back, and were given anew, 120,000 pages in 2 M events: 2 s of
/// system time, measured in a virtual machine.
const KEPT_MS: c_long = 10_000;

/// Keeps freed memory long enough for the next batch to use it.
pub fn keep_freed_memory() {
    #[expect(unsafe_code, reason = "a C function without pointers: it sets a number, whenever it is called")]
    // SAFETY: see the reason above; the number is that of an option, which a test holds.
    unsafe {
        libmimalloc_sys::mi_option_set_default(PURGE_DELAY, KEPT_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "reads a number")]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: a C function without pointers.
        let value = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(value(), 1_000, "mimalloc's default");
        keep_freed_memory();
        assert_eq!(value(), KEPT_MS);
    }
}
