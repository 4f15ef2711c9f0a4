//! Fields of the configuration for what an adapter holds beside its factors.

use crate::error::{Error, Result};
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

/// The rows that `trainable_token_indices` names, by module; a list is that of the input embedding.
pub(super) fn token_rows(
    path: &std::path::Path,
    json: &serde_json::Value,
) -> Result<Vec<(String, Vec<usize>)>> {
    let field = &json["trainable_token_indices"];
    let bad = || Error::format(path, "its trainable_token_indices are no lists of rows");
    let rows = |list: &serde_json::Value| -> Option<Vec<usize>> {
        list.as_array()?.iter().map(|row| usize::try_from(row.as_u64()?).ok()).collect()
    };
    match field {
        serde_json::Value::Null => Ok(Vec::new()),
        serde_json::Value::Array(_) => Ok(vec![(String::new(), rows(field).ok_or_else(bad)?)]),
        serde_json::Value::Object(modules) => {
            modules.iter().map(|(module, list)| Ok((module.clone(), rows(list).ok_or_else(bad)?))).collect()
        }
        _ => Err(bad()),
    }
}
