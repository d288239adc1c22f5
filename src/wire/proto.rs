//! The messages and calls of the protocol, generated from the files in `proto/` by `make wire-proto`.
//!
//! Law: nothing in `proto/generated/` is written by hand. Read by all of [`super`], and by tests as a client.
#![expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    clippy::too_many_lines,
    reason = "generated; proto/*.proto says what each is"
)]

/// `event_store`.
pub mod event_store {
    /// `event_store.client`: what the others share.
    pub mod client {
        include!("proto/generated/event_store.client.in");

        /// `event_store.client.streams`.
        pub mod streams {
            include!("proto/generated/event_store.client.streams.in");
        }
        /// `event_store.client.gossip`.
        pub mod gossip {
            include!("proto/generated/event_store.client.gossip.in");
        }
        /// `event_store.client.persistent_subscriptions`.
        pub mod persistent_subscriptions {
            include!("proto/generated/event_store.client.persistent_subscriptions.in");
        }
        /// `event_store.client.server_features`.
        pub mod server_features {
            include!("proto/generated/event_store.client.server_features.in");
        }
    }
}

/// `google`.
pub mod google {
    /// `google.rpc`.
    pub mod rpc {
        include!("proto/generated/google.rpc.in");
    }
}
