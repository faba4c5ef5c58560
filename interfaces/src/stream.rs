//! Moving frames over any stream of bytes, both ways at once.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::counters::Counters;
use crate::error::DriverError;
use crate::framing::hdlc::{self, Hdlc, Limits};
use crate::port::{FromCore, Port, ToCore};
use crate::slack::Slack;

/// A peer that takes no byte for so long is gone. The same time as the TCP user timeout.
/// docs/protocol/3-interfaces.md, section 2.1.
pub(crate) const WRITE_STALL: Duration = Duration::from_secs(24);
/// Bytes read at a time: so many at first, as in docs/protocol/3-interfaces.md, section 2.1,
const READ_MIN: usize = 4096;
/// and up to so many while reads come back full.
const READ_MAX: usize = 64 * 1024;
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
        let counters = std::sync::Arc::clone(to_core.counters());
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            result = self.receive(reader, to_core) => result,
            result = self.send(writer, from_core, &counters) => result,
        }
    }

    async fn receive(&self, mut reader: impl AsyncRead + Unpin, to_core: &mut ToCore) -> Result<(), DriverError> {
        let mut decoder = Hdlc::new(self.limits);
        let (mut chunk, mut slack) = (vec![0; READ_MIN], Slack::default());
        while let Ok(mut frames) = to_core.batch().await {
            while frames.is_empty() {
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
                decoder.push(chunk.get(..len).unwrap_or_default(), |frame| frames.push(frame));
                to_core.counters().received(frames.len(), len, decoder.dropped() - dropped_before);
                if slack.note(len, chunk.len()) {
                    chunk = vec![0; READ_MIN];
                } else if len == chunk.len() && len < READ_MAX {
                    chunk = vec![0; READ_MAX];
                }
            }
            if to_core.deliver(frames).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn send(
        &self,
        mut writer: impl AsyncWrite + Unpin,
        from_core: &mut FromCore,
        counters: &Counters,
    ) -> Result<(), DriverError> {
        let (mut wire, mut slack) = (BytesMut::new(), Slack::default());
        let mut frames = VecDeque::new();
        let mut line_free_at = Instant::now();
        // On a paced line frames wait where they can still be overtaken.
        let at_once = if self.byte_time.is_some() { 1 } else { usize::MAX };
        loop {
            let count = from_core.take(at_once, &mut frames).await;
            if count == 0 {
                return Ok(());
            }
            for transmit in frames.drain(..) {
                hdlc::encode(&transmit.frame, &mut wire);
            }
            self.write(&mut writer, &wire).await?;
            counters.sent(count, wire.len());
            if let Some(byte_time) = self.byte_time {
                let air_time = byte_time.saturating_mul(u32::try_from(wire.len()).unwrap_or(u32::MAX));
                line_free_at = line_free_at.max(Instant::now()) + air_time;
                sleep_until(line_free_at - PACE_LEAD.min(air_time)).await;
            }
            if slack.note(wire.len(), wire.capacity()) {
                wire = BytesMut::new();
            }
            wire.clear();
        }
    }

    /// One write for all that waited; more only when the system takes less than all of it.
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
