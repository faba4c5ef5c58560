//! From the config to running interfaces.

use std::sync::Arc;

use rand_core::Rng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wend_interfaces::{Backoff, Driver, DriverError, InterfaceHandle, Ports, ProfileOptions, supervise, tcp};

use super::clock::randomness;
use crate::config::{InterfaceConfig, InterfaceKind};

/// Why an interface cannot be started. A medium that is merely not there yet is no such reason: it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("interface `{name}`: {source}")]
pub struct InterfaceError {
    /// Its name in the config.
    pub name: String,
    /// What is wrong.
    pub source: Arc<DriverError>,
}

/// Starts every enabled interface. Servers are bound before this returns, so that a port in use is known at once.
///
/// # Errors
/// The first interface that cannot be started.
pub(super) async fn start(
    config: Vec<InterfaceConfig>,
    ports: Ports,
    tasks: TaskTracker,
    cancel: CancellationToken,
) -> Result<Vec<(InterfaceHandle, InterfaceKind)>, InterfaceError> {
    let mut handles = Vec::new();
    for interface in config.iter().filter(|interface| interface.enabled) {
        let failed = |source: DriverError| InterfaceError { name: interface.name.clone(), source: Arc::new(source) };
        let (driver, backoff) = driver(interface).await.map_err(failed)?;
        let (port, handle) = ports.port(&interface.name).map_err(|_| failed(DriverError::IdsExhausted))?;
        tasks.spawn(supervise(driver, port, backoff, cancel.clone()));
        handles.push((handle, interface.kind));
    }
    Ok(handles)
}

async fn driver(config: &InterfaceConfig) -> Result<(Box<dyn Driver>, Backoff), DriverError> {
    let seed = randomness().next_u64();
    let options = ProfileOptions {
        mode: Some(config.mode),
        bitrate_bps: config.bitrate,
        access_key: config.access_key(),
        access_code_len: config.access_code_len(),
        traffic: config.traffic(),
    };
    Ok(match config.kind {
        InterfaceKind::TcpServer => {
            let mut server = tcp::Server::new(config.listen.clone().unwrap_or_default(), options);
            server.bind().await?;
            (Box::new(server), Backoff::tcp(seed))
        }
        InterfaceKind::TcpClient => {
            let client = tcp::Client::new(config.connect.clone().unwrap_or_default(), options);
            (Box::new(client), Backoff::tcp(seed))
        }
        #[cfg(feature = "serial")]
        InterfaceKind::Serial => {
            /// Speed of a line whose config names none, in bit/s.
            const SPEED: u32 = 9600;
            let port = config.port.as_ref().map(|port| port.display().to_string()).unwrap_or_default();
            let serial = wend_interfaces::serial::Serial::new(port, config.speed.unwrap_or(SPEED), options);
            (Box::new(serial), Backoff::serial(seed))
        }
        #[cfg(not(feature = "serial"))]
        InterfaceKind::Serial => {
            return Err(DriverError::NoSuchPort { port: "serial (not part of this build)".into() });
        }
    })
}
