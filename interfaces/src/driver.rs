//! What a driver is.

use std::pin::Pin;

use crate::error::DriverError;
use crate::port::Port;

/// A future that owns what it needs or borrows it for `'a`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Moves frames between one medium and the core.
pub trait Driver: Send {
    /// Opens the medium, says so on the port, and moves frames until the medium is lost (`Err`: the supervisor calls
    /// again later) or the port closes (`Ok`).
    ///
    /// A call begins from nothing: framing state and half-sent frames of an earlier call are gone.
    fn run<'a>(&'a mut self, port: &'a mut Port) -> BoxFuture<'a, Result<(), DriverError>>;
}
