//! An answer, or why there is none.

use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// What a probe found, or why it found nothing.
pub type Probe<T> = Result<T, ProbeError>;

/// Why a probe has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// Nothing came in time.
    #[error("no answer within {} ms", after.as_millis())]
    TimedOut {
        /// How long it was waited for.
        after: Duration,
    },
    /// A driver still holds an earlier probe.
    #[error("an earlier probe has not returned yet")]
    StillRunning,
    /// This kind of system has no such thing to ask.
    #[error("not available on this system")]
    Unsupported,
    /// There is no NVIDIA driver, so there is no NVIDIA GPU that programs could use.
    #[error("no NVIDIA driver")]
    NoNvidiaDriver,
    /// The feature `nvml` was left out.
    #[error("built without NVML")]
    NotBuilt,
    /// The system was asked and does not say.
    #[error("the system does not say")]
    NotReported,
    /// The caller did not ask.
    #[error("not asked for")]
    NotAsked,
    /// The system or a driver failed.
    #[error("{reason}")]
    Failed {
        /// In the words of the system.
        reason: String,
    },
}

impl ProbeError {
    pub(crate) fn failed(reason: &impl ToString) -> Self {
        Self::Failed { reason: reason.to_string() }
    }
}

/// The value itself, or a map of one entry, `error`, with the text.
pub(crate) fn serialize<T: Serialize, S: Serializer>(probe: &Probe<T>, serializer: S) -> Result<S::Ok, S::Error> {
    match probe {
        Ok(value) => value.serialize(serializer),
        Err(error) => {
            let mut map = serializer.serialize_map(Some(1))?;
            map.serialize_entry("error", &error.to_string())?;
            map.end()
        }
    }
}
