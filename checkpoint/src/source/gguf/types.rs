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
const OTHERS: [(u32, &str, usize, usize); 6] = [
    (9, "Q8_1", 32, 40),
    (15, "Q8_K", 256, 292),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
];

/// The layout of type `number`, unless nobody knows it.
pub(super) fn layout(number: u32) -> Option<Layout> {
    if let Some(dtype) = Dtype::from_ggml_type(number) {
        return Some(Layout { name: dtype.name(), len: dtype.block_len(), bytes: dtype.block_bytes() });
    }
    let other = OTHERS.iter().find(|(other, ..)| *other == number);
    other.map(|&(_, name, len, bytes)| Layout { name, len, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_type_is_in_two_tables() {
        for (number, name, ..) in OTHERS {
            assert_eq!(Dtype::from_ggml_type(number), None, "{name}");
        }
    }
}
