//! Wire types: what JSON bodies look like, apart from the domain's types so that either can change alone.
//!
//! Law: names are camelCase, enum values SCREAMING_SNAKE; a field that may be missing in the domain is `null` on the wire
//! and always there; an unknown member of a request is refused. Read by the resources and by [`super::openapi`].

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

mod alert;
mod live;
mod models;
mod parked;
mod performance;
mod request;
mod stats;
mod user;

pub(super) use alert::{Alert, AlertDetail, Cause, Contribution, SignalRef};
pub(super) use models::{
    Model, ModelFact, ModelReload, Models, Reasoned, Reload, Reloads, RollBack, VersionWanted,
};
pub(super) use parked::Parked;
pub(super) use performance::Performance;
pub(super) use request::{
    AlertFilters, Events, NewConversion, NewOutcome, ProcessSignals, ScoreUser, ScoreUsers, StatusChange,
    check_models, known_model,
};
pub(super) use stats::{Budgets, Stats};
pub(super) use user::{Accepted, Processed, Scores, ScoresOfMany, Signal, User};

macro_rules! mirror {
    ($(#[$doc:meta])* $name:ident = $domain:path { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        pub(super) enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// Every value.
            pub(super) const ALL: &[Self] = &[$(Self::$variant),*];

            /// The value's name on the wire.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value of a name; the message lists all names when there is none.
            pub(super) fn parse(text: &str) -> Result<$domain, String> {
                let names = || Self::ALL.iter().map(|value| value.name()).collect::<Vec<_>>().join(", ");
                Self::ALL
                    .iter()
                    .find(|value| value.name() == text)
                    .map(|value| (*value).into())
                    .ok_or_else(|| format!("must be one of {}", names()))
            }
        }

        impl From<$domain> for $name {
            fn from(value: $domain) -> Self {
                match value { $(<$domain>::$variant => Self::$variant,)* }
            }
        }

        impl From<$name> for $domain {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => Self::$variant,)* }
            }
        }
    };
}

mirror! {
    /// Where an alert is in its life.
    Status = crate::domain::alert::Status {
        /// Nobody has taken it up.
        Pending = "PENDING",
        /// Somebody has seen it.
        Acknowledged = "ACKNOWLEDGED",
        /// Somebody works on it.
        InProgress = "IN_PROGRESS",
        /// Put off until a time or a higher score.
        Snoozed = "SNOOZED",
        /// The user converted. An end.
        Converted = "CONVERTED",
        /// Judged not worth it. An end.
        Dismissed = "DISMISSED",
        /// The model's horizon passed. An end.
        Expired = "EXPIRED",
    }
}

mirror! {
    /// How urgent an alert is.
    Priority = crate::domain::policy::Priority {
        /// Now.
        Critical = "CRITICAL",
        /// Today.
        High = "HIGH",
        /// Soon.
        Medium = "MEDIUM",
        /// Worth a look.
        Low = "LOW",
    }
}

mirror! {
    /// What really happened to the person an alert was about.
    Outcome = crate::domain::alert::Outcome {
        /// The alert was right.
        TruePositive = "TRUE_POSITIVE",
        /// The alert was wrong.
        FalsePositive = "FALSE_POSITIVE",
        /// Not known (yet).
        Unknown = "UNKNOWN",
    }
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page<T> {
    /// The items.
    pub(super) items: Vec<T>,
    /// Give it as `cursor` to read on; null at the end.
    pub(super) next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of the projection, in wire types.
    pub(super) fn of<S: Into<T>>(listed: crate::projection::Listed<S>) -> Self {
        Self { items: listed.items.into_iter().map(Into::into).collect(), next_cursor: listed.next_cursor }
    }
}
