//! Entries in the order of their age, each at a place that stays the same until it is taken out.

/// Entries are made room for this many at a time: a large table grows without being copied. Memory that no entry was in yet
/// is not resident, and so large a piece goes back to the system when it is not needed any more.
const CHUNK: usize = 4096;

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    const NONE: Self = Self(u32::MAX);

    fn some(self) -> Option<Self> {
        (self != Self::NONE).then_some(self)
    }
}

#[derive(Debug, Clone)]
struct Slot<T> {
    entry: Option<T>,
    older: Place,
    /// Of a free slot: the next free one.
    younger: Place,
}

/// A doubly linked list in chunks of slots.
#[derive(Debug, Clone)]
pub(super) struct Ring<T> {
    chunks: Vec<Vec<Slot<T>>>,
    oldest: Place,
    youngest: Place,
    free: Place,
}

impl<T> Ring<T> {
    pub(super) const fn new() -> Self {
        Self { chunks: Vec::new(), oldest: Place::NONE, youngest: Place::NONE, free: Place::NONE }
    }

    #[inline]
    fn slot(&self, place: Place) -> Option<&Slot<T>> {
        let at = usize::try_from(place.0).ok()?;
        self.chunks.get(at / CHUNK)?.get(at % CHUNK)
    }

    #[inline]
    fn slot_mut(&mut self, place: Place) -> Option<&mut Slot<T>> {
        let at = usize::try_from(place.0).ok()?;
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }

    #[inline]
    pub(super) fn get(&self, place: Place) -> Option<&T> {
        self.slot(place)?.entry.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.slot_mut(place)?.entry.as_mut()
    }

    pub(super) fn oldest(&self) -> Option<Place> {
        self.oldest.some()
    }

    /// The entry that came next after the one at `place`.
    pub(super) fn younger(&self, place: Place) -> Option<Place> {
        self.slot(place)?.younger.some()
    }

    /// Puts an entry in as the youngest. `None` when four billion places are taken.
    #[inline(always)] // An entry handed over in memory would be read before it is quite written: a stall of many cycles.
    pub(super) fn push(&mut self, entry: T) -> Option<Place> {
        let place = match self.free.some() {
            Some(place) => {
                let slot = self.slot_mut(place)?;
                let next = slot.younger;
                slot.entry = Some(entry);
                self.free = next;
                place
            }
            None => self.grow(entry)?,
        };
        self.link_youngest(place);
        Some(place)
    }

    #[cold]
    fn grow(&mut self, entry: T) -> Option<Place> {
        let full = self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK);
        if full {
            // The first chunk grows by doubling, so that a small table stays small.
            let room = if self.chunks.is_empty() { 0 } else { CHUNK };
            self.chunks.push(Vec::with_capacity(room));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut()?;
        let place = Place(u32::try_from(before + chunk.len()).ok()?).some()?;
        chunk.push(Slot { entry: Some(entry), older: Place::NONE, younger: Place::NONE });
        Some(place)
    }

    /// Takes the entry out; its place is free then.
    pub(super) fn remove(&mut self, place: Place) -> Option<T> {
        self.get(place)?;
        self.unlink(place);
        let free = self.free;
        let slot = self.slot_mut(place)?;
        slot.younger = free;
        let entry = slot.entry.take();
        self.free = place;
        if self.oldest == Place::NONE {
            // What a flood made this take goes back when it is over.
            if self.chunks.len() > 1 {
                self.chunks = Vec::new();
            }
            self.chunks.iter_mut().for_each(Vec::clear);
            self.free = Place::NONE;
        }
        entry
    }

    /// Makes the entry at `place`, which is taken, the youngest.
    pub(super) fn refresh(&mut self, place: Place) {
        if self.youngest != place {
            self.unlink(place);
            self.link_youngest(place);
        }
    }

    #[inline]
    fn unlink(&mut self, place: Place) {
        let Some((older, younger)) = self.slot(place).map(|slot| (slot.older, slot.younger)) else { return };
        match self.slot_mut(older) {
            Some(slot) => slot.younger = younger,
            None => self.oldest = younger,
        }
        match self.slot_mut(younger) {
            Some(slot) => slot.older = older,
            None => self.youngest = older,
        }
    }

    #[inline]
    fn link_youngest(&mut self, place: Place) {
        let before = self.youngest;
        if let Some(slot) = self.slot_mut(place) {
            slot.older = before;
            slot.younger = Place::NONE;
        }
        match self.slot_mut(before) {
            Some(slot) => slot.younger = place,
            None => self.oldest = place,
        }
        self.youngest = place;
    }
}
