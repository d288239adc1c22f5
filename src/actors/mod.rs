//! The shell: feeds the pure entities and performs their effects.
//!
//! Law: an actor decodes a message, tells a pure machine, and performs what it says; an `if` about business or protocol
//! belongs in `domain`. Everything is bounded by [`Options`]. Called by `app`, which joins it to the adapters.
//!
//! ```text
//!                        root ── starts in this order, starts again, stops in order
//!    ┌─────────┬──────────┼──────────┬───────────┬─────────┐
//!  appender  scorer   registry   projector     feed     sweeper
//!                     ┌───┼───┐
//!                    user user user …   one for each user in memory
//! ```
//! Feed, projector, sweeper and users are started again when they fail; without appender, scorer or registry nobody can work,
//! so their failure ends the daemon and the service manager starts it again.

mod appender;
mod asked;
mod calls;
mod core;
mod daemon;
mod elsewhere;
mod failure;
mod feed;
mod flow;
mod gather;
mod history;
mod lag;
mod options;
mod overlap;
mod projector;
mod recovery;
mod registry;
mod requests;
mod root;
mod rules;
mod scorer;
mod shadow;
mod sweeper;
mod tally;
mod user;
mod watch;

pub use self::core::{Core, Entity};
pub use daemon::Daemon;
pub use options::Options;
pub use projector::{OpenSink, ProjectionSink};
pub use root::{Parts, StartError, start};
pub use rules::RuleCore;
pub use scorer::Factory;
pub use watch::{TrainedOn, Watch};
