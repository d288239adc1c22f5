//! The composition root: builds adapters and actors, starts and stops them in order.
