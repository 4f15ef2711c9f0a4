//! Adapters of one safetensors file: kohya's, `lora_unet_down_blocks_0_….lora_up.weight`, and ComfyUI's,
//! `diffusion_model.input_blocks.….lora_up.weight`. They differ in names only.

mod places;
mod read;
mod write;

pub(crate) use places::{Places, Style};
pub(crate) use read::{SingleFile, is_single_file};
pub(crate) use write::{length, write};

/// What follows a module's name: of `lora_a`, of `lora_b`, and of the scalar by which the scale is alpha over rank.
const DOWN: &str = ".lora_down.weight";
const UP: &str = ".lora_up.weight";
const ALPHA: &str = ".alpha";

/// What follows the name of a module whose weight or bias is changed without factors: differences, which are added.
const DIFF: &str = ".diff";
const DIFF_BIAS: &str = ".diff_b";

/// The key of the metadata that names the base.
const BASE_NAME: &str = "ss_sd_model_name";
