//! The side that is asked.

use std::collections::{BTreeMap, BTreeSet};

use wend_packet::IdentityHash;
use wend_packet::bounded::Bounded;

use super::{DIFFERENCES_MAX, SYMBOLS_PART, bits_for, symbols_for};
use crate::catalog::{Catalog, Summary};
use crate::entry::EntryId;
use crate::gossip::message::{Bundle, Malformed, Mark, Request, Response, Shelf, fill};
use crate::gossip::reconcile::{Part, SYMBOLS_MAX, Salt, SaltedId, SaltedSet, Symbol, Undecided};

/// How many dialogues are remembered, one for each peer. The peer that was silent longest is forgotten first; its next
/// request is answered with [`Response::Lost`], and it starts over without losing anything.
const DIALOGUES: usize = 16;
/// How many publishers a dialogue remembers to have named the key of. Beyond that keys are sent again.
const KEYS: usize = 512;
/// Candidates looked at for a page: more than ever fit.
const PAGE_CARDS: usize = 512;
/// Symbols after which the estimate is good enough to share out the ids.
const SYMBOLS_TELLING: usize = 128;

/// What to do about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What to answer; `to_value` makes it the command's result.
    pub response: Response,
    /// Cards that came with the request, for the [intake](crate::gossip::intake::Intake).
    pub received: Option<Bundle>,
}

/// Where in a dialogue a request stands. Keys that went with the answer to it go again when it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Compare(Part, Option<usize>),
    Page(Option<Mark>),
}

#[derive(Debug)]
struct Dialogue {
    salt: Salt,
    part: Part,
    symbols: Vec<Symbol>,
    found: Option<Found>,
    keys: BTreeMap<IdentityHash, Place>,
}

/// What the comparison of a part brought.
#[derive(Debug)]
struct Found {
    /// Newest first.
    lacking: Vec<EntryId>,
    want: Vec<u32>,
}

impl Dialogue {
    fn new(salt: Salt) -> Self {
        Self { salt, part: Part::WHOLE, symbols: Vec::new(), found: None, keys: BTreeMap::new() }
    }

    /// Puts received symbols in their place; `false` when those before them are missing.
    fn take(&mut self, part: Part, start: usize, symbols: &[Symbol]) -> bool {
        if self.part != part {
            (self.part, self.found) = (part, None);
            self.symbols.clear();
        }
        if start > self.symbols.len() {
            return false;
        }
        let known = self.symbols.get(start..).is_some_and(|known| known.starts_with(symbols));
        if !known {
            self.symbols.truncate(start);
            self.symbols.extend_from_slice(symbols);
            self.found = None;
        }
        true
    }

    /// Fills a bundle; each publisher's key goes along once in a dialogue.
    fn fill(
        &mut self,
        ids: impl IntoIterator<Item = EntryId>,
        limit: usize,
        place: Place,
        shelf: &dyn Shelf,
    ) -> (Bundle, usize) {
        let mut now = BTreeSet::new();
        fill(ids, limit, shelf, |publisher| {
            if self.keys.len() >= KEYS {
                self.keys.clear();
            }
            let at = *self.keys.entry(publisher).or_insert(place);
            at == place && now.insert(publisher)
        })
    }
}

/// Answers sync requests. What it remembers is bounded, whoever asks and however often: [`Bounded`], 16 dialogues of at
/// most some 50 kB.
#[derive(Debug)]
pub struct SyncAnswerer {
    dialogues: Bounded<IdentityHash, Dialogue>,
}

impl Default for SyncAnswerer {
    fn default() -> Self {
        Self { dialogues: Bounded::new(DIALOGUES) }
    }
}

impl SyncAnswerer {
    /// Answers a request of `peer`.
    ///
    /// # Errors
    /// When the request contradicts itself.
    pub fn answer(
        &mut self,
        peer: IdentityHash,
        request: Request,
        catalog: &Catalog,
        shelf: &dyn Shelf,
    ) -> Result<Answer, Malformed> {
        let response = match request {
            Request::Push(bundle) => {
                return Ok(Answer { response: Response::Received(bundle.cards().count()), received: Some(bundle) });
            }
            Request::Compare { salt, part, limit, left, start, symbols, summary } => {
                if start + symbols.len() > SYMBOLS_MAX {
                    return Err(Malformed::Field("symbols"));
                }
                if part == Part::WHOLE && summary == Some(catalog.summary()) {
                    Response::Equal
                } else {
                    self.in_dialogue(peer, salt, |dialogue| {
                        if dialogue.take(part, start, &symbols) {
                            compare(dialogue, limit, left, summary, catalog, shelf)
                        } else {
                            Response::Lost
                        }
                    })
                }
            }
            Request::Everything { salt, limit, mark, have } => {
                self.in_dialogue(peer, salt, |dialogue| page(dialogue, limit, mark, &have, catalog, shelf))
            }
        };
        Ok(Answer { response, received: None })
    }

    /// How many dialogues are remembered.
    pub fn remembered(&self) -> usize {
        self.dialogues.len()
    }

    /// Goes on with the dialogue of `peer`; under another salt than before it is a new one.
    fn in_dialogue<T>(&mut self, peer: IdentityHash, salt: Salt, step: impl FnOnce(&mut Dialogue) -> T) -> T {
        let remembered = self.dialogues.remove(&peer).filter(|dialogue| dialogue.salt == salt);
        let mut dialogue = remembered.unwrap_or_else(|| Dialogue::new(salt));
        let result = step(&mut dialogue);
        self.dialogues.insert(peer, dialogue);
        result
    }
}

fn compare(
    dialogue: &mut Dialogue,
    limit: usize,
    left: Option<usize>,
    summary: Option<Summary>,
    catalog: &Catalog,
    shelf: &dyn Shelf,
) -> Response {
    let part = dialogue.part;
    if dialogue.found.is_none() {
        let set = SaltedSet::new(dialogue.salt, catalog.ids());
        match set.difference(part, &dialogue.symbols) {
            Ok(difference) => {
                let mut lacking: Vec<_> = difference.only_ours.iter().filter_map(|id| set.entry(*id)).collect();
                lacking.sort_by_key(|id| core::cmp::Reverse((catalog.get(id).map(|listing| listing.expiry), *id)));
                let want = difference.only_theirs.iter().map(|id| id.head()).collect();
                dialogue.found = Some(Found { lacking, want });
            }
            Err(undecided) => return ask_on(undecided, dialogue, summary, catalog),
        }
    }
    let Some(found) = dialogue.found.take() else { return Response::Lost };
    let left_before = left.unwrap_or(found.lacking.len()).min(found.lacking.len());
    let ids: Vec<_> = found.lacking.iter().skip(found.lacking.len() - left_before).copied().collect();
    let (bundle, used) = dialogue.fill(ids, limit, Place::Compare(part, left), shelf);
    let want = if left.is_none() { found.want.clone() } else { Vec::new() };
    dialogue.found = Some(found);
    Response::Cards { bundle, remaining: left_before - used, want }
}

/// What to ask for when the symbols do not settle the difference.
fn ask_on(undecided: Undecided, dialogue: &Dialogue, summary: Option<Summary>, catalog: &Catalog) -> Response {
    let count = u32::try_from(catalog.len()).unwrap_or(u32::MAX);
    let have = dialogue.symbols.len();
    // The difference is at least that of the sizes, where they are known.
    let at_least = summary.map_or(0, |theirs| usize::try_from(theirs.count.abs_diff(count)).unwrap_or(usize::MAX));
    let split =
        |bits: u8| Response::Split { bits: bits.min(Part::BITS_MAX.saturating_sub(dialogue.part.bits())), count };
    let differences = undecided.estimate.map_or(at_least, |estimate| estimate.max(at_least));
    if differences > DIFFERENCES_MAX {
        return split(bits_for(differences));
    }
    if have >= SYMBOLS_MAX || (undecided.estimate.is_none() && have >= SYMBOLS_TELLING) {
        return split(2);
    }
    let goal = match (have, undecided.estimate) {
        (0, _) if dialogue.part != Part::WHOLE => SYMBOLS_PART,
        (0, _) | (_, Some(_)) => symbols_for(differences),
        (_, None) => have * 2,
    };
    let goal = goal.max(have + (have / 4).max(6)).min(SYMBOLS_MAX);
    Response::More { symbols: goal - have, count }
}

fn page(
    dialogue: &mut Dialogue,
    limit: usize,
    mark: Option<Mark>,
    have: &[SaltedId],
    catalog: &Catalog,
    shelf: &dyn Shelf,
) -> Response {
    let namer = SaltedSet::new(dialogue.salt, []);
    let have: BTreeSet<_> = have.iter().copied().collect();
    let listed: Vec<Mark> = match mark {
        None => catalog.newest_first().take(PAGE_CARDS).collect(),
        Some(mark) => catalog.older_than(mark).take(PAGE_CARDS).collect(),
    };
    let lacking: Vec<Mark> = listed.iter().copied().filter(|(_, id)| !have.contains(&namer.name(id))).collect();
    let (bundle, used) = dialogue.fill(lacking.iter().map(|(_, id)| *id), limit, Place::Page(mark), shelf);
    let mark = if used < lacking.len() {
        used.checked_sub(1).and_then(|last| lacking.get(last)).copied()
    } else {
        listed.last().copied().filter(|_| listed.len() == PAGE_CARDS)
    };
    let want = if mark.is_none() && !have.is_empty() {
        let ours: BTreeSet<_> = catalog.ids().map(|id| namer.name(&id)).collect();
        have.difference(&ours).map(|id| id.head()).collect()
    } else {
        Vec::new()
    };
    Response::Page { bundle, mark, want }
}
