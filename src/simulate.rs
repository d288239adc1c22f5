//! A seeded population whose hidden intents show in behaviour and end in conversions.
