//! Which modules get factors, and with which weights of their input channels.

use super::call::{Failure, path_or_none, text_or_none};
use crate::guard::{Guard, In};
use crate::status::Status;
use core::ffi::c_char;
use phlora::{ChannelScales, ExtractOptions};
use regex::Regex;

/// The fields that say so.
pub struct Modules {
    pub include: In<In<c_char>>,
    pub include_len: usize,
    pub exclude: In<In<c_char>>,
    pub exclude_len: usize,
    pub channel_scale: In<c_char>,
    pub tolerance: f64,
}

impl Modules {
    /// The options that they stand for, the others at their defaults.
    pub fn options(&self, guard: &mut Guard<'_>) -> Result<ExtractOptions, Failure> {
        let mut options = ExtractOptions::default();
        options.tolerance = super::call::share("tolerance", self.tolerance, options.tolerance)?;
        options.filter.include = patterns(guard, "include", self.include, self.include_len)?;
        options.filter.exclude = patterns(guard, "exclude", self.exclude, self.exclude_len)?;
        options.channel_scales = channel_scales(guard, self.channel_scale)?;
        Ok(options)
    }
}

/// The scales of a file, or none for NULL.
pub fn channel_scales(guard: &mut Guard<'_>, from: In<c_char>) -> Result<ChannelScales, Failure> {
    let path = path_or_none(guard, "channel_scale", from)?;
    Ok(path.map_or_else(|| Ok(ChannelScales::default()), |path| ChannelScales::open(&path))?)
}

/// Regular expressions, each of which must be there.
pub fn patterns(
    guard: &mut Guard<'_>,
    name: &str,
    list: In<In<c_char>>,
    len: usize,
) -> Result<Vec<Regex>, Failure> {
    let null = |status: Status| Failure { status, text: format!("{name}: {}", status.text()) };
    let list = guard.list_among(list, len).map_err(null)?;
    let mut patterns = Vec::with_capacity(list.len());
    for (i, &from) in list.iter().enumerate() {
        let name = format!("{name}[{i}]");
        let text = text_or_none(guard, &name, from)?.ok_or_else(|| Failure {
            status: Status::NullPointer,
            text: format!("{name}: {}", Status::NullPointer.text()),
        })?;
        patterns.push(Regex::new(text).map_err(|error| Failure {
            status: Status::BadText,
            text: format!("{name}: {text}: not a regular expression: {error}"),
        })?);
    }
    Ok(patterns)
}
