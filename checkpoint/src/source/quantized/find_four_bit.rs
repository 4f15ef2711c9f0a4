//! Weights of bitsandbytes in four bits, which say in a tensor of JSON how they are to be read.

use super::find::Finder;
use super::recipe::{Component, Components, Nested, Recipe};
use crate::error::Result;
use crate::source::json::Json;
use phlora_core::Shape;

/// Longest JSON in a tensor.
const MAX_STATE: usize = 1 << 16;

impl Finder<'_> {
    /// NF4 and FP4 of bitsandbytes.
    pub(super) fn four_bit(&self, weight: &str, codes: Component) -> Result<Recipe> {
        let of = |suffix: &str| self.needed_of(codes, weight, suffix);
        let (absmax, quant_map) = (of(".absmax")?, of(".quant_map")?);
        let state = ["nf4", "fp4"].map(|kind| format!("{weight}.quant_state.bitsandbytes__{kind}"));
        let state = state.iter().find_map(|name| self.component(name));
        let state =
            state.ok_or_else(|| self.error(codes, "its tensor .quant_state.bitsandbytes__nf4 is missing"))?;
        let json = Some(self.bytes(state)).filter(|bytes| bytes.len() <= MAX_STATE);
        let json = json.and_then(|bytes| Json::parse(bytes).ok());
        let json = json.ok_or_else(|| self.error(state, "not a state of bitsandbytes: not valid JSON"))?;
        let whole = json.at("shape").sizes().and_then(|shape| {
            let cols =
                shape.get(1..)?.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))?;
            Some((Shape { rows: *shape.first()?, cols }, shape))
        });
        let (Some((matrix, shape)), Some(block_size)) = (whole, json.at("blocksize").size()) else {
            return Err(self.error(state, "its shape or blocksize is missing"));
        };
        let nested = match self.component(&format!("{weight}.nested_absmax")) {
            None => None,
            Some(absmax) => Some(Nested {
                absmax,
                quant_map: of(".nested_quant_map")?,
                block_size: json
                    .at("nested_blocksize")
                    .size()
                    .ok_or_else(|| self.error(state, "its nested_blocksize is missing"))?,
                offset: json.at("nested_offset").number().unwrap_or_default() as f32,
            }),
        };
        Ok(Recipe {
            shape,
            matrix,
            codes,
            scheme: Components::BnbFourBit { quant_map, block_size, absmax, nested },
        })
    }
}
