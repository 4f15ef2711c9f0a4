//! Fields of the configuration for what an adapter holds beside its factors.

use crate::error::{Error, Result};
use crate::source::json::Json;
use std::collections::BTreeMap;

/// What [`Lora::full`](crate::Lora::full) needs in the configuration.
#[derive(Debug, Default)]
pub(super) struct Fields<'l> {
    /// Sorted, without repetitions.
    pub(super) modules_to_save: Vec<&'l str>,
    pub(super) bias: &'static str,
    pub(super) lora_bias: bool,
    pub(super) tokens: BTreeMap<&'l str, &'l [usize]>,
}

/// The rows that `field`, `trainable_token_indices`, names, by module; a list is that of the input embedding.
pub(super) fn token_rows(path: &std::path::Path, field: Json<'_>) -> Result<Vec<(String, Vec<usize>)>> {
    let bad = || Error::format(path, "its trainable_token_indices are no lists of rows");
    if field.is_null() {
        return Ok(Vec::new());
    }
    if field.is_array() {
        return Ok(vec![(String::new(), field.sizes().ok_or_else(bad)?)]);
    }
    let (mut found, mut sound) = (Vec::new(), true);
    let is_object = field.each_entry(|module, list| {
        sound = found.len() < MAX_NAMES
            && list.sizes().map(|rows| found.push((module.into_owned(), rows))).is_some();
        sound
    });
    if is_object && sound { Ok(found) } else { Err(bad()) }
}

/// Most names of modules in one field.
pub(super) const MAX_NAMES: usize = 1 << 16;

/// The texts of a list; `None` where it is anything else, or longer than any model has modules.
pub(super) fn names(list: Json<'_>) -> Option<Vec<String>> {
    list.texts(MAX_NAMES)
}
