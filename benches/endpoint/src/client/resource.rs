//! Resources.

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use wend_packet::LinkId;
use wend_packet::link::{Compression, ResourceEvent, ResourceOptions, ResourceOutcome, TransferId};
use wend_packet::stack::Event;

use super::{Outcome, Task};
use crate::shell::Shell;

/// Sends a file, and waits for the proof of its last segment.
#[derive(Debug)]
pub(super) struct Resource {
    link: LinkId,
    body: Bytes,
    compression: Compression,
    began: Instant,
    transfer: Option<TransferId>,
    delivered: Option<bool>,
}

impl Resource {
    pub(super) fn new(link: LinkId, file: &PathBuf, compression: Compression) -> std::io::Result<Self> {
        Ok(Self {
            link,
            body: std::fs::read(file)?.into(),
            compression,
            began: Instant::now(),
            transfer: None,
            delivered: None,
        })
    }
}

impl Task for Resource {
    fn step(&mut self, shell: &mut Shell) {
        if self.transfer.is_some() || self.delivered.is_some() {
            return;
        }
        let now = shell.now();
        let options = ResourceOptions { compression: self.compression, ..ResourceOptions::default() };
        self.began = Instant::now();
        let sent = shell.stack.link(now, self.link).map(|mut link| link.send_resource(self.body.clone(), options));
        match sent {
            Some(Ok(transfer)) => self.transfer = Some(transfer),
            _ => self.delivered = Some(false),
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Resource { link, resource, event: ResourceEvent::Ended(outcome) }
                if *link == self.link && Some(*resource) == self.transfer =>
            {
                self.delivered = Some(*outcome == ResourceOutcome::Delivered);
            }
            Event::LinkDown { link, .. } if *link == self.link => self.delivered = Some(false),
            _ => {}
        }
    }

    fn result(&self) -> Option<Outcome> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.delivered.map(|ok| Outcome::new(json!({ "ev": "resource", "ok": ok, "seconds": seconds })))
    }
}
