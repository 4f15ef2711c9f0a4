//! Sizes of tensor types, those included that are not decoded here.

use phlora_core::Dtype;

/// How a type stores its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) name: &'static str,
    /// Entries per block.
    pub(super) len: usize,
    /// Bytes per block.
    pub(super) bytes: usize,
}

/// Types without a [`Dtype`]: number, name, entries and bytes per block.
const OTHERS: [(u32, &str, usize, usize); 15] = [
    (9, "Q8_1", 32, 40),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
];

/// The layout of type `number`, unless nobody knows it.
pub(super) fn layout(number: u32) -> Option<Layout> {
    if let Some(dtype) = Dtype::from_ggml_type(number) {
        return Some(Layout { name: dtype.name(), len: dtype.block_len(), bytes: dtype.block_bytes() });
    }
    let other = OTHERS.iter().find(|(other, ..)| *other == number);
    other.map(|&(_, name, len, bytes)| Layout { name, len, bytes })
}
