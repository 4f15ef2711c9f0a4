//! The entries of a registry: what is done under its lock.

use crate::Error;

/// Room for one entry, which the caller lends.
#[derive(Debug)]
pub struct Place<T>(Option<Entry<T>>);

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub holder: Holder,
    pub value: T,
    bytes: usize,
    pins: usize,
    last_use: u64,
}

/// Who finds an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Whoever asks for its id.
    Id(u32),
    /// Whoever reclaims it, once nobody has it pinned.
    Retired,
    /// The caller that evicts it under this number.
    Evicted(u32, u64),
}

pub(super) struct Table<'m, T> {
    places: &'m mut [Place<T>],
    /// Counts pins, to tell which entry was used last.
    clock: u64,
    pub bytes: usize,
    pub budget: usize,
}

impl<T> Place<T> {
    /// No entry.
    pub const EMPTY: Self = Self(None);
}

impl<T> Entry<T> {
    const fn id(&self) -> Option<u32> {
        match self.holder {
            Holder::Id(id) => Some(id),
            _ => None,
        }
    }

    pub const fn may_go(&self) -> bool {
        matches!(self.holder, Holder::Id(_)) && self.pins == 0
    }
}

impl<'m, T> Table<'m, T> {
    pub const fn new(places: &'m mut [Place<T>], budget: usize) -> Self {
        Self { places, clock: 0, bytes: 0, budget }
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry<T>> {
        self.places.iter().filter_map(|place| place.0.as_ref())
    }

    /// All entries with an id, and their places.
    pub fn named(&mut self) -> impl Iterator<Item = (usize, u32, &mut Entry<T>)> {
        self.places.iter_mut().enumerate().filter_map(|(at, place)| {
            let entry = place.0.as_mut()?;
            Some((at, entry.id()?, entry))
        })
    }

    pub fn find(&self, id: u32) -> Option<usize> {
        self.places.iter().position(|place| place.0.as_ref().is_some_and(|entry| entry.id() == Some(id)))
    }

    pub fn free(&self) -> Option<usize> {
        self.places.iter().position(|place| place.0.is_none())
    }

    /// The first entry that nobody needs any more.
    pub fn unused(&self) -> Option<usize> {
        let done = |entry: &Entry<T>| entry.holder == Holder::Retired && entry.pins == 0;
        self.places.iter().position(|place| place.0.as_ref().is_some_and(done))
    }

    /// The entry that was used the longest ago among those that `among` names.
    pub fn oldest(&self, among: impl Fn(&Entry<T>) -> bool) -> Option<usize> {
        let places = self.places.iter().enumerate().filter_map(|(at, place)| {
            let entry = place.0.as_ref().filter(|entry| among(entry))?;
            Some((entry.last_use, at))
        });
        places.min().map(|(_, at)| at)
    }

    /// Bytes of what an eviction may take, and whether there is any of it.
    pub fn evictable(&self) -> (usize, bool) {
        let mut may_go = self.entries().filter(|entry| entry.may_go()).map(|entry| entry.bytes);
        let first = may_go.next();
        (may_go.fold(first.unwrap_or(0), usize::saturating_add), first.is_some())
    }

    pub fn take(&mut self, place: usize) -> Option<Entry<T>> {
        let entry = self.places.get_mut(place)?.0.take()?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Leaves an entry in its place for the caller that evicts it under `number`; its bytes are free.
    pub fn evict(&mut self, place: usize, number: u64) {
        if let Some(entry) = self.places.get_mut(place).and_then(|place| place.0.as_mut())
            && let Holder::Id(id) = entry.holder
        {
            self.bytes -= core::mem::take(&mut entry.bytes);
            entry.holder = Holder::Evicted(id, number);
        }
    }

    /// Bytes in use with `more` of them, and without `less`.
    pub fn with(&self, more: usize, less: usize) -> Result<usize, Error> {
        let needed = (self.bytes - less).checked_add(more).ok_or(Error::TooLarge)?;
        if needed > self.budget { Err(Error::OverBudget { needed }) } else { Ok(needed) }
    }

    pub fn put(&mut self, place: usize, id: u32, value: T, bytes: usize) {
        let last_use = self.tick();
        if let Some(place) = self.places.get_mut(place) {
            self.bytes += bytes;
            place.0 = Some(Entry { holder: Holder::Id(id), value, bytes, pins: 0, last_use });
        }
    }

    /// Takes the id from an entry, and the entry out if nobody has it pinned.
    pub fn retire(&mut self, place: usize) -> Option<T> {
        let entry = self.places.get_mut(place)?.0.as_mut()?;
        entry.holder = Holder::Retired;
        if entry.pins > 0 {
            return None;
        }
        self.take(place).map(|entry| entry.value)
    }

    /// Whether an entry is pinned, and its bytes.
    pub fn state(&self, place: usize) -> (bool, usize) {
        let entry = self.places.get(place).and_then(|place| place.0.as_ref());
        entry.map_or((false, 0), |entry| (entry.pins > 0, entry.bytes))
    }

    pub fn unpin(&mut self, place: usize) {
        if let Some(entry) = self.places.get_mut(place).and_then(|place| place.0.as_mut()) {
            entry.pins -= 1;
        }
    }

    /// A number that no other call of it gives.
    pub const fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

impl<T: Clone> Entry<T> {
    /// A copy of the value, which stays until it is unpinned.
    pub fn pin(&mut self, now: u64) -> T {
        self.pins += 1;
        self.last_use = now;
        self.value.clone()
    }
}

impl<T: Clone> Table<'_, T> {
    pub fn pin(&mut self, place: usize) -> Option<T> {
        let now = self.tick();
        let entry = self.places.get_mut(place)?.0.as_mut()?;
        Some(entry.pin(now))
    }
}
