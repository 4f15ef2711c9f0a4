//! Adapters by id, replaced while they are used.
//!
//! The thread rule: every method takes `&self` and may be called from any thread at any time. What they share is
//! behind a spin lock that is held for a search through the table and a copy of one entry, never while an adapter is
//! used and never while the caller's code runs. (So a thread that waits for it waits as long as another one is
//! interrupted in that place; code that interrupts others on the same core must not call.)
//!
//! A user pins what it needs, in one step for a whole batch, and works on the copies that the pins hold: an entry is
//! seen as it was before a change or after it, never in between, and stays as pinned until the pin is dropped. Whoever
//! replaces or removes an entry gets the old value back at once when nobody has it pinned; otherwise the entry is
//! retired: no longer found by its id, it keeps its place until its last pin is gone and
//! [`Registry::reclaim`] hands it out. Only then may the memory that it stands for be freed or written.

use core::fmt;

use spin::Mutex;

use crate::{Assignment, Error};

/// At most `N` entries, those included that are retired and not yet reclaimed. `T` is what an adapter is to the
/// engine: a view of one layer, a slice of the views of all layers, a counted pointer. A whole model's adapter should be
/// one entry, so that it is changed in all layers at once.
///
/// ```
/// use phlora_core::Registry;
/// let registry: Registry<&str, 4> = Registry::new(usize::MAX);
/// registry.add(7, "first", 100)?;
/// let pinned = registry.pin(7)?;
/// registry.replace(7, "second", 100)?;
/// assert_eq!(pinned.get(0), Some(&"first")); // as long as it is pinned
/// assert_eq!(registry.pin(7)?.get(0), Some(&"second"));
/// drop(pinned);
/// assert_eq!(registry.reclaim(), Some("first"));
/// # Ok::<(), phlora_core::Error>(())
/// ```
pub struct Registry<T, const N: usize> {
    table: Mutex<Table<T, N>>,
}

struct Table<T, const N: usize> {
    places: [Option<Entry<T>>; N],
    /// Counts pins, to tell which entry was used last.
    clock: u64,
    bytes: usize,
    budget: usize,
}

struct Entry<T> {
    /// `None` once it is retired.
    id: Option<u32>,
    value: T,
    bytes: usize,
    pins: usize,
    last_use: u64,
}

/// What a registry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Entries that have an id.
    pub entries: usize,
    /// Entries that were replaced or removed and are still pinned, or wait for [`Registry::reclaim`].
    pub retired: usize,
    /// Bytes of both, as they were given.
    pub bytes: usize,
    /// Most bytes.
    pub budget: usize,
}

impl<T, const N: usize> Table<T, N> {
    fn find(&self, id: u32) -> Option<usize> {
        self.places.iter().position(|place| place.as_ref().is_some_and(|entry| entry.id == Some(id)))
    }

    fn free(&self) -> Option<usize> {
        self.places.iter().position(Option::is_none)
    }

    /// The entry of the id whose last use lies back the furthest, and that is not pinned now.
    fn oldest(&self) -> Option<usize> {
        let unused = self.places.iter().enumerate().filter_map(|(place, entry)| {
            let entry = entry.as_ref().filter(|entry| entry.id.is_some() && entry.pins == 0)?;
            Some((entry.last_use, place))
        });
        unused.min().map(|(_, place)| place)
    }

    fn take(&mut self, place: usize) -> Option<Entry<T>> {
        let entry = self.places.get_mut(place)?.take()?;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Bytes in use with `more` of them.
    fn with(&self, more: usize) -> Result<usize, Error> {
        let needed = self.bytes.checked_add(more).ok_or(Error::TooLarge)?;
        if needed > self.budget { Err(Error::OverBudget { needed }) } else { Ok(needed) }
    }

    fn put(&mut self, place: usize, id: u32, value: T, bytes: usize) {
        self.clock += 1;
        let entry = Entry { id: Some(id), value, bytes, pins: 0, last_use: self.clock };
        self.bytes += bytes;
        if let Some(place) = self.places.get_mut(place) {
            *place = Some(entry);
        }
    }

    /// Takes the id from an entry, and the entry out if nobody has it pinned.
    fn retire(&mut self, place: usize) -> Option<T> {
        let entry = self.places.get_mut(place)?.as_mut()?;
        entry.id = None;
        if entry.pins > 0 {
            return None;
        }
        self.take(place).map(|entry| entry.value)
    }

    fn unpin(&mut self, place: usize) {
        if let Some(Some(entry)) = self.places.get_mut(place) {
            entry.pins -= 1;
        }
    }
}

impl<T: Clone, const N: usize> Table<T, N> {
    fn pin(&mut self, place: usize) -> Option<T> {
        self.clock += 1;
        let entry = self.places.get_mut(place)?.as_mut()?;
        entry.pins += 1;
        entry.last_use = self.clock;
        Some(entry.value.clone())
    }
}

impl<T, const N: usize> Registry<T, N> {
    /// An empty registry for at most `budget` bytes, as its entries state them; `usize::MAX` for no limit.
    pub const fn new(budget: usize) -> Self {
        Self { table: Mutex::new(Table { places: [const { None }; N], clock: 0, bytes: 0, budget }) }
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
        table.with(bytes)?;
        let place = table.free().ok_or(Error::RegistryFull { capacity: N })?;
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
        let mut gone = heapless::Vec::<(u32, T), N>::new();
        let mut table = self.table.lock();
        if table.find(id).is_some() {
            return Err(Error::IdTaken);
        }
        let unused = || table.places.iter().flatten().filter(|entry| entry.id.is_some() && entry.pins == 0);
        let unused_bytes: usize = unused().map(|entry| entry.bytes).sum();
        if table.free().is_none() && unused().next().is_none() {
            return Err(Error::RegistryFull { capacity: N });
        }
        let needed = (table.bytes - unused_bytes).checked_add(bytes).ok_or(Error::TooLarge)?;
        if needed > table.budget {
            return Err(Error::OverBudget { needed });
        }
        while table.free().is_none() || table.with(bytes).is_err() {
            let entry = table.oldest().and_then(|place| table.take(place));
            let Some(Entry { id: Some(id), value, .. }) = entry else { break };
            // There is room for as many as the table has.
            let _ = gone.push((id, value));
        }
        if let Some(place) = table.free() {
            table.put(place, id, value, bytes);
        }
        drop(table);
        for (id, value) in gone {
            evicted(id, value);
        }
        Ok(())
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
        let (pinned, old_bytes) = match table.places.get(old) {
            Some(Some(entry)) => (entry.pins > 0, entry.bytes),
            _ => (false, 0),
        };
        let place = if pinned { table.free().ok_or(Error::RegistryFull { capacity: N })? } else { old };
        if pinned {
            table.with(bytes)?;
        } else {
            let needed = (table.bytes - old_bytes).checked_add(bytes).ok_or(Error::TooLarge)?;
            if needed > table.budget {
                return Err(Error::OverBudget { needed });
            }
        }
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
        let done = |entry: &Entry<T>| entry.id.is_none() && entry.pins == 0;
        let place = table.places.iter().position(|place| place.as_ref().is_some_and(done))?;
        table.take(place).map(|entry| entry.value)
    }

    /// What is in it.
    pub fn usage(&self) -> Usage {
        let table = self.table.lock();
        let all = || table.places.iter().flatten();
        let entries = all().filter(|entry| entry.id.is_some()).count();
        Usage { entries, retired: all().count() - entries, bytes: table.bytes, budget: table.budget }
    }
}

impl<T: Clone, const N: usize> Registry<T, N> {
    /// Pins every adapter that a batch uses, each once, all as they are at one moment. Each assignment's id becomes the
    /// place of its adapter in what is returned, and the assignments are grouped.
    ///
    /// # Errors
    /// [`Error::UnknownAdapter`]: nothing is pinned, no assignment has changed.
    pub fn pin_all(&self, assignments: &mut [Assignment]) -> Result<Pinned<'_, T, N>, Error> {
        // What follows takes as long as the list: the lock is held for the adapters in it alone.
        let (ids, beyond) = distinct::<N>(assignments);
        let mut values = heapless::Vec::<(usize, T), N>::new();
        let mut table = self.table.lock();
        if let Some(&(_, index)) = ids.iter().find(|&&(id, _)| table.find(id).is_none()) {
            return Err(Error::UnknownAdapter { index });
        }
        if let Some(index) = beyond {
            // All places are taken by the ids before.
            return Err(Error::UnknownAdapter { index });
        }
        for &(id, _) in &ids {
            if let Some(place) = table.find(id)
                && let Some(value) = table.pin(place)
            {
                // As many as there are ids, for which there is room.
                let _ = values.push((place, value));
            }
        }
        drop(table);
        let mut last = 0;
        for of in &mut *assignments {
            // Runs of one adapter are searched for once.
            if ids.get(last).is_none_or(|&(id, _)| id != of.adapter) {
                last = ids.iter().position(|&(id, _)| id == of.adapter).unwrap_or(0);
            }
            of.adapter = last as u32;
        }
        Assignment::group(assignments);
        Ok(Pinned { registry: self, values })
    }

    /// Pins one entry.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn pin(&self, id: u32) -> Result<Pinned<'_, T, N>, Error> {
        let mut values = heapless::Vec::new();
        let mut table = self.table.lock();
        let place = table.find(id).ok_or(Error::UnknownId)?;
        if let Some(value) = table.pin(place) {
            // Empty until now.
            let _ = values.push((place, value));
        }
        drop(table);
        Ok(Pinned { registry: self, values })
    }
}

impl<T, const N: usize> fmt::Debug for Registry<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

/// The ids of a list, each with the index of its first assignment, in that order: the first `N`, and where the next one is
/// if there are more.
fn distinct<const N: usize>(assignments: &[Assignment]) -> (heapless::Vec<(u32, usize), N>, Option<usize>) {
    let mut ids = heapless::Vec::<(u32, usize), N>::new();
    let mut last = None;
    for (index, of) in assignments.iter().enumerate() {
        if last == Some(of.adapter) {
            continue;
        }
        last = Some(of.adapter);
        if !ids.iter().any(|&(id, _)| id == of.adapter) && ids.push((of.adapter, index)).is_err() {
            return (ids, Some(index));
        }
    }
    (ids, None)
}

/// Entries that stay as they are until this is dropped.
pub struct Pinned<'r, T, const N: usize> {
    registry: &'r Registry<T, N>,
    /// Each with its place in the table.
    values: heapless::Vec<(usize, T), N>,
}

impl<T, const N: usize> Pinned<'_, T, N> {
    /// The values, in the order that assignments count them.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.values.iter().map(|(_, value)| value)
    }

    /// Value `index`.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.values.get(index).map(|(_, value)| value)
    }
}

impl<T, const N: usize> Drop for Pinned<'_, T, N> {
    fn drop(&mut self) {
        let mut table = self.registry.table.lock();
        for &(place, _) in &self.values {
            table.unpin(place);
        }
    }
}

impl<T, const N: usize> fmt::Debug for Pinned<'_, T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("len", &self.values.len()).finish_non_exhaustive()
    }
}
