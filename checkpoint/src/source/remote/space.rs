//! The bytes that weights from addresses may take at a time, of all models together.

use super::settings::options;
use crate::run::pool::lock;
use std::sync::{Condvar, Mutex, PoisonError};

static USED: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

/// Some of these bytes, until it is dropped.
#[derive(Debug)]
pub(super) struct Room(u64);

impl Room {
    /// Waits until there is room for `bytes`. The caller may hold `beside` bytes more while it waits, which it will not give back,
    /// and no others, or threads could wait for each other forever.
    ///
    /// # Errors
    /// Where there never is.
    pub(super) fn wait(bytes: u64, beside: u64) -> Result<Self, String> {
        let options = options();
        let all = bytes.saturating_add(beside);
        if bytes > 0 && options.size.is_some_and(|size| all > size) {
            return Err(format!(
                "{all} bytes have to be held at once, more than the {} that are allowed",
                options.limit()
            ));
        }
        let limit = options.limit();
        let mut used = lock(&USED);
        // What is alone may be larger than the default.
        while bytes > 0 && *used > beside && *used + bytes > limit {
            used = FREED.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        *used += bytes;
        Ok(Self(bytes))
    }

    /// How many they are.
    pub(super) fn bytes(&self) -> u64 {
        self.0
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut used = lock(&USED);
        *used = used.saturating_sub(self.0);
        FREED.notify_all();
    }
}
