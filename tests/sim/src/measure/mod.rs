//! What is measured while a scenario runs.

mod kind;
mod ledger;
mod log;

pub use kind::Kind;
pub use ledger::{Airtime, HOUR, MINUTE};
pub(crate) use ledger::{Ledger, Sent};
pub use log::{Deliveries, Outcome};
pub(crate) use log::{Log, Trace};
