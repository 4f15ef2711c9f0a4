//! Adapters by id, replaced while they are used.
//!
//! The thread rule: every method takes `&self` and may be called from any thread at any time. What they all use is
//! behind a spin lock that is held for a search through the table and a copy of one entry (of those that it finds, where a
//! batch is pinned), never while an adapter is used and never while the caller's code runs. (So a thread that waits for
//! it waits as long as another one is interrupted in that place; code that interrupts others on the same core must not
//! call.)
//!
//! A user pins what it needs, in one step for a whole batch, and works on the copies that the pins hold: an entry is
//! seen as it was before a change or after it, never in between, and stays as pinned until the pin is dropped. Whoever
//! replaces or removes an entry gets the old value back at once when nobody has it pinned; otherwise the entry is
//! retired: no longer found by its id, it keeps its place until its last pin is gone and
//! [`Registry::reclaim`] hands it out. Only then may the memory that it stands for be freed or written.

mod pins;
mod table;

use core::fmt;

use spin::Mutex;

use crate::Error;
pub use pins::{Held, Pin, Pinned};
pub use table::Place;
use table::{Entry, Holder, Table};

/// Adapters by id, which may be replaced while others use them.
///
/// The caller lends a [`Place`] for each entry, those included that are retired and not yet reclaimed. `T` is what an
/// adapter is to the engine: a view of one layer, a slice of the views of all layers, a counted pointer. The adapter of a
/// whole model should be one entry, so that it changes in all layers at once.
///
/// Every method takes `&self` and may be called from any thread. A spin lock is held while the table is searched, never
/// while an adapter is used or code of the caller runs.
///
/// ```
/// use phlora_core::{Place, Registry};
/// let mut places = [const { Place::EMPTY }; 4];
/// let registry = Registry::new(&mut places, usize::MAX);
/// registry.add(7, "first", 100)?;
/// let held = registry.pin(7)?;
/// registry.replace(7, "second", 100)?;
/// assert_eq!(held.value(), &"first"); // as long as it is pinned
/// assert_eq!(registry.pin(7)?.value(), &"second");
/// drop(held);
/// assert_eq!(registry.reclaim(), Some("first"));
/// # Ok::<(), phlora_core::Error>(())
/// ```
pub struct Registry<'m, T> {
    table: Mutex<Table<'m, T>>,
    capacity: usize,
}

/// What a registry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Entries that have an id.
    pub entries: usize,
    /// Entries that were replaced or removed and are still pinned, or wait for [`Registry::reclaim`]; those that are being
    /// evicted among them.
    pub retired: usize,
    /// Bytes of both, as they were given.
    pub bytes: usize,
    /// Most bytes.
    pub budget: usize,
}

impl<'m, T> Registry<'m, T> {
    /// An empty registry for at most `budget` bytes, as its entries state them; `usize::MAX` for no limit. What `places`
    /// hold is dropped.
    pub fn new(places: &'m mut [Place<T>], budget: usize) -> Self {
        for place in &mut *places {
            *place = Place::EMPTY;
        }
        let capacity = places.len();
        Self { table: Mutex::new(Table::new(places, budget)), capacity }
    }

    /// The most entries.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    const fn full(&self) -> Error {
        Error::RegistryFull { capacity: self.capacity }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`Error::IdTaken`]; [`Error::RegistryFull`]; [`Error::OverBudget`]. Nothing has changed.
    pub fn add(&self, id: u32, value: T, bytes: usize) -> Result<(), Error> {
        let mut table = self.table.lock();
        if table.find(id).is_some() {
            return Err(Error::IdTaken);
        }
        table.with(bytes, 0)?;
        let place = table.free().ok_or(self.full())?;
        table.put(place, id, value, bytes);
        Ok(())
    }

    /// Adds an entry in the place of those used least recently, as many as must go; pinned ones stay. `evicted` gets
    /// their ids and values, whose memory is free, when the new entry is in.
    ///
    /// # Errors
    /// As [`Registry::add`], where even without all entries that are not pinned there is no room. Nothing has
    /// changed.
    pub fn add_evicting(
        &self,
        id: u32,
        value: T,
        bytes: usize,
        mut evicted: impl FnMut(u32, T),
    ) -> Result<(), Error> {
        let mut table = self.table.lock();
        if table.find(id).is_some() {
            return Err(Error::IdTaken);
        }
        let (unused_bytes, is_any) = table.evictable();
        if table.free().is_none() && !is_any {
            return Err(self.full());
        }
        table.with(bytes, unused_bytes)?;
        // The first leaves its place to the new entry; the others keep theirs until they are handed over.
        let number = table.tick();
        let mut first = None;
        while table.free().is_none() || table.with(bytes, 0).is_err() {
            let Some(place) = table.oldest(Entry::may_go) else { break };
            match first {
                None => first = table.take(place),
                Some(_) => table.evict(place, number),
            }
        }
        if let Some(place) = table.free() {
            table.put(place, id, value, bytes);
        }
        drop(table);
        let Some(first) = first else { return Ok(()) };
        if let Holder::Id(id) = first.holder {
            evicted(id, first.value);
        }
        loop {
            let mut table = self.table.lock();
            let own = |holder| matches!(holder, Holder::Evicted(_, of) if of == number);
            let place = table.oldest(|entry| own(entry.holder));
            let Some(entry) = place.and_then(|place| table.take(place)) else { return Ok(()) };
            drop(table);
            if let Holder::Evicted(id, _) = entry.holder {
                evicted(id, entry.value);
            }
        }
    }

    /// Changes what an id stands for. Pins that are held keep the old value; pins from now on get the new one.
    ///
    /// Returns the old value if nobody has it pinned; otherwise `None`, and [`Registry::reclaim`] will hand it out.
    ///
    /// # Errors
    /// [`Error::UnknownId`]; [`Error::RegistryFull`] when the old entry is pinned and there is no place for it beside
    /// the new one; [`Error::OverBudget`]. Nothing has changed.
    pub fn replace(&self, id: u32, value: T, bytes: usize) -> Result<Option<T>, Error> {
        let mut table = self.table.lock();
        let old = table.find(id).ok_or(Error::UnknownId)?;
        let (is_pinned, old_bytes) = table.state(old);
        let place = if is_pinned { table.free().ok_or(self.full())? } else { old };
        table.with(bytes, if is_pinned { 0 } else { old_bytes })?;
        let value_before = table.retire(old);
        table.put(place, id, value, bytes);
        Ok(value_before)
    }

    /// Takes an id away, as [`Registry::replace`] without a new value.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn remove(&self, id: u32) -> Result<Option<T>, Error> {
        let mut table = self.table.lock();
        let place = table.find(id).ok_or(Error::UnknownId)?;
        Ok(table.retire(place))
    }

    /// Hands out a retired value whose last pin is gone, if there is one. Its place is free now.
    pub fn reclaim(&self) -> Option<T> {
        let mut table = self.table.lock();
        let place = table.unused()?;
        table.take(place).map(|entry| entry.value)
    }

    /// What is in it.
    pub fn usage(&self) -> Usage {
        let table = self.table.lock();
        let entries = table.entries().filter(|entry| matches!(entry.holder, Holder::Id(_))).count();
        let retired = table.entries().count() - entries;
        Usage { entries, retired, bytes: table.bytes, budget: table.budget }
    }
}

impl<T> fmt::Debug for Registry<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("usage", &self.usage()).finish_non_exhaustive()
    }
}
