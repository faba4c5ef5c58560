//! Why a medium is not there.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Why a driver could not open its medium, or lost it. The text names the address or device and, where a person can do
/// something, what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The configured text is not a host and a port.
    #[error("{address:?} is not an address: write host:port, for example 192.0.2.7:4242")]
    BadAddress {
        /// As configured.
        address: String,
    },
    /// The host name has no address.
    #[error("cannot find {address}: {source}; check the name and the network")]
    Unresolved {
        /// As configured.
        address: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// Another program listens there.
    #[error("{address} is in use by another program: stop it, or choose another port in `listen`")]
    AddressInUse {
        /// Where this node wanted to listen.
        address: SocketAddr,
    },
    /// Ports below 1024 need rights that this process does not have.
    #[error("not allowed to listen on {address}: choose a port above 1023")]
    ListenDenied {
        /// Where this node wanted to listen.
        address: SocketAddr,
    },
    /// The address belongs to no network interface of this machine.
    #[error("{address} is not an address of this machine: listen on one that is, or on 0.0.0.0 for all")]
    NotOurAddress {
        /// Where this node wanted to listen.
        address: SocketAddr,
    },
    /// Listening failed otherwise.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where this node wanted to listen.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The peer refused, or there is no route.
    #[error("cannot connect to {target}: {source}")]
    Connect {
        /// As configured.
        target: String,
        /// What the system said of the last address tried.
        #[source]
        source: io::Error,
    },
    /// The peer did not answer.
    #[error("{target} did not answer within {} s", after.as_secs())]
    ConnectTimeout {
        /// As configured.
        target: String,
        /// How long each address had.
        after: Duration,
    },
    /// The far end closed the connection, or the device went away.
    #[error("{peer} closed the connection")]
    Closed {
        /// Address or device.
        peer: String,
    },
    /// Reading or writing failed.
    #[error("lost {peer}: {source}")]
    Lost {
        /// Address or device.
        peer: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The far end takes no more bytes.
    #[error("{peer} took no data for {} s", after.as_secs())]
    WriteStalled {
        /// Address or device.
        peer: String,
        /// How long it was given.
        after: Duration,
    },
    /// There is no such serial port.
    #[error("there is no serial port {port}: plug the device in, or correct `port`")]
    NoSuchPort {
        /// The device.
        port: String,
    },
    /// The serial port may not be opened by this user.
    #[error(
        "not allowed to open the serial port {port}: add your user to the group that owns it, often \
         `sudo usermod -aG dialout $USER`, and log in again"
    )]
    PortDenied {
        /// The device.
        port: String,
    },
    /// Another program has the serial port.
    #[error("the serial port {port} is in use by another program: stop it, or correct `port`")]
    PortBusy {
        /// The device.
        port: String,
    },
    /// The serial port cannot be opened otherwise, for instance because it does not know the speed.
    #[error("cannot open the serial port {port} at {speed} bit/s: {source}")]
    PortFailed {
        /// The device.
        port: String,
        /// The configured speed.
        speed: u32,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The interface was stopped before it was up.
    #[error("stopped before it was up")]
    Stopped,
    /// So many connections have come and gone that no interface id is left.
    #[error("no interface id is left in this process: restart the node")]
    IdsExhausted,
}
