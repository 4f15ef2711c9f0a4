//! Which token of a batch uses which adapter, and how strongly.

use crate::Error;

/// One use of an adapter by a token. A token may have none, one or several.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Assignment {
    /// The token's place in the batch.
    pub token: u32,
    /// The adapter: an id of a registry until [`Registry::pin_all`](crate::Registry::pin_all) has made it a place
    /// in the list of adapters that are used.
    pub adapter: u32,
    /// Multiplies the adapter's scale.
    pub weight: f32,
}

impl Assignment {
    /// Brings assignments into the order that [`Apply::routed`](super::Apply::routed) takes, by adapter and token:
    /// once per batch, in place, in any layer the same.
    pub fn group(assignments: &mut [Self]) {
        assignments.sort_unstable_by_key(|of| (of.adapter, of.token));
    }

    /// Checks a grouped list against a batch of `tokens` and a list of `adapters`.
    pub(super) fn check(assignments: &[Self], tokens: usize, adapters: usize) -> Result<(), Error> {
        for (index, of) in assignments.iter().enumerate() {
            if of.token as usize >= tokens {
                return Err(Error::UnknownToken { index });
            }
            if of.adapter as usize >= adapters {
                return Err(Error::UnknownAdapter { index });
            }
            if !of.weight.is_finite() {
                return Err(Error::NonFiniteScale);
            }
        }
        if assignments.is_sorted_by_key(|of| of.adapter) { Ok(()) } else { Err(Error::NotGrouped) }
    }
}
