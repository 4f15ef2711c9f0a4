//! Finds the stored tensors that are one quantised weight together.

use super::method::Method;
use super::recipe::{Blocks, Component, Components, Recipe};
use crate::error::{Error, Result};
use crate::source::mapped::Mapped;
use crate::source::stored::Stored;
use phlora_core::Shape;
use phlora_core::quantized::{FloatFormat, Fp8Format, GlobalScale};
use std::collections::BTreeMap;

/// What may follow the name of a weight in the names of its components.
const OF_WEIGHT: [&str; 13] = [
    "_scale_inv",
    "_scale",
    "_scale_2",
    "_zero_point",
    "_g_idx",
    "_shape",
    "_global_scale",
    ".absmax",
    ".quant_map",
    ".nested_absmax",
    ".nested_quant_map",
    ".quant_state.bitsandbytes__nf4",
    ".quant_state.bitsandbytes__fp4",
];

/// What may follow the name of a module in the names of the components of its weight, and of the scales of its inputs.
const OF_MODULE: [&str; 15] = [
    ".qweight",
    ".weight_packed",
    ".qzeros",
    ".scales",
    ".g_idx",
    ".SCB",
    ".weight_format",
    ".scale",
    ".scale_weight",
    ".scale_input",
    ".input_scale",
    ".input_global_scale",
    ".input_zero_point",
    ".output_scale",
    ".output_zero_point",
];

/// A weight in the place of its components.
#[derive(Debug)]
pub(crate) struct Found {
    /// The name that the weight has where it is not quantised.
    pub(crate) name: String,
    pub(crate) recipe: Recipe,
    /// The names of all its components.
    pub(crate) components: Vec<String>,
}

/// The stored tensors of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finder<'a> {
    /// Number of each stored tensor by its name.
    pub(crate) names: &'a BTreeMap<String, Component>,
    /// Number of the file, and tensor.
    pub(crate) stored: &'a [(usize, Stored)],
    pub(crate) files: &'a [Mapped],
    pub(crate) method: Option<&'a Method>,
}

impl<'a> Finder<'a> {
    /// All quantised weights.
    ///
    /// # Errors
    /// When components are missing, or do not fit together.
    pub(crate) fn find(&self) -> Result<Vec<Found>> {
        if self.method.is_some_and(|method| method.unread.is_some()) {
            return Ok(Vec::new());
        }
        let found =
            self.names.iter().filter_map(|(name, component)| self.weight(name, *component).transpose());
        found.collect()
    }

    /// The weight whose codes are in the tensor `name`; `None` where that holds no codes.
    fn weight(&self, name: &str, codes: Component) -> Result<Option<Found>> {
        let of_module = |module: &str| format!("{module}.weight");
        let (weight, recipe) = if let Some(module) = name.strip_suffix(".qweight") {
            (of_module(module), self.integers(module, codes)?)
        } else if let Some(module) = name.strip_suffix(".weight_packed") {
            (of_module(module), self.packed(&of_module(module), codes)?)
        } else if let Some(weight) = name.strip_suffix("_blocks") {
            let Some(scales) = self.component(&format!("{weight}_scales")) else { return Ok(None) };
            let Some(recipe) = self.gpt_oss(codes, scales) else { return Ok(None) };
            (weight.to_owned(), recipe)
        } else {
            let Some(recipe) = self.in_place(name, codes)? else { return Ok(None) };
            (name.to_owned(), recipe)
        };
        if let Err(problem) = recipe.decoder(|component| self.bytes(component)) {
            return Err(self.error(codes, &problem.to_string()));
        }
        let module = weight.strip_suffix(".weight").unwrap_or(&weight);
        let mut components: Vec<_> = OF_WEIGHT.iter().map(|suffix| format!("{weight}{suffix}")).collect();
        components.extend(OF_MODULE.iter().map(|suffix| format!("{module}{suffix}")));
        components.extend([name.to_owned(), format!("{weight}_scales")]);
        components.retain(|component| self.names.contains_key(component));
        Ok(Some(Found { name: weight, recipe, components }))
    }

    /// A weight that keeps its name.
    fn in_place(&self, name: &str, codes: Component) -> Result<Option<Recipe>> {
        let stored = self.stored(codes);
        // Scales may be of eight bits as well.
        if OF_WEIGHT.iter().chain(&OF_MODULE).any(|suffix| name.ends_with(suffix)) {
            return Ok(None);
        }
        if self.component(&format!("{name}.absmax")).is_some() {
            return self.four_bit(name, codes).map(Some);
        }
        let module = name.strip_suffix(".weight").unwrap_or(name);
        let scales = ["_scale_inv", "_scale"].map(|suffix| format!("{name}{suffix}"));
        let scales =
            scales.into_iter().chain([".scale_weight", ".scale"].map(|suffix| format!("{module}{suffix}")));
        let scales = { scales }.find_map(|name| self.component(&name));
        let fp8 = match stored.dtype_name.as_str() {
            "F8_E4M3" => Some(Fp8Format::E4M3),
            "F8_E5M2" => Some(Fp8Format::E5M2),
            "I8" | "U8" | "F4" => None,
            _ => return Ok(None),
        };
        if scales.is_some() && self.component(&format!("{module}.pre_quant_scale")).is_some() {
            return Err(self.error(codes, "its columns are scaled by pre_quant_scale, which is not read"));
        }
        if let Some(format) = fp8 {
            if let (None, Some(method)) = (scales, self.method) {
                let problem =
                    format!("its scales ({name}_scale or {name}_scale_inv) are missing, with {method}");
                return Err(self.error(codes, &problem));
            }
            let scales = scales.map(|scales| self.blocks(codes, &stored.shape, scales)).transpose()?;
            return Ok(Some(self.plain(codes, scales, |scales| Components::Fp8 { format, scales })));
        }
        if let (Some(scb), [rows, cols]) = (self.component(&format!("{module}.SCB")), stored.shape.as_slice())
        {
            let matrix = Shape { rows: *rows, cols: *cols };
            return Ok(Some(Recipe {
                shape: stored.shape.clone(),
                matrix,
                codes,
                scheme: Components::BnbInt8 { scb },
            }));
        }
        let (Some(scales), &[rows, cols]) = (scales, stored.shape.as_slice()) else { return Ok(None) };
        let halves = || Some(Shape { rows, cols: cols.checked_mul(2)? });
        let half = |matrix: Shape, scheme| {
            let shape = vec![matrix.rows, matrix.cols];
            Recipe { shape, matrix, codes, scheme }
        };
        if let (Some(global), Some(matrix)) = (self.component(&format!("{name}_scale_2")), halves()) {
            let global = GlobalScale::Times(self.number(global)?);
            return Ok(Some(half(matrix, Components::Nvfp4 { scales, global })));
        }
        let exponents = self.stored(scales).dtype_name == "F8_E8M0";
        if let (true, Some(matrix)) =
            (exponents, halves().filter(|matrix| self.len(scales) == matrix.rows * (matrix.cols / 32)))
        {
            return Ok(Some(half(matrix, Components::Mxfp4 { scales, turned: false })));
        }
        if stored.dtype_name != "I8" {
            return Ok(None);
        }
        let scales = self.blocks(codes, &stored.shape, scales)?;
        let zero_points = self.component(&format!("{name}_zero_point"));
        Ok(Some(self.plain(codes, Some(scales), |_| Components::Int8 { scales: scales.0, zero_points })))
    }

    /// A weight with one code a byte.
    fn plain(
        &self,
        codes: Component,
        scales: Option<(Blocks, Shape)>,
        scheme: impl Fn(Option<Blocks>) -> Components,
    ) -> Recipe {
        let shape = self.stored(codes).shape.clone();
        let rows = shape.first().copied().unwrap_or(1);
        let whole = || Shape { rows, cols: shape.iter().skip(1).product() };
        let matrix = scales.map_or_else(whole, |(_, matrix)| matrix);
        Recipe { matrix, codes, scheme: scheme(scales.map(|(blocks, _)| blocks)), shape }
    }

    /// What `scales` are the scales of: blocks of the matrix that the weight of `shape` is.
    pub(super) fn blocks(
        &self,
        codes: Component,
        shape: &[usize],
        scales: Component,
    ) -> Result<(Blocks, Shape)> {
        let stored = self.stored(scales);
        // Single bytes are exponents.
        let Some(format) =
            float_format(&stored.dtype_name).or((stored.dtype_name == "U8").then_some(FloatFormat::E8M0))
        else {
            return Err(
                self.error(scales, &format!("its dtype is {}, expected that of scales", stored.dtype_name))
            );
        };
        let blocks = |rows, cols| Blocks { scales, format, block: Shape { rows, cols } };
        let rows = shape.first().copied().unwrap_or(1);
        let whole = Shape { rows, cols: shape.iter().skip(1).product() };
        let count = self.len(scales);
        if count == 1 {
            return Ok((blocks(usize::MAX, usize::MAX), whole));
        }
        if count == rows && stored.shape.iter().skip(1).all(|size| *size == 1) && shape.len() != 3 {
            return Ok((blocks(1, usize::MAX), whole));
        }
        // Matrices, each with `down` × `across` scales.
        let (matrices, rows, cols, down, across) = match (shape, stored.shape.as_slice()) {
            (&[rows, cols], &[down, across]) => (1, rows, cols, down, across),
            (&[count, rows, cols], &[own, down, across]) if own == count => (count, rows, cols, down, across),
            (&[count, rows, cols], &[own]) if own == count => (count, rows, cols, 1, 1),
            _ => (0, 0, 0, 0, 0),
        };
        let method = self.method;
        let stated = method.and_then(|method| method.block);
        let grouped = method.and_then(|method| method.group_size).map(|size| [1, size]);
        let even = (down > 0 && across > 0).then(|| [rows.div_ceil(down), cols.div_ceil(across)]);
        let fits = |[r, c]: &[usize; 2]| {
            let blocks = r.min(c) > &0 && rows.div_ceil(*r) == down && cols.div_ceil(*c) == across;
            blocks && (matrices == 1 || rows.is_multiple_of(*r))
        };
        let block = [stated, grouped, even].into_iter().flatten().find(fits);
        match (block, matrices.checked_mul(rows)) {
            (Some([r, c]), Some(all)) if matrices > 0 => Ok((blocks(r, c), Shape { rows: all, cols })),
            _ => {
                let problem =
                    format!("its scales of shape {:?} do not belong to a weight of {shape:?}", stored.shape);
                Err(self.error(codes, &problem))
            }
        }
    }

    pub(super) fn component(&self, name: &str) -> Option<Component> {
        self.names.get(name).copied()
    }

    pub(super) fn needed(&self, codes: Component, module: &str, name: &str) -> Result<Component> {
        self.needed_of(codes, module, &format!(".{name}"))
    }

    pub(super) fn needed_of(&self, codes: Component, owner: &str, suffix: &str) -> Result<Component> {
        let name = format!("{owner}{suffix}");
        self.component(&name)
            .ok_or_else(|| self.error(codes, &format!("{name}, which belongs to it, is missing")))
    }

    pub(super) fn stored(&self, component: Component) -> &'a Stored {
        &self.stored[component].1
    }

    /// Number of entries.
    pub(super) fn len(&self, component: Component) -> usize {
        self.stored(component).shape.iter().product()
    }

    pub(super) fn bytes(&self, component: Component) -> &'a [u8] {
        let (file, stored) = &self.stored[component];
        self.files[*file].tensor(stored)
    }

    /// The number that a tensor of one F32 is.
    pub(super) fn number(&self, component: Component) -> Result<f32> {
        let number = self.bytes(component).try_into().ok().map(f32::from_le_bytes);
        let number = number.filter(|number| self.stored(component).dtype_name == "F32" && number.is_finite());
        number.ok_or_else(|| self.error(component, "expected one finite number in F32"))
    }

    /// The sizes that a tensor of two integers states.
    pub(super) fn integers_of(&self, component: Component) -> Option<[usize; 2]> {
        let bytes = self.bytes(component);
        let at = |index: usize| match self.stored(component).dtype_name.as_str() {
            "I64" => usize::try_from(i64::from_le_bytes(*bytes.as_chunks().0.get(index)?)).ok(),
            "I32" => usize::try_from(i32::from_le_bytes(*bytes.as_chunks().0.get(index)?)).ok(),
            _ => None,
        };
        Some([at(0)?, at(1)?]).filter(|_| self.len(component) == 2)
    }

    pub(super) fn error(&self, component: Component, problem: &str) -> Error {
        let (file, stored) = &self.stored[component];
        let method = self.method.map(|method| format!("quantised with {method}: ")).unwrap_or_default();
        Error::tensor(self.files[*file].path(), &stored.name, format!("{method}{problem}"))
    }
}

/// The format of floats of this dtype.
pub(super) fn float_format(dtype: &str) -> Option<FloatFormat> {
    Some(match dtype {
        "F32" => FloatFormat::F32,
        "F16" => FloatFormat::F16,
        "BF16" => FloatFormat::Bf16,
        "F8_E8M0" => FloatFormat::E8M0,
        "F8_E4M3" => FloatFormat::E4M3,
        _ => return None,
    })
}
