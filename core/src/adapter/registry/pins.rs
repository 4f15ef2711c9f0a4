//! Entries that stay as they are while a batch uses them.

use core::fmt;

use super::Registry;
use crate::{Assignment, Error};

/// Room for one pinned entry, which the caller lends.
#[derive(Debug)]
pub struct Pin<T> {
    id: u32,
    /// The first assignment to it.
    index: usize,
    place: usize,
    value: Option<T>,
}

impl<T> Pin<T> {
    /// No entry.
    pub const EMPTY: Self = Self { id: 0, index: 0, place: 0, value: None };
}

impl<'m, T: Clone> Registry<'m, T> {
    /// Pins every adapter that a batch uses, each once, all as they are at one moment. Each assignment's id becomes the
    /// place of its adapter among what is returned, which is ordered by id, and the assignments are grouped.
    ///
    /// * `pins`: room for as many entries as the batch uses; [`Registry::capacity`] does for all batches.
    ///
    /// # Errors
    /// [`Error::UnknownAdapter`]; [`Error::ScratchTooSmall`] where `pins` has less room. Nothing is pinned, no assignment
    /// has changed.
    pub fn pin_all<'r>(
        &'r self,
        assignments: &mut [Assignment],
        pins: &'r mut [Pin<T>],
    ) -> Result<Pinned<'r, 'm, T>, Error> {
        // What follows takes as long as the list: the lock is held for one walk through the table alone.
        let (count, beyond) = distinct(assignments, pins);
        if beyond.is_some() && pins.len() < self.capacity() {
            return Err(Error::ScratchTooSmall { needed: self.capacity() });
        }
        let pinned = Pinned { registry: self, pins: pins.get_mut(..count).unwrap_or_default() };
        let mut table = self.table.lock();
        let now = table.tick();
        for (place, id, entry) in table.named() {
            let at = pinned.pins.binary_search_by_key(&id, |pin| pin.id);
            if let Some(pin) = at.ok().and_then(|at| pinned.pins.get_mut(at)) {
                (pin.place, pin.value) = (place, Some(entry.pin(now)));
            }
        }
        drop(table);
        let missing = pinned.pins.iter().filter(|pin| pin.value.is_none()).map(|pin| pin.index).min();
        // All places are taken by the ids before that one.
        if let Some(index) = missing.or(beyond) {
            return Err(Error::UnknownAdapter { index });
        }
        let mut last = (0, None);
        for of in &mut *assignments {
            // Neighbours with the same adapter are searched for once.
            if last.1 != Some(of.adapter) {
                let at = pinned.pins.binary_search_by_key(&of.adapter, |pin| pin.id);
                last = (at.unwrap_or(0), Some(of.adapter));
            }
            of.adapter = last.0 as u32;
        }
        Assignment::group(assignments);
        Ok(pinned)
    }

    /// Pins one entry.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn pin(&self, id: u32) -> Result<Held<'_, 'm, T>, Error> {
        let mut table = self.table.lock();
        let place = table.find(id).ok_or(Error::UnknownId)?;
        let value = table.pin(place).ok_or(Error::UnknownId)?;
        drop(table);
        Ok(Held { registry: self, place, value })
    }
}

/// Fills `pins` with the ids of a list in their order, each with the index of its first assignment. Gives how many there
/// are, and the index of the first assignment to one for which there is no room.
fn distinct<T>(assignments: &[Assignment], pins: &mut [Pin<T>]) -> (usize, Option<usize>) {
    let (mut count, mut last) = (0, None);
    for (index, of) in assignments.iter().enumerate() {
        if last == Some(of.adapter) {
            continue;
        }
        last = Some(of.adapter);
        let known = pins.get(..count).unwrap_or_default();
        let Err(at) = known.binary_search_by_key(&of.adapter, |pin| pin.id) else { continue };
        if count == pins.len() {
            return (count, Some(index));
        }
        count += 1;
        let mut carried = Pin { id: of.adapter, index, place: 0, value: None };
        for pin in pins.iter_mut().take(count).skip(at) {
            core::mem::swap(pin, &mut carried);
        }
    }
    (count, None)
}

/// An entry that stays as it is until this is dropped.
pub struct Held<'r, 'm, T> {
    registry: &'r Registry<'m, T>,
    place: usize,
    value: T,
}

/// Entries that stay as they are until this is dropped.
pub struct Pinned<'r, 'm, T> {
    registry: &'r Registry<'m, T>,
    pins: &'r mut [Pin<T>],
}

impl<T> Held<'_, '_, T> {
    /// The value.
    pub const fn value(&self) -> &T {
        &self.value
    }
}

impl<T> Pinned<'_, '_, T> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.pins.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.pins.is_empty()
    }

    /// The values, in the order that assignments count them.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.pins.iter().filter_map(|pin| pin.value.as_ref())
    }

    /// Value `index`.
    pub fn get(&self, index: usize) -> Option<&T> {
        self.pins.get(index)?.value.as_ref()
    }
}

impl<T> Drop for Held<'_, '_, T> {
    fn drop(&mut self) {
        self.registry.table.lock().unpin(self.place);
    }
}

impl<T> Drop for Pinned<'_, '_, T> {
    fn drop(&mut self) {
        let mut table = self.registry.table.lock();
        for pin in self.pins.iter().filter(|pin| pin.value.is_some()) {
            table.unpin(pin.place);
        }
        drop(table);
        // The caller's code may run when a copy goes: not under the lock.
        self.pins.iter_mut().for_each(|pin| pin.value = None);
    }
}

impl<T> fmt::Debug for Held<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("place", &self.place).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Pinned<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("len", &self.pins.len()).finish_non_exhaustive()
    }
}
