//! Which shard of an extraction is done, and where what is found is kept.

use super::call::{Failure, paths};
use crate::guard::{Guard, In};
use core::ffi::c_char;
use phlora::{PartFiles, Shard, Work};
use std::path::Path;

/// The fields that say so.
pub struct Asked {
    pub shard_index: usize,
    pub shard_count: usize,
    pub parts: In<In<c_char>>,
    pub parts_len: usize,
    pub join: u32,
    pub resume: u32,
    pub fresh: u32,
}

impl Asked {
    /// The work on an adapter at `output`, and the files that keep it.
    pub fn files(&self, guard: &mut Guard<'_>, output: &Path) -> Result<PartFiles, Failure> {
        let is_shard = self.shard_count > 0 || self.shard_index > 0;
        let asked = [is_shard, self.join != 0, self.resume != 0];
        if asked.into_iter().filter(|&asked| asked).count() > 1 {
            return Err(Failure::option("shard_count, join, resume", "at most one of them"));
        }
        if self.parts_len > 0 && !is_shard && self.join == 0 {
            return Err(Failure::option("parts", "they are for a shard, or to be joined"));
        }
        let work = if is_shard {
            let problem = "expected a shard from 1 to shard_count, at most 65536";
            let shard = Shard::new(self.shard_index, self.shard_count);
            Work::Shard(shard.ok_or_else(|| Failure::option("shard_index", problem))?)
        } else if self.join != 0 {
            Work::None
        } else {
            Work::Rest
        };
        let mut files = PartFiles::new(work);
        files.own = match work {
            Work::Shard(_) => Some(output.to_owned()),
            _ => (self.resume != 0).then(|| PartFiles::beside(output)),
        };
        files.others = paths(guard, "parts", self.parts, self.parts_len)?;
        files.fresh = self.fresh != 0;
        Ok(files)
    }
}
