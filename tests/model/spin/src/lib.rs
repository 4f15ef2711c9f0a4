//! A lock with the interface that phlora-core uses of the crate `spin`, whose order of takers loom tries out.

use std::cell::{OnceCell, UnsafeCell};
use std::ops::{Deref, DerefMut};

/// A lock around a value.
pub struct Mutex<T> {
    /// Made at the first use, within a run of loom, as `new` is a constant function.
    lock: OnceCell<loom::sync::Mutex<()>>,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached through a guard alone, of which loom's lock lets one exist; loom runs its threads one at a time, and
// changes between them within its own operations alone, of which making a lock is none.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// The value, while the lock is held.
pub struct Guard<'m, T> {
    _held: loom::sync::MutexGuard<'m, ()>,
    value: &'m UnsafeCell<T>,
}

impl<T> Mutex<T> {
    /// A lock that nobody holds.
    pub const fn new(value: T) -> Self {
        Self { lock: OnceCell::new(), value: UnsafeCell::new(value) }
    }

    /// Waits for the lock.
    ///
    /// # Panics
    /// When a thread panicked that held it.
    pub fn lock(&self) -> Guard<'_, T> {
        let held = self.lock.get_or_init(|| loom::sync::Mutex::new(())).lock().expect("no holder panicked");
        Guard { _held: held, value: &self.value }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and the guard is borrowed alone.
        unsafe { &mut *self.value.get() }
    }
}
