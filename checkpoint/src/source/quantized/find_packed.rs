//! Weights whose codes are packed into words of 32 bits, or into bytes with blocks of scales beside.

use super::find::{Finder, float_format};
use super::method::{Method, Packing};
use super::recipe::{Component, Components, Recipe};
use crate::error::Result;
use phlora_core::Shape;
use phlora_core::quantized::GlobalScale;

impl Finder<'_> {
    /// GPTQ and AWQ.
    pub(super) fn integers(&self, module: &str, codes: Component) -> Result<Recipe> {
        let Some(packing) = self.method.and_then(Method::packing) else {
            let problem = "packed as by GPTQ or AWQ, but no quantization_config in config.json says by which";
            return Err(self.error(codes, problem));
        };
        let (qzeros, scales) = (self.needed(codes, module, "qzeros")?, self.needed(codes, module, "scales")?);
        let g_idx = self.component(&format!("{module}.g_idx"));
        let (&[first, _], &[groups, rows]) =
            (self.stored(codes).shape.as_slice(), self.stored(scales).shape.as_slice())
        else {
            return Err(self.error(codes, "its shape or that of its scales is none of a matrix"));
        };
        let Some(format) = float_format(&self.stored(scales).dtype_name) else {
            return Err(self.error(scales, "its dtype is none of scales, expected F16, BF16 or F32"));
        };
        let stated = self.method.and_then(|method| method.bits).unwrap_or(4);
        let words = first.checked_mul(32).ok_or_else(|| self.error(codes, "its shape is too large"))?;
        let (cols, bits) = match (packing, g_idx.map(|index| self.len(index)).filter(|cols| *cols > 0)) {
            (Packing::Awq, _) => (first, 4),
            (Packing::Gptq { .. }, Some(cols)) => (cols, u32::try_from(words / cols).unwrap_or(0)),
            (Packing::Gptq { .. }, None) => (words / stated.max(1) as usize, stated),
        };
        let size = self.method.and_then(|method| method.group_size);
        let size =
            size.filter(|size| cols.div_ceil(*size) == groups).unwrap_or(cols.div_ceil(groups.max(1)).max(1));
        let scales = (scales, format);
        let scheme = match packing {
            Packing::Awq => Components::Awq { qzeros, scales, group_size: size },
            Packing::Gptq { v2 } => Components::Gptq { bits, v2, qzeros, scales, group_size: size, g_idx },
        };
        Ok(Recipe { shape: vec![rows, cols], matrix: Shape { rows, cols }, codes, scheme })
    }

    /// `weight_packed` of compressed-tensors.
    pub(super) fn packed(&self, weight: &str, codes: Component) -> Result<Recipe> {
        let stored = self.stored(codes);
        let scales = self.needed_of(codes, weight, "_scale")?;
        let &[rows, packed] = stored.shape.as_slice() else {
            return Err(
                self.error(codes, &format!("its shape is {:?}, expected that of a matrix", stored.shape))
            );
        };
        if stored.dtype_name == "U8" {
            let cols = packed.checked_mul(2).ok_or_else(|| self.error(codes, "its shape is too large"))?;
            let scheme = match self.component(&format!("{weight}_global_scale")) {
                Some(global) => Components::Nvfp4 { scales, global: GlobalScale::Over(self.number(global)?) },
                None => Components::Mxfp4 { scales, turned: false },
            };
            return Ok(Recipe { shape: vec![rows, cols], matrix: Shape { rows, cols }, codes, scheme });
        }
        let shape = self.needed_of(codes, weight, "_shape")?;
        let Some([out, cols]) = self.integers_of(shape) else {
            return Err(self.error(shape, "expected two integers"));
        };
        let words = |bits: u32| cols.div_ceil((32 / bits) as usize);
        let stated = self.method.and_then(|method| method.bits);
        let bits = { [stated, Some(4), Some(8), Some(2)] }.into_iter().flatten();
        let bits = { bits }.find(|bits| matches!(bits, 2 | 4 | 8) && words(*bits) == packed);
        let (Some(bits), true) = (bits, out == rows) else {
            let problem =
                format!("its shape is {:?}, but the weight is said to be [{out}, {cols}]", stored.shape);
            return Err(self.error(codes, &problem));
        };
        let shape = vec![rows, cols];
        let (scales, matrix) = self.blocks(codes, &shape, scales)?;
        let zero_points = self.component(&format!("{weight}_zero_point"));
        let g_idx = self.component(&format!("{weight}_g_idx"));
        Ok(Recipe { shape, matrix, codes, scheme: Components::Packed { bits, scales, zero_points, g_idx } })
    }

    /// The experts of gpt-oss, [experts, out, in/32, 16], which are [experts, in, out] in memory.
    pub(super) fn gpt_oss(&self, codes: Component, scales: Component) -> Option<Recipe> {
        let (codes_of, scales_of) = (self.stored(codes), self.stored(scales));
        let (&[count, out, blocks, 16], &[own_count, own_out, own_blocks]) =
            (codes_of.shape.as_slice(), scales_of.shape.as_slice())
        else {
            return None;
        };
        let bytes = codes_of.dtype_name == "U8" && scales_of.dtype_name == "U8";
        if !bytes || [own_count, own_out, own_blocks] != [count, out, blocks] {
            return None;
        }
        let input = blocks.checked_mul(32)?;
        let matrix = Shape { rows: count.checked_mul(input)?, cols: out };
        Some(Recipe {
            shape: vec![count, input, out],
            matrix,
            codes,
            scheme: Components::Mxfp4 { scales, turned: true },
        })
    }
}
