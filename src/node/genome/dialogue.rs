//! The asking side of a dialogue of `genome/sync`, away from the tasks that carry packets.

use wend_commands::{Code, Failure};
use wend_genome::gossip::message::Bundle;
use wend_genome::gossip::sync::SyncAsker;

use super::curator::DiskShelf;
use super::embedding::blocking;

/// One dialogue. Its steps code symbols over the whole catalog and read cards from the disk, so each runs on a thread that
/// may block.
#[derive(Debug)]
pub(in crate::node) struct Dialogue {
    steps: Box<(SyncAsker, DiskShelf)>,
}

impl Dialogue {
    pub(super) fn new(asker: SyncAsker, shelf: DiskShelf) -> Self {
        Self { steps: Box::new((asker, shelf)) }
    }

    /// How it stands.
    pub(in crate::node) fn asker(&self) -> &SyncAsker {
        &self.steps.0
    }

    /// The last request or its response was lost.
    pub(in crate::node) fn handle_lost(&mut self) {
        self.steps.0.handle_lost();
    }

    /// The next request as bytes; `None` at the end.
    ///
    /// # Errors
    /// When the work was broken off.
    pub(in crate::node) async fn poll_request(self) -> Result<(Self, Option<Vec<u8>>), Failure> {
        blocking(move || {
            let mut steps = self.steps;
            let (asker, shelf) = &mut *steps;
            let request = asker.poll_request(shelf).map(|request| write_value(&request));
            (Self { steps }, request)
        })
        .await
    }

    /// Takes a response; gives the cards that came with it.
    ///
    /// # Errors
    /// When it makes no sense.
    pub(in crate::node) async fn handle_response(self, response: Vec<u8>) -> Result<(Self, Option<Bundle>), Failure> {
        let strange = |error: String| Failure::new(Code::INTERNAL, error);
        blocking(move || {
            let mut steps = self.steps;
            let value = read_value(&response).map_err(strange)?;
            let bundle = steps.0.handle_response(&value).map_err(|error| strange(error.to_string()))?;
            Ok((Self { steps }, bundle))
        })
        .await?
    }
}

/// A sync message from its bytes.
pub(super) fn read_value(bytes: &[u8]) -> Result<rmpv::Value, String> {
    let mut rest = bytes;
    let value = rmpv::decode::read_value_with_max_depth(&mut rest, 8).map_err(|error| error.to_string())?;
    if rest.is_empty() { Ok(value) } else { Err("bytes are left over".to_owned()) }
}

/// A sync message as bytes.
pub(super) fn write_value(value: &rmpv::Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Writing into memory does not fail.
    drop(rmpv::encode::write_value(&mut bytes, value));
    bytes
}
