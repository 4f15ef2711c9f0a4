//! Tells extractions apart whose part files must not be mixed: by their models and by the options that factors depend on.

use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::part_files::Identity;
use crate::source::model::Model;
use std::num::NonZeroUsize;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

/// Places of a file that are looked at, beside its two ends, and bytes of each.
const SAMPLES: usize = 64;
const SAMPLE: usize = 4096;
/// Bytes at each end of a file: headers of most models lie within.
const END: usize = 1 << 20;

impl Identity {
    /// That of an extraction from `models`, base, tuned and, if there is one, the deployed base, at `ranks`, if several
    /// are asked for, with `options`.
    pub(crate) fn of(models: &[&Model], ranks: &[usize], options: &ExtractOptions) -> Self {
        let one = NonZeroUsize::MIN;
        let same = ExtractOptions {
            threads: one,
            chunk_bytes: 0,
            journals: None,
            base_name: None,
            ..options.clone()
        };
        let options = xxh3_64(format!("{ranks:?} {same:?}").as_bytes());
        Self {
            phlora: env!("CARGO_PKG_VERSION").to_owned(),
            models: models.iter().map(|model| digest(model)).collect(),
            options: format!("{options:016x}"),
        }
    }
}

/// A digest of the files of a model: their lengths, their ends, and samples of all between.
fn digest(model: &Model) -> String {
    let mut digest = Xxh3Default::new();
    for version in model.versions() {
        digest.update(version.as_bytes());
    }
    for (_, bytes) in model.contents() {
        digest.update(&(bytes.len() as u64).to_le_bytes());
        digest.update(&bytes[..bytes.len().min(END)]);
        digest.update(&bytes[bytes.len().saturating_sub(END)..]);
        for sample in 0..SAMPLES {
            let start = bytes.len() / SAMPLES * sample;
            digest.update(&bytes[start..bytes.len().min(start + SAMPLE)]);
        }
    }
    format!("{:016x}", digest.digest())
}
