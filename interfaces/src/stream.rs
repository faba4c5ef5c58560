//! Moving frames over any stream of bytes, both ways at once.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::DriverError;
use crate::framing::hdlc::{self, Hdlc, Limits};
use crate::port::{FromCore, Port, ToCore};

/// A peer that takes no byte for so long is gone. The same time as the TCP user timeout.
/// docs/protocol/3-interfaces.md, section 2.1.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(24);
/// Bytes read at a time. docs/protocol/3-interfaces.md, section 2.1.
const READ: usize = 4096;
/// How far ahead of a paced line its driver may write, so that the line is never idle between two frames.
const PACE_LEAD: Duration = Duration::from_millis(20);

/// What sets one stream medium apart from another.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    /// Address or device, for errors.
    pub(crate) peer: String,
    /// Frames it carries.
    pub(crate) limits: Limits,
    /// Silence after which an unfinished frame is given up.
    pub(crate) idle_reset: Option<Duration>,
    /// Time one byte takes on a line whose buffers would otherwise swallow seconds of frames.
    pub(crate) byte_time: Option<Duration>,
}

impl Stream {
    /// Moves frames between the stream and the port until the stream is lost (`Err`) or the port closes (`Ok`).
    ///
    /// Reading and writing are two futures: a core that is behind stops the reading only, a peer that is slow stops the
    /// writing only.
    pub(crate) async fn exchange(
        &self,
        reader: impl AsyncRead + Unpin + Send,
        writer: impl AsyncWrite + Unpin + Send,
        port: &mut Port,
    ) -> Result<(), DriverError> {
        let stop = port.stop().clone();
        let (to_core, from_core) = port.split();
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            result = self.receive(reader, to_core) => result,
            result = self.send(writer, from_core, to_core) => result,
        }
    }

    async fn receive(&self, mut reader: impl AsyncRead + Unpin, to_core: &ToCore) -> Result<(), DriverError> {
        let mut decoder = Hdlc::new(self.limits);
        let mut chunk = vec![0; READ];
        let mut frames: Vec<Bytes> = Vec::new();
        loop {
            let read = match self.idle_reset.filter(|_| decoder.has_partial()) {
                Some(idle) => timeout(idle, reader.read(&mut chunk)).await.ok(),
                None => Some(reader.read(&mut chunk).await),
            };
            let dropped_before = decoder.dropped();
            let len = match read {
                None => {
                    decoder.reset();
                    0
                }
                Some(Ok(0)) => return Err(DriverError::Closed { peer: self.peer.clone() }),
                Some(Ok(len)) => len,
                Some(Err(source)) => return Err(self.lost(source)),
            };
            decoder.push(chunk.get(..len).unwrap_or_default(), |frame| frames.push(Bytes::copy_from_slice(frame)));
            to_core.counters().received(frames.len(), len, decoder.dropped() - dropped_before);
            for frame in frames.drain(..) {
                if to_core.deliver(frame).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    async fn send(
        &self,
        mut writer: impl AsyncWrite + Unpin,
        from_core: &mut FromCore,
        to_core: &ToCore,
    ) -> Result<(), DriverError> {
        let mut wire = BytesMut::new();
        let mut line_free_at = Instant::now();
        while let Some(transmit) = from_core.next().await {
            wire.clear();
            hdlc::encode(&transmit.frame, &mut wire);
            self.write(&mut writer, &wire).await?;
            to_core.counters().sent(wire.len());
            if let Some(byte_time) = self.byte_time {
                let air_time = byte_time.saturating_mul(u32::try_from(wire.len()).unwrap_or(u32::MAX));
                line_free_at = line_free_at.max(Instant::now()) + air_time;
                sleep_until(line_free_at - PACE_LEAD.min(air_time)).await;
            }
        }
        Ok(())
    }

    /// One write per frame; more only when the system takes less than all of it.
    async fn write(&self, writer: &mut (impl AsyncWrite + Unpin), wire: &[u8]) -> Result<(), DriverError> {
        let mut rest = wire;
        while !rest.is_empty() {
            let stalled = |_| DriverError::WriteStalled { peer: self.peer.clone(), after: WRITE_STALL };
            let written = timeout(WRITE_STALL, writer.write(rest)).await.map_err(stalled)?;
            rest = match written {
                Ok(0) => return Err(self.lost(io::ErrorKind::WriteZero.into())),
                Ok(len) => rest.get(len..).unwrap_or_default(),
                Err(source) => return Err(self.lost(source)),
            };
        }
        Ok(())
    }

    fn lost(&self, source: io::Error) -> DriverError {
        DriverError::Lost { peer: self.peer.clone(), source }
    }
}

#[cfg(test)]
mod tests;
