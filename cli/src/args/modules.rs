//! Which modules are looked at, and how closely.

use super::heading::{HOW, WHAT};
use super::units::{energy, pattern};
use clap::Args;
use phlora::{ChannelScales, Error, ExtractOptions};
use regex::Regex;
use std::path::{Path, PathBuf};

/// What is looked at, and how closely.
#[derive(Debug, Args)]
pub struct ModuleArgs {
    /// Only modules whose path matches; may be repeated. Output head, embeddings, 1-D convolutions and those of a single
    /// input channel only take part if one matches them
    #[arg(long, value_name = "RE", value_parser = pattern, help_heading = WHAT)]
    pub include: Vec<Regex>,
    /// No module whose path matches; may be repeated
    #[arg(long, value_name = "RE", value_parser = pattern, help_heading = WHAT)]
    pub exclude: Vec<Regex>,
    /// Weights of the input channels: a safetensors file with a vector per module, by its path. With the root mean
    /// squares of a layer's inputs, energies are shares of the error of its output
    #[arg(long, value_name = "FILE.safetensors", help_heading = WHAT)]
    pub channel_scale: Option<PathBuf>,
    /// Stop reading a weight when the next read is expected to add less than this share of the energy
    #[arg(long, value_name = "T", default_value_t = ExtractOptions::default().tolerance, value_parser = energy, help_heading = HOW)]
    pub tolerance: f64,
}

impl ModuleArgs {
    /// The options that they stand for, the others at their defaults.
    pub fn options(&self) -> Result<ExtractOptions, Error> {
        let mut options = ExtractOptions::default();
        options.tolerance = self.tolerance;
        options.filter.include.clone_from(&self.include);
        options.filter.exclude.clone_from(&self.exclude);
        options.channel_scales = channel_scales(self.channel_scale.as_deref())?;
        Ok(options)
    }
}

/// The scales of a file, or none.
pub fn channel_scales(path: Option<&Path>) -> Result<ChannelScales, Error> {
    path.map_or_else(|| Ok(ChannelScales::default()), ChannelScales::open)
}
