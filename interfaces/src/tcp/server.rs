//! Connections from other nodes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::places::{PLACES, Places, Refused};
use super::{exchange, resolve};
use crate::driver::{BoxFuture, Driver};
use crate::error::DriverError;
use crate::port::{DownReason, InterfaceHandle, Port};
use crate::profile::ProfileOptions;

/// Tasks of one server: those of its peers, and of peers whose end the core has not taken note of.
const TASKS: usize = 2 * PLACES;
/// Connections the system may hold ready to be accepted.
const BACKLOG: u32 = 64;
/// Wait after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);
/// What that wait doubles up to.
const ACCEPT_WAIT_MAX: Duration = Duration::from_secs(5);

/// Listens. Every accepted connection is an interface of its own, a child of the server's; the server's own interface
/// carries nothing. docs/protocol/3-interfaces.md, sections 1.2 and 2.3.
#[derive(Debug)]
pub struct Server {
    listen: String,
    options: ProfileOptions,
    listener: Option<TcpListener>,
    /// The tasks of the accepted connections.
    peers: JoinSet<()>,
    places: Places,
}

impl Server {
    /// On `listen`, as `address:port`. Of the addresses of a name, the first IPv4 address is taken, else the first.
    #[must_use]
    pub fn new(listen: impl Into<String>, options: ProfileOptions) -> Self {
        Self { listen: listen.into(), options, listener: None, peers: JoinSet::new(), places: Places::default() }
    }

    /// Begins to listen before the server runs, so that a port that is taken is known at once. Returns the address,
    /// with the port that the system chose when the configured one is 0.
    ///
    /// # Errors
    ///
    /// When the address is wrong, in use, or not allowed.
    pub async fn bind(&mut self) -> Result<SocketAddr, DriverError> {
        let (listener, address) = self.open().await?;
        self.listener = Some(listener);
        Ok(address)
    }

    async fn open(&self) -> Result<(TcpListener, SocketAddr), DriverError> {
        let addresses = resolve(&self.listen).await?;
        let address = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied();
        let Some(address) = address else {
            return Err(DriverError::BadAddress { address: self.listen.clone() });
        };
        let listener = listen(address).map_err(|source| listen_error(address, source))?;
        let bound = listener.local_addr().unwrap_or(address);
        Ok((listener, bound))
    }

    async fn accept(&mut self, listener: &TcpListener, port: &mut Port) {
        let mut wait = ACCEPT_WAIT;
        loop {
            tokio::select! {
                frame = port.next() => match frame {
                    Some(_) => port.counters().dropped(1),
                    None => return,
                },
                Some(_) = self.peers.join_next() => {}
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => {
                        wait = ACCEPT_WAIT;
                        self.admit(stream, address, port);
                    }
                    Err(error) => {
                        tracing::warn!(iface = port.name(), %error, ?wait, "cannot accept connections for now");
                        tokio::select! {
                            () = port.stopped() => return,
                            () = sleep(wait) => wait = (wait * 2).min(ACCEPT_WAIT_MAX),
                        }
                    }
                },
            }
        }
    }

    /// Gives a connection its own task, or closes it at once when there is no place for it.
    fn admit(&mut self, stream: TcpStream, address: SocketAddr, port: &Port) {
        while self.peers.try_join_next().is_some() {}
        let room = if self.peers.len() < TASKS { self.places.make_room(address.ip()) } else { Err(Refused::Full) };
        if let Err(reason) = room {
            port.counters().refused();
            tracing::debug!(iface = port.name(), %address, ?reason, "connection refused");
            return;
        }
        let Ok((child, handle)) = port.child(&address.to_string()) else {
            port.counters().refused();
            return;
        };
        self.places.take(address.ip(), handle.monitor.clone(), child.stop().clone());
        self.peers.spawn(serve(stream, address, self.options.clone(), child, handle, port.id()));
    }
}

/// The life of one accepted connection.
async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    options: ProfileOptions,
    mut port: Port,
    handle: InterfaceHandle,
    parent: wend_packet::stack::InterfaceId,
) {
    // However this ends, the place is free then.
    let _place = port.stop().clone().drop_guard();
    let introduced = tokio::select! {
        () = port.stopped() => return,
        introduced = port.introduce(parent, handle) => introduced,
    };
    if introduced.is_err() {
        return;
    }
    let reason = match exchange(stream, address.to_string(), options.tcp(), &mut port).await {
        Ok(()) => DownReason::Stopped,
        Err(error) => DownReason::Lost(Arc::new(error)),
    };
    tracing::debug!(iface = port.name(), ?reason, "connection ended");
    port.down(reason, None).await;
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Elsewhere the option lets two programs have the same port.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn listen_error(address: SocketAddr, source: io::Error) -> DriverError {
    match source.kind() {
        io::ErrorKind::AddrInUse => DriverError::AddressInUse { address },
        io::ErrorKind::PermissionDenied => DriverError::ListenDenied { address },
        io::ErrorKind::AddrNotAvailable => DriverError::NotOurAddress { address },
        _ => DriverError::Listen { address, source },
    }
}

impl Driver for Server {
    fn run<'a>(&'a mut self, port: &'a mut Port) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async move {
            let listener = match self.listener.take() {
                Some(listener) => listener,
                None => self.open().await?.0,
            };
            port.listening();
            self.accept(&listener, port).await;
            drop(listener);
            port.stop().cancel();
            while self.peers.join_next().await.is_some() {}
            Ok(())
        })
    }
}
