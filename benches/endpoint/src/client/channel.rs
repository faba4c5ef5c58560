//! Messages over a channel.

use std::time::Instant;

use serde_json::json;
use wend_packet::LinkId;
use wend_packet::channel::{ChannelError, ChannelEvent};
use wend_packet::stack::Event;

use super::{Outcome, Task};
use crate::server::MESSAGE;
use crate::shell::Shell;

/// Sends messages as fast as the window lets it, until all are acknowledged.
#[derive(Debug)]
pub(super) struct Channel {
    link: LinkId,
    count: usize,
    body: Vec<u8>,
    began: Instant,
    open: bool,
    sent: usize,
    delivered: usize,
    error: Option<ChannelError>,
}

impl Channel {
    pub(super) fn new(link: LinkId, count: usize, size: usize) -> Self {
        Self {
            link,
            count,
            body: vec![0x5A; size],
            began: Instant::now(),
            open: false,
            sent: 0,
            delivered: 0,
            error: None,
        }
    }
}

impl Task for Channel {
    fn step(&mut self, shell: &mut Shell) {
        let now = shell.now();
        let Some(mut link) = shell.stack.link(now, self.link) else {
            self.error = Some(ChannelError::NotOpen);
            return;
        };
        if !std::mem::replace(&mut self.open, true) {
            link.open_channel(&[MESSAGE]);
        }
        while self.sent < self.count {
            match link.send_message(MESSAGE, &self.body) {
                Ok(_) => self.sent += 1,
                Err(ChannelError::NotReady) => return,
                Err(error) => {
                    self.error = Some(error);
                    return;
                }
            }
        }
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Channel { link, event: ChannelEvent::Delivered { .. } } if *link == self.link => self.delivered += 1,
            Event::LinkDown { link, .. } if *link == self.link => self.error = Some(ChannelError::NotOpen),
            _ => {}
        }
    }

    fn result(&self) -> Option<Outcome> {
        let seconds = self.began.elapsed().as_secs_f64();
        match self.error {
            Some(error) => Some(Outcome::new(json!({ "ev": "error", "error": error.to_string() }))),
            None => (self.delivered == self.count)
                .then(|| Outcome::new(json!({ "ev": "channel", "sent": self.sent, "seconds": seconds }))),
        }
    }
}
