//! TCP, as a client and as a server. docs/protocol/3-interfaces.md, section 2.
//!
//! Bytes on the wire are those of the reference's `TCPClientInterface` and `TCPServerInterface` with HDLC framing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use wend_packet::stack::InterfaceProfile;

use crate::error::DriverError;
use crate::framing::hdlc::Limits;
use crate::port::Port;
use crate::stream::Stream;

mod client;
mod places;
mod server;

pub use client::Client;
pub use server::Server;

/// Silence before the first keepalive probe. docs/protocol/3-interfaces.md, section 2.1, for this and the next three.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
/// Between probes.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(2);
/// Unanswered probes that end a connection.
const KEEPALIVE_PROBES: u32 = 12;
/// Unacknowledged data that old ends a connection.
#[cfg(any(target_os = "linux", target_os = "android"))]
const USER_TIMEOUT: Duration = Duration::from_secs(24);
/// How long a name may take to resolve, and each address to answer. docs/protocol/3-interfaces.md, section 2.2.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of one name that are looked at.
const ADDRESSES: usize = 8;

/// Addresses of `host:port`.
async fn resolve(address: &str) -> Result<Vec<SocketAddr>, DriverError> {
    let unresolved = |source| DriverError::Unresolved { address: address.to_owned(), source };
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        return Err(DriverError::BadAddress { address: address.to_owned() });
    }
    let found = timeout(CONNECT_TIMEOUT, lookup_host(address))
        .await
        .map_err(|_| unresolved(io::ErrorKind::TimedOut.into()))?
        .map_err(unresolved)?;
    let addresses: Vec<_> = found.take(ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(unresolved(io::ErrorKind::NotFound.into()));
    }
    Ok(addresses)
}

/// Sets what section 2.1 lists. A system that lacks an option still has a working connection.
fn configure(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE);
    #[cfg(not(target_os = "openbsd"))]
    let keepalive = keepalive.with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(stream);
    let mut results = vec![stream.set_nodelay(true), socket.set_tcp_keepalive(&keepalive)];
    #[cfg(any(target_os = "linux", target_os = "android"))]
    results.push(socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
    for error in results.into_iter().filter_map(Result::err) {
        tracing::debug!(%error, "TCP option not set");
    }
}

/// Moves frames over a connection until it is lost or the port closes.
async fn exchange(
    mut stream: TcpStream,
    peer: String,
    profile: InterfaceProfile,
    port: &mut Port,
) -> Result<(), DriverError> {
    configure(&stream);
    let limits = Limits::tcp(profile.hw_mtu, profile.access_code_len);
    if port.up(profile).await.is_err() {
        return Ok(());
    }
    let (reader, writer) = stream.split();
    Stream { peer, limits, idle_reset: None, byte_time: None }.exchange(reader, writer, port).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_said_to_be_none() {
        for address in ["", "host", "host:", ":4242", "host:port", "host:70000", "host:-1"] {
            let error = resolve(address).await.unwrap_err();
            assert!(matches!(error, DriverError::BadAddress { .. }), "{address}: {error}");
            assert!(error.to_string().contains("host:port"));
        }
    }

    #[tokio::test]
    async fn literal_addresses_resolve_to_themselves() {
        assert_eq!(resolve("127.0.0.1:42").await.unwrap(), ["127.0.0.1:42".parse().unwrap()]);
        assert_eq!(resolve("[::1]:42").await.unwrap(), ["[::1]:42".parse().unwrap()]);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn connections_get_the_options_of_the_reference() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        configure(&stream);
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), KEEPALIVE_PROBES);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }
}
