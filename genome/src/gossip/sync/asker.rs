//! The side that asks.

use std::collections::BTreeSet;

use rand_core::CryptoRng;
use rmpv::Value;
use wend_packet::IdentityHash;

use super::{DIFFERENCES_MAX, SYMBOLS_PART, bits_for, is_newcomer, symbols_for};
use crate::card::CardRef;
use crate::catalog::{Catalog, Summary};
use crate::entry::EntryId;
use crate::gossip::message::{Bundle, Malformed, Mark, PAGE_MAX, Request, Response, Shelf, encoded_len, fill};
use crate::gossip::reconcile::{Part, SYMBOLS_MAX, Salt, SaltedId, SaltedSet};

/// How often an answerer may have forgotten the dialogue before the asker gives up.
const LOST_MAX: u8 = 3;

/// How much a dialogue may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of cards and keys in one message, at most 64 kB. One card goes always.
    pub page_bytes: usize,
    /// Bytes after which no new request is made, both directions together. The last response may pass it by a page.
    pub budget_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { page_bytes: PAGE_MAX, budget_bytes: u64::MAX }
    }
}

/// Bytes of the MessagePack values of a dialogue, both directions together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Cards.
    pub cards: u64,
    /// Publishers' keys.
    pub keys: u64,
    /// Everything else: symbols, ids, framing.
    pub other: u64,
    /// Requests made, repeated ones too.
    pub requests: u64,
}

impl Traffic {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.cards + self.keys + self.other
    }

    fn add(&mut self, value: &Value, bundle: Option<&Bundle>) {
        let (cards, keys) = bundle.map_or((0, 0), |bundle| (bundle.cards_len(), bundle.keys_len()));
        let other = encoded_len(value).saturating_sub(cards + keys);
        let wide = |len: usize| u64::try_from(len).unwrap_or(u64::MAX);
        self.cards += wide(cards);
        self.keys += wide(keys);
        self.other += wide(other);
    }
}

/// Why a dialogue cannot go on. What was received before stays good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// The response is no sync message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The response answers another question.
    #[error("the response does not fit the request")]
    Unexpected,
    /// The peer's answers lead nowhere.
    #[error("the peer's answers bring the dialogue no further")]
    NoProgress,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Compare a part: the answerer has `sent` symbols and should have `goal`.
    Compare { part: Part, sent: usize, goal: usize, left: Option<usize> },
    /// Ask for everything that comes after the mark.
    Everything { mark: Option<Mark> },
    /// Go on with the next part.
    Next,
}

/// One dialogue, from the side that began it. It outlives the link it runs on: after [`SyncAsker::handle_lost`] the open
/// question is asked again, over whatever link there is.
#[derive(Debug)]
pub struct SyncAsker {
    salt: Salt,
    set: SaltedSet,
    own: Summary,
    limits: Limits,
    step: Step,
    /// Parts still to compare, the next one last.
    parts: Vec<Part>,
    /// What the answerer wants.
    want: Vec<EntryId>,
    keys_sent: BTreeSet<IdentityHash>,
    open: Option<Request>,
    in_flight: bool,
    lost: u8,
    traffic: Traffic,
    received: usize,
    pushed: usize,
    unsettled: bool,
}

impl SyncAsker {
    /// Begins a dialogue with a node that `announced` this about its catalog, if anything is known about that.
    ///
    /// `None` when the catalogs are the same by what was announced: then nothing needs to be sent at all.
    pub fn start(
        rng: &mut dyn CryptoRng,
        catalog: &Catalog,
        announced: Option<Summary>,
        limits: Limits,
    ) -> Option<Self> {
        let own = catalog.summary();
        if announced.is_some_and(|announced| announced.to_bytes() == own.to_bytes()) {
            return None;
        }
        let mut salt = Salt([0; 8]);
        rng.fill_bytes(&mut salt.0);
        let mut asker = Self {
            salt,
            set: SaltedSet::new(salt, catalog.ids()),
            own,
            limits,
            // When nothing is known about the peer, the first question is only whether there is a difference.
            step: Step::Compare { part: Part::WHOLE, sent: 0, goal: 0, left: None },
            parts: Vec::new(),
            want: Vec::new(),
            keys_sent: BTreeSet::new(),
            open: None,
            in_flight: false,
            lost: 0,
            traffic: Traffic::default(),
            received: 0,
            pushed: 0,
            unsettled: false,
        };
        if let Some(announced) = announced {
            let differences = usize::try_from(announced.count.abs_diff(own.count)).unwrap_or(usize::MAX);
            if differences <= DIFFERENCES_MAX {
                let goal = symbols_for(differences);
                asker.step = Step::Compare { part: Part::WHOLE, sent: 0, goal, left: None };
            } else if !asker.turn_newcomer(announced.count) {
                asker.split(Part::WHOLE, bits_for(differences));
            }
        }
        Some(asker)
    }

    /// Asks for everything, when that is cheaper with a peer of so many entries; only at the start of a dialogue.
    fn turn_newcomer(&mut self, count: u32) -> bool {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let newcomer = self.received == 0 && self.parts.is_empty() && is_newcomer(self.set.len(), count);
        if newcomer {
            self.step = Step::Everything { mark: None };
        }
        newcomer
    }

    fn split(&mut self, part: Part, bits: u8) {
        let before = self.parts.len();
        if bits > 0 {
            self.parts.extend(part.split(bits).rev());
        }
        self.unsettled |= self.parts.len() == before;
        self.step = Step::Next;
    }

    /// The params of the next `genome/sync` command; `None` while a response is awaited and when the dialogue is over.
    pub fn poll_request(&mut self, shelf: &dyn Shelf) -> Option<Value> {
        if self.in_flight {
            return None;
        }
        if self.open.is_none() {
            if self.traffic.total() >= self.limits.budget_bytes {
                self.unsettled |= !self.is_done();
                self.stop();
            }
            self.open = self.next_request(shelf);
        }
        let request = self.open.as_ref()?;
        let value = request.to_value();
        let bundle = if let Request::Push(bundle) = request { Some(bundle) } else { None };
        self.traffic.add(&value, bundle);
        self.traffic.requests += 1;
        self.in_flight = true;
        Some(value)
    }

    fn next_request(&mut self, shelf: &dyn Shelf) -> Option<Request> {
        if matches!(self.step, Step::Next) {
            if !self.want.is_empty()
                && let Some(push) = self.push(shelf)
            {
                return Some(push);
            }
            self.step = Step::Compare { part: self.parts.pop()?, sent: 0, goal: SYMBOLS_PART, left: None };
        }
        let (salt, limit) = (self.salt, self.limits.page_bytes);
        match self.step {
            Step::Compare { part, sent, goal, left } => {
                let symbols = self.set.symbols(part, goal).split_off(sent.min(goal));
                let summary = (part == Part::WHOLE && sent == 0).then_some(self.own);
                Some(Request::Compare { salt, part, limit, left, start: sent, symbols, summary })
            }
            Step::Everything { mark } => {
                Some(Request::Everything { salt, limit, mark, have: self.set.names().collect::<Vec<SaltedId>>() })
            }
            Step::Next => None,
        }
    }

    /// The next page of what the answerer wants, newest first.
    fn push(&mut self, shelf: &dyn Shelf) -> Option<Request> {
        let expiry = |id: &EntryId| Some(CardRef::parse(&shelf.card(id)?).ok()?.expiry());
        self.want.sort_by_cached_key(|id| core::cmp::Reverse((expiry(id), *id)));
        let keys_sent = &mut self.keys_sent;
        let ids = self.want.iter().copied();
        let (bundle, used) = fill(ids, self.limits.page_bytes, shelf, |publisher| keys_sent.insert(publisher));
        self.want.drain(..used.min(self.want.len()));
        (bundle.cards_len() > 0).then_some(Request::Push(bundle))
    }

    /// Takes the result of the command. Returns cards for the [intake](crate::gossip::intake::Intake), if there are any.
    ///
    /// # Errors
    /// When the peer does not keep to the dialogue; it is over then.
    pub fn handle_response(&mut self, value: &Value) -> Result<Option<Bundle>, SyncError> {
        self.in_flight = false;
        let request = self.open.take().ok_or(SyncError::Unexpected)?;
        let response = Response::from_value(value).map_err(SyncError::from).and_then(|response| {
            let bundle = match &response {
                Response::Cards { bundle, .. } | Response::Page { bundle, .. } => Some(bundle),
                _ => None,
            };
            self.traffic.add(value, bundle);
            self.advance(&request, response)
        });
        if response.is_err() {
            self.stop();
        }
        response
    }

    fn stop(&mut self) {
        (self.step, self.open) = (Step::Next, None);
        self.parts.clear();
        self.want.clear();
    }

    fn advance(&mut self, request: &Request, response: Response) -> Result<Option<Bundle>, SyncError> {
        match (request, self.step, response) {
            (Request::Push(_), _, Response::Received(cards)) => {
                self.pushed += cards;
                Ok(None)
            }
            (Request::Compare { .. }, Step::Compare { part: Part::WHOLE, .. }, Response::Equal) => {
                self.step = Step::Next;
                Ok(None)
            }
            (Request::Compare { start, .. }, Step::Compare { part, goal, left, .. }, Response::Lost) => {
                self.lost += 1;
                if *start == 0 || self.lost > LOST_MAX {
                    return Err(SyncError::NoProgress);
                }
                self.step = Step::Compare { part, sent: 0, goal, left };
                Ok(None)
            }
            (Request::Compare { .. }, Step::Compare { part, goal, left, .. }, Response::More { symbols, count }) => {
                let next = goal.saturating_add(symbols).min(SYMBOLS_MAX);
                if part == Part::WHOLE && self.turn_newcomer(count) {
                    return Ok(None);
                }
                if next == goal {
                    return Err(SyncError::NoProgress);
                }
                self.step = Step::Compare { part, sent: goal, goal: next, left };
                Ok(None)
            }
            (Request::Compare { .. }, Step::Compare { part, .. }, Response::Split { bits, count }) => {
                if part != Part::WHOLE || !self.turn_newcomer(count) {
                    self.split(part, bits);
                }
                Ok(None)
            }
            (
                Request::Compare { .. },
                Step::Compare { part, goal, left, .. },
                Response::Cards { bundle, remaining, want },
            ) => {
                if left.is_some_and(|left| remaining >= left) || (bundle.cards_len() == 0 && remaining > 0) {
                    return Err(SyncError::NoProgress);
                }
                self.take_want(&want);
                self.step = if remaining == 0 {
                    Step::Next
                } else {
                    Step::Compare { part, sent: goal, goal, left: Some(remaining) }
                };
                Ok(self.take_bundle(bundle))
            }
            (Request::Everything { .. }, Step::Everything { mark: before }, Response::Page { bundle, mark, want }) => {
                if before.zip(mark).is_some_and(|(before, mark)| mark >= before) {
                    return Err(SyncError::NoProgress);
                }
                self.take_want(&want);
                self.step = if mark.is_some() { Step::Everything { mark } } else { Step::Next };
                Ok(self.take_bundle(bundle))
            }
            _ => Err(SyncError::Unexpected),
        }
    }

    fn take_want(&mut self, want: &[u32]) {
        let heads: BTreeSet<u32> = want.iter().copied().collect();
        self.want.extend(heads.iter().flat_map(|head| self.set.entries_by_head(*head)));
    }

    fn take_bundle(&mut self, bundle: Bundle) -> Option<Bundle> {
        self.received += bundle.cards().count();
        (bundle.cards_len() > 0).then_some(bundle)
    }

    /// The request was lost, or its response: it will be asked again.
    pub fn handle_lost(&mut self) {
        self.in_flight = false;
    }

    /// Whether there is nothing left to ask.
    pub fn is_done(&self) -> bool {
        let idle = self.open.is_none() && !self.in_flight;
        idle && matches!(self.step, Step::Next) && self.parts.is_empty() && self.want.is_empty()
    }

    /// Whether differences may be left: the budget was spent, or a part could not be settled.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled
    }

    /// Bytes so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Cards that came, whatever the checks make of them.
    pub fn received(&self) -> usize {
        self.received
    }

    /// Cards that the peer received.
    pub fn pushed(&self) -> usize {
        self.pushed
    }
}
