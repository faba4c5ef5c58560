//! A connection to another node.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::timeout;
use wend_packet::hash::InterfaceHash;
use wend_packet::stack::InterfaceProfile;

use super::{CONNECT_TIMEOUT, exchange, resolve};
use crate::driver::{BoxFuture, Driver};
use crate::error::DriverError;
use crate::port::Port;
use crate::profile::ProfileOptions;

/// Keeps one connection. The name is resolved anew for every attempt, and its addresses are tried in order.
#[derive(Debug, Clone)]
pub struct Client {
    target: String,
    options: ProfileOptions,
}

impl Client {
    /// To `target`, as `host:port`; IPv6 addresses in brackets.
    #[must_use]
    pub fn new(target: impl Into<String>, options: ProfileOptions) -> Self {
        Self { target: target.into(), options }
    }

    async fn connect(&self) -> Result<TcpStream, DriverError> {
        let mut error = None;
        for address in resolve(&self.target).await? {
            match self.connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(failure) => error = Some(failure),
            }
        }
        Err(error.unwrap_or_else(|| self.failed(io::ErrorKind::NotFound.into())))
    }

    async fn connect_to(&self, address: SocketAddr) -> Result<TcpStream, DriverError> {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(self.failed(source)),
            Err(_) => Err(DriverError::ConnectTimeout { target: self.target.clone(), after: CONNECT_TIMEOUT }),
        }
    }

    /// The connection is one tunnel however often it is made: the far end finds the paths over it again by its name, which
    /// only has to stay the same. docs/protocol/3-interfaces.md, section 2.6.
    fn profile(&self, name: &str) -> InterfaceProfile {
        let tunnel = InterfaceHash::of(&format!("TCPInterface[{name}/{}]", self.target));
        InterfaceProfile { tunnel: Some(tunnel), ..self.options.tcp() }
    }

    fn failed(&self, source: io::Error) -> DriverError {
        DriverError::Connect { target: self.target.clone(), source }
    }
}

impl Driver for Client {
    fn run<'a>(&'a mut self, port: &'a mut Port) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async move {
            let stream = tokio::select! {
                () = port.stopped() => return Ok(()),
                connected = self.connect() => connected?,
            };
            let profile = self.profile(port.name());
            exchange(stream, self.target.clone(), profile, port).await
        })
    }
}
