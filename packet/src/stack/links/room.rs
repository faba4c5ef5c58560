//! Who may take a place among the links of this node, and who gives way.

use std::collections::BTreeSet;

use super::LinkSlot;
use crate::hash::{IdentityHash, LinkId};
use crate::link::LinkState;
use crate::stack::interface::busiest;
use crate::stack::{LinkCloseReason, Role, Stack};
use crate::time::Now;

/// Jobs of one link that are taken at a time.
const JOBS_PER_LINK: usize = 2;

impl Stack {
    /// Whether this node may open another link. A quarter of all places is out of reach of others.
    pub(super) fn has_room_for_own_link(&self) -> bool {
        self.links.len() < self.config.capacities.links
    }

    /// Makes room for a link that somebody else asks for. Says whether there is some.
    ///
    /// Whoever has proved to listen stays before those who have not, and whoever has identified before both. On the
    /// interface that has most of them the oldest goes, so that a flood on one interface turns over its own links only.
    pub(super) fn room_for_responder(&self) -> Result<Option<LinkId>, Full> {
        let max = self.config.capacities.links;
        let others = self.links.values().filter(|slot| slot.link.role() == Role::Responder).count();
        if others < max - max / 4 && self.links.len() < max {
            return Ok(None);
        }
        let in_handshake = |slot: &LinkSlot| slot.link.state() == LinkState::Handshake;
        let unidentified = |slot: &LinkSlot| slot.link.remote_identity().is_none();
        self.oldest_responder(in_handshake).or_else(|| self.oldest_responder(unidentified)).map(Some).ok_or(Full)
    }

    fn oldest_responder(&self, wanted: impl Fn(&LinkSlot) -> bool) -> Option<LinkId> {
        let of_others = self.links.iter().filter(|(_, slot)| slot.link.role() == Role::Responder);
        let candidates: Vec<_> = of_others.filter(|(_, slot)| wanted(slot)).collect();
        let on = busiest(candidates.iter().filter_map(|(_, slot)| slot.on))?;
        let on_it = candidates.into_iter().filter(|(_, slot)| slot.on == Some(on));
        on_it.min_by_key(|(_, slot)| slot.opened).map(|(id, _)| *id)
    }

    /// Closes a link for another's sake. Nobody is told of one that was never established: that would answer every request
    /// of a flood with one packet more.
    pub(super) fn give_up_link(&mut self, now: Now, id: LinkId) {
        let Some(slot) = self.links.get_mut(&id) else { return };
        match slot.link.state() {
            LinkState::Handshake => slot.link.abandon(LinkCloseReason::Timeout),
            _ => slot.link.close(now, &mut *self.rng),
        }
        self.drive_link(now, id);
    }

    /// Closes the links whose other end has identified as one of these.
    pub(in crate::stack) fn close_links_of(&mut self, now: Now, identities: &BTreeSet<IdentityHash>) {
        let theirs = |slot: &LinkSlot| slot.link.remote_identity().is_some_and(|of| identities.contains(&of.hash()));
        let closing: Vec<_> = self.links.iter().filter(|(_, slot)| theirs(slot)).map(|(id, _)| *id).collect();
        for id in closing {
            self.give_up_link(now, id);
        }
    }

    /// Counts again what a link holds; one that is closed holds nothing.
    pub(super) fn count_arriving(&mut self, id: LinkId) {
        let Some(slot) = self.links.get_mut(&id).filter(|slot| slot.link.role() == Role::Responder) else { return };
        let closed = slot.link.state() == LinkState::Closed;
        let before = slot.arriving;
        slot.arriving = if closed { 0 } else { slot.link.held_bytes() };
        self.arriving = (self.arriving + slot.arriving).saturating_sub(before);
    }

    /// Closes links until what arrives on them fits. What arrives on own links was asked for, and is limited there.
    pub(super) fn limit_arriving(&mut self, now: Now) {
        while self.arriving > self.config.capacities.arriving_bytes {
            let holding = || self.links.iter().filter(|(_, slot)| slot.arriving > 0);
            let strangers = holding().filter(|(_, slot)| slot.link.remote_identity().is_none());
            let largest = strangers.max_by_key(|(_, slot)| slot.arriving);
            let largest = largest.or_else(|| holding().max_by_key(|(_, slot)| slot.arriving)).map(|(id, _)| *id);
            let Some(id) = largest else { return };
            tracing::debug!(link = ?id, "closed for what it holds");
            self.give_up_link(now, id);
        }
    }

    /// The next job of a link. Links take turns, and none has many running.
    pub(in crate::stack) fn next_link_job(&mut self) -> Option<(LinkId, crate::link::LinkJob)> {
        let id = self.link_jobs.pop_front()?;
        let slot = self.links.get_mut(&id)?;
        let job = slot.job.take()?;
        slot.jobs_running += 1;
        self.queue_link_job(id);
        Some((id, job))
    }

    /// Puts a link in line when it has a job and not too many running already.
    pub(super) fn queue_link_job(&mut self, id: LinkId) {
        let Some(slot) = self.links.get_mut(&id) else { return };
        if slot.job.is_none() && slot.jobs_running < JOBS_PER_LINK {
            slot.job = slot.link.poll_job();
            if slot.job.is_some() {
                self.link_jobs.push_back(id);
            }
        }
    }
}

/// Every place is taken by somebody who has identified.
#[derive(Debug)]
pub(super) struct Full;

#[cfg(test)]
impl LinkSlot {
    pub(in crate::stack) fn arriving(&self) -> usize {
        self.arriving
    }
}
