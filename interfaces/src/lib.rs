//! Interface drivers: they open a medium, move frames between it and the packet layer, and decide nothing else.
//!
//! A [`Driver`] gets a [`Port`], its two bounded channels to the core. [`supervise`] runs it, opens a lost medium again
//! and keeps the [`Status`] that `wend status` shows. The media are [`tcp`] and, with the feature `serial`, serial lines.
//! What is framed how is in [`framing`]; behaviour follows `docs/protocol/3-interfaces.md`, options and limits are listed
//! in `docs/interfaces.md`.
#![deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a test may panic: that is how it fails"
    )
)]

mod alarm;
mod backoff;
mod counters;
mod driver;
mod error;
mod frames;
pub mod framing;
mod linger;
mod outbound;
mod port;
mod profile;
#[cfg(feature = "serial")]
pub mod serial;
mod slack;
mod status;
mod stream;
mod supervisor;
pub mod tcp;

pub use alarm::Alarm;
pub use backoff::Backoff;
pub use counters::{Counters, Traffic};
pub use driver::{BoxFuture, Driver};
pub use error::DriverError;
pub use frames::Frames;
pub use linger::Linger;
pub use outbound::{Fill, Outbound};
pub use port::{Closed, DownReason, FromCore, IdsExhausted, InterfaceHandle, Monitor, Port, PortEvent, Ports, ToCore};
pub use profile::{ProfileOptions, TrafficOptions};
pub use status::{State, Status};
pub use supervisor::supervise;
