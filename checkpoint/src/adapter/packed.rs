//! The codes of both factors of a module, as phlora's compact form holds them.

use phlora_core::quantized::compact::{levels, row_bytes};

/// Bytes before the scales: out, in and rank, each an u32.
pub(crate) const HEADER: usize = 12;

/// What the bytes of a module are a multiple of.
pub(crate) const ALIGNMENT: usize = 8;

/// Bytes of a direction beside its codes: its scale and its number of bits.
pub(crate) const OVERHEAD: usize = 3;

/// Codes of rows of A and columns of B.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Bits per code, of each direction.
    pub(crate) bits: Vec<u8>,
    /// A bf16 per direction.
    pub(crate) scales: Vec<u8>,
    /// The rows of A.
    pub(crate) a: Vec<u8>,
    /// The columns of B.
    pub(crate) b: Vec<u8>,
}

impl Packed {
    /// Only what its length depends on.
    pub(crate) fn draft(bits: Vec<u8>) -> Self {
        Self { bits, scales: Vec::new(), a: Vec::new(), b: Vec::new() }
    }

    /// Bytes in a file, of a weight [out, in]; `None` where they overflow.
    pub(crate) fn len(&self, [out, input]: [usize; 2]) -> Option<usize> {
        let codes = codes_len(&self.bits, out)?.checked_add(codes_len(&self.bits, input)?)?;
        let beside = self.bits.len().checked_mul(OVERHEAD)?.checked_add(HEADER)?;
        codes.checked_add(beside)?.checked_next_multiple_of(ALIGNMENT)
    }

    /// The bytes in a file of a weight [out, in].
    pub(crate) fn bytes(&self, [out, input]: [usize; 2]) -> Vec<u8> {
        let sizes = [out, input, self.bits.len()].map(|size| u32::try_from(size).unwrap_or(u32::MAX));
        let header = sizes.map(u32::to_le_bytes).concat();
        let mut bytes = [header.as_slice(), &self.scales, &self.bits, &self.a, &self.b].concat();
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }
}

/// Bytes of the codes of rows of `cols` entries.
pub(crate) fn codes_len(bits: &[u8], cols: usize) -> Option<usize> {
    bits.iter().try_fold(0_usize, |sum, &bits| sum.checked_add(row_bytes(cols, bits.into())?))
}

/// The levels of all quantisers up to the one of `most` bits, as a file holds them.
pub(crate) fn all_levels(most: u8) -> Vec<u8> {
    (1..=u32::from(most)).flat_map(levels).flatten().collect()
}
