//! Serial lines: a cable, or a radio that passes bytes on as they are. docs/protocol/3-interfaces.md, section 6.2.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::sleep;
use tokio_serial::{ClearBuffer, FlowControl, SerialPort, SerialPortBuilderExt, SerialStream};

use crate::driver::{BoxFuture, Driver};
use crate::error::DriverError;
use crate::framing::hdlc::Limits;
use crate::port::Port;
use crate::profile::ProfileOptions;
use crate::stream::Stream;

/// Time a device gets after its port was opened: many restart at that moment.
/// docs/protocol/3-interfaces.md, section 6.2, for this and the next.
const SETTLE: Duration = Duration::from_millis(500);
/// Silence after which the rest of a frame will not come.
const IDLE_RESET: Duration = Duration::from_millis(100);

/// Bits of one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataBits {
    /// Five.
    Five,
    /// Six.
    Six,
    /// Seven.
    Seven,
    /// Eight; frames need all of them.
    #[default]
    Eight,
}

/// Check bit of one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    /// None.
    #[default]
    None,
    /// The number of ones is made even.
    Even,
    /// The number of ones is made odd.
    Odd,
}

/// Stop bits of one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StopBits {
    /// One.
    #[default]
    One,
    /// Two.
    Two,
}

/// A serial line. There is no flow control of any kind.
///
/// Frames are handed to the system only as fast as the line takes them, so that what waits stays in the core, where an
/// urgent frame can still overtake.
#[derive(Debug, Clone)]
pub struct Serial {
    /// The device, for example `/dev/ttyUSB0`.
    pub port: String,
    /// Bits per second.
    pub speed: u32,
    /// Bits of one character.
    pub data_bits: DataBits,
    /// Check bit of one character.
    pub parity: Parity,
    /// Stop bits of one character.
    pub stop_bits: StopBits,
    /// What is configured of the interface.
    pub options: ProfileOptions,
}

impl Serial {
    /// Eight data bits, no parity, one stop bit.
    #[must_use]
    pub fn new(port: impl Into<String>, speed: u32, options: ProfileOptions) -> Self {
        Self {
            port: port.into(),
            speed,
            data_bits: DataBits::default(),
            parity: Parity::default(),
            stop_bits: StopBits::default(),
            options,
        }
    }

    fn open(&self) -> Result<SerialStream, DriverError> {
        tokio_serial::new(&self.port, self.speed)
            .data_bits(match self.data_bits {
                DataBits::Five => tokio_serial::DataBits::Five,
                DataBits::Six => tokio_serial::DataBits::Six,
                DataBits::Seven => tokio_serial::DataBits::Seven,
                DataBits::Eight => tokio_serial::DataBits::Eight,
            })
            .parity(match self.parity {
                Parity::None => tokio_serial::Parity::None,
                Parity::Even => tokio_serial::Parity::Even,
                Parity::Odd => tokio_serial::Parity::Odd,
            })
            .stop_bits(match self.stop_bits {
                StopBits::One => tokio_serial::StopBits::One,
                StopBits::Two => tokio_serial::StopBits::Two,
            })
            .flow_control(FlowControl::None)
            .open_native_async()
            .map_err(|error| self.open_error(error))
    }

    fn open_error(&self, error: tokio_serial::Error) -> DriverError {
        let port = self.port.clone();
        match error.kind() {
            tokio_serial::ErrorKind::Io(io::ErrorKind::NotFound) => DriverError::NoSuchPort { port },
            tokio_serial::ErrorKind::Io(io::ErrorKind::PermissionDenied) => DriverError::PortDenied { port },
            // The library says so of a device that is gone and of one that another program has locked.
            tokio_serial::ErrorKind::NoDevice if Path::new(&port).exists() => DriverError::PortBusy { port },
            tokio_serial::ErrorKind::NoDevice => DriverError::NoSuchPort { port },
            _ => DriverError::PortFailed { port, speed: self.speed, source: error.into() },
        }
    }

    /// Time one character takes, start bit and all.
    fn byte_time(&self) -> Duration {
        let data_bits = match self.data_bits {
            DataBits::Five => 5,
            DataBits::Six => 6,
            DataBits::Seven => 7,
            DataBits::Eight => 8,
        };
        let parity_bits = u32::from(self.parity != Parity::None);
        let stop_bits = if self.stop_bits == StopBits::Two { 2 } else { 1 };
        Duration::from_secs(1) * (1 + data_bits + parity_bits + stop_bits) / self.speed.max(1)
    }

    async fn exchange(&self, line: &mut SerialStream, port: &mut Port) -> Result<(), DriverError> {
        tokio::select! {
            () = port.stopped() => return Ok(()),
            () = sleep(SETTLE) => {}
        }
        if port.up(self.options.serial(self.speed)).await.is_err() {
            return Ok(());
        }
        let stream = Stream {
            peer: self.port.clone(),
            limits: Limits::SERIAL,
            idle_reset: Some(IDLE_RESET),
            byte_time: Some(self.byte_time()),
        };
        let (reader, writer) = tokio::io::split(line);
        stream.exchange(reader, writer, port).await
    }
}

impl Driver for Serial {
    fn run<'a>(&'a mut self, port: &'a mut Port) -> BoxFuture<'a, Result<(), DriverError>> {
        Box::pin(async move {
            let mut line = self.open()?;
            let result = self.exchange(&mut line, port).await;
            if result.is_err() {
                // Closing would otherwise wait until bytes that nobody takes have left.
                let _ = line.clear(ClearBuffer::Output);
            }
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(port: &str) -> Serial {
        Serial::new(port, 9_600, ProfileOptions::default())
    }

    #[tokio::test]
    async fn a_missing_device_is_called_missing() {
        let error = serial("/dev/there-is-no-such-port").open().unwrap_err();
        assert!(
            matches!(&error, DriverError::NoSuchPort { port } if port == "/dev/there-is-no-such-port"),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_file_is_no_serial_port() {
        let error = serial(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).open().unwrap_err();
        assert!(matches!(error, DriverError::PortFailed { speed: 9_600, .. }), "{error:?}");
    }

    #[test]
    fn a_character_takes_all_its_bits() {
        assert_eq!(serial("x").byte_time(), Duration::from_secs(10) / 9_600);
        let long = Serial { parity: Parity::Even, stop_bits: StopBits::Two, ..serial("x") };
        assert_eq!(long.byte_time(), Duration::from_secs(12) / 9_600);
    }
}
