//! A quantised weight: which stored tensors it consists of, and how they are decoded.

use super::decoder::{Decoder, Matrix, Turned};
use phlora_core::quantized::{
    Absmax, Awq, BnbFourBit, BnbInt8, FloatFormat, Floats, Fp8, Fp8Format, GlobalScale, Gptq, Int8, Mxfp4,
    Nvfp4, Packed, Quantized, Scales, Scheme,
};
use phlora_core::{Error, Shape};

/// A stored tensor, by its number in the model.
pub(crate) type Component = usize;

/// What takes the place of stored tensors in a model.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// The shape of the weight, slowest axis first.
    pub(crate) shape: Vec<usize>,
    /// The matrix that is decoded: of a convolution [out, in·kernel], of a stack [count·out, in].
    pub(crate) matrix: Shape,
    /// The tensor of codes.
    pub(crate) codes: Component,
    pub(crate) scheme: Components,
}

/// The other components, and what is known of them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Components {
    Fp8 {
        format: Fp8Format,
        scales: Option<Blocks>,
    },
    Int8 {
        scales: Blocks,
        zero_points: Option<Component>,
    },
    /// Of a stack that is `turned`, the stored matrices are the transposes.
    Mxfp4 {
        scales: Component,
        turned: bool,
    },
    Nvfp4 {
        scales: Component,
        global: GlobalScale,
    },
    Packed {
        bits: u32,
        scales: Blocks,
        zero_points: Option<Component>,
        g_idx: Option<Component>,
    },
    BnbFourBit {
        quant_map: Component,
        block_size: usize,
        absmax: Component,
        nested: Option<Nested>,
    },
    BnbInt8 {
        scb: Component,
    },
    Gptq {
        bits: u32,
        v2: bool,
        qzeros: Component,
        scales: (Component, FloatFormat),
        group_size: usize,
        g_idx: Option<Component>,
    },
    Awq {
        qzeros: Component,
        scales: (Component, FloatFormat),
        group_size: usize,
    },
}

/// Scales of blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks {
    pub(crate) scales: Component,
    pub(crate) format: FloatFormat,
    pub(crate) block: Shape,
}

/// How the scales of bitsandbytes are quantised themselves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nested {
    pub(crate) quant_map: Component,
    pub(crate) absmax: Component,
    pub(crate) block_size: usize,
    pub(crate) offset: f32,
}

impl Recipe {
    /// The components beside the codes.
    pub(crate) fn beside(&self) -> impl Iterator<Item = Component> {
        self.scheme.components()
    }

    /// The decoder of the weight over the bytes of its components.
    ///
    /// # Errors
    /// When the components do not fit together.
    pub(crate) fn decoder<'m>(&self, bytes: impl Fn(Component) -> &'m [u8]) -> Result<Decoder<'m>, Error> {
        let codes = bytes(self.codes);
        let stored_len = std::iter::once(self.codes)
            .chain(self.scheme.components())
            .map(|component| bytes(component).len())
            .sum();
        let matrix = match (self.scheme, self.shape.as_slice()) {
            (Components::Mxfp4 { scales, turned: true }, &[count, input, out]) => Matrix::Turned(
                Turned::new(Mxfp4 { weight: codes, scales: bytes(scales) }, count, [out, input])?,
            ),
            (scheme, _) => Matrix::Stored(Quantized::new(self.matrix, scheme.over(codes, &bytes))?),
        };
        Ok(Decoder::new(matrix, stored_len))
    }
}

impl Components {
    /// All components but the codes.
    fn components(self) -> impl Iterator<Item = Component> {
        let blocks = |blocks: Option<Blocks>| blocks.map(|blocks| blocks.scales);
        let components = match self {
            Self::Fp8 { scales, .. } => [blocks(scales), None, None, None],
            Self::Int8 { scales, zero_points } => [blocks(Some(scales)), zero_points, None, None],
            Self::Mxfp4 { scales, .. } | Self::Nvfp4 { scales, .. } => [Some(scales), None, None, None],
            Self::Packed { scales, zero_points, g_idx, .. } => {
                [blocks(Some(scales)), zero_points, g_idx, None]
            }
            Self::BnbFourBit { quant_map, absmax, nested, .. } => [
                Some(quant_map),
                Some(absmax),
                nested.map(|nested| nested.quant_map),
                nested.map(|nested| nested.absmax),
            ],
            Self::BnbInt8 { scb } => [Some(scb), None, None, None],
            Self::Gptq { qzeros, scales, g_idx, .. } => [Some(qzeros), Some(scales.0), g_idx, None],
            Self::Awq { qzeros, scales, .. } => [Some(qzeros), Some(scales.0), None, None],
        };
        components.into_iter().flatten()
    }

    /// The scheme of core over the bytes of all components.
    fn over<'m>(self, codes: &'m [u8], bytes: &impl Fn(Component) -> &'m [u8]) -> Scheme<'m> {
        let floats =
            |(component, format): (Component, FloatFormat)| Floats { format, bytes: bytes(component) };
        let scales =
            |blocks: Blocks| Scales { values: floats((blocks.scales, blocks.format)), block: blocks.block };
        let optional = |component: Option<Component>| component.map(bytes);
        match self {
            Self::Fp8 { format, scales: blocks } => {
                Scheme::Fp8(Fp8 { weight: codes, format, scales: blocks.map(scales) })
            }
            Self::Int8 { scales: blocks, zero_points } => Scheme::Int8(Int8 {
                weight: codes,
                scales: scales(blocks),
                zero_points: optional(zero_points),
            }),
            Self::Mxfp4 { scales, .. } => Scheme::Mxfp4(Mxfp4 { weight: codes, scales: bytes(scales) }),
            Self::Nvfp4 { scales, global } => {
                Scheme::Nvfp4(Nvfp4 { weight: codes, scales: bytes(scales), global })
            }
            Self::Packed { bits, scales: blocks, zero_points, g_idx } => Scheme::Packed(Packed {
                bits,
                weight: codes,
                scales: scales(blocks),
                zero_points: optional(zero_points),
                g_idx: optional(g_idx),
            }),
            Self::BnbFourBit { quant_map, block_size, absmax, nested } => {
                let absmax = bytes(absmax);
                let absmax = nested.map_or(Absmax::Plain(absmax), |nested| Absmax::Nested {
                    codes: absmax,
                    quant_map: bytes(nested.quant_map),
                    absmax: bytes(nested.absmax),
                    block_size: nested.block_size,
                    offset: nested.offset,
                });
                Scheme::BnbFourBit(BnbFourBit {
                    weight: codes,
                    quant_map: bytes(quant_map),
                    block_size,
                    absmax,
                })
            }
            Self::BnbInt8 { scb } => Scheme::BnbInt8(BnbInt8 { weight: codes, scb: bytes(scb) }),
            Self::Gptq { bits, v2, qzeros, scales, group_size, g_idx } => Scheme::Gptq(Gptq {
                bits,
                qweight: codes,
                qzeros: bytes(qzeros),
                v2,
                scales: floats(scales),
                group_size,
                g_idx: optional(g_idx),
            }),
            Self::Awq { qzeros, scales, group_size } => {
                Scheme::Awq(Awq { qweight: codes, qzeros: bytes(qzeros), scales: floats(scales), group_size })
            }
        }
    }
}
