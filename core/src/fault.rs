//! Faults of the components of a quantised matrix.

use core::fmt;

/// A tensor of a quantised weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Component {
    /// The codes: `weight`, `weight_packed`, `qweight`, `…_blocks`.
    Weight,
    /// The scales: `weight_scale`, `weight_scale_inv`, `scales`, `…_scales`, `absmax`, `SCB`.
    Scales,
    /// The zero points: `weight_zero_point`, `qzeros`.
    ZeroPoints,
    /// The group of every column: `g_idx`, `weight_g_idx`.
    GroupIndex,
    /// The values that codes choose from: `quant_map`.
    QuantMap,
    /// The number of bits of every row.
    Widths,
    /// The scales of scales: `nested_absmax`.
    NestedScales,
    /// The values that stored scales choose from: `nested_quant_map`.
    NestedQuantMap,
}

/// What is wrong with a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It does not have the bytes that follow from the shape and the other components.
    Length {
        /// Bytes expected.
        expected: usize,
    },
    /// An entry names a group that does not exist.
    Index {
        /// Which entry.
        at: usize,
    },
    /// An entry is negative or no finite number.
    NotFinite {
        /// Which entry.
        at: usize,
    },
    /// The size of its blocks or groups is 0.
    BlockSize,
    /// The weight has a number of columns that the scheme does not pack.
    Columns {
        /// What the number of columns must be a multiple of.
        multiple_of: usize,
    },
    /// The weight has a number of rows that the scheme does not pack.
    Rows {
        /// What the number of rows must be a multiple of.
        multiple_of: usize,
    },
    /// It belongs to single rows, but the scales do not.
    NotPerRow,
    /// No decoder for this number of bits.
    Bits {
        /// Bits per weight.
        bits: u32,
    },
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Weight => "codes",
            Self::Scales => "scales",
            Self::ZeroPoints => "zero points",
            Self::GroupIndex => "group index",
            Self::QuantMap => "quantisation map",
            Self::Widths => "bits per row",
            Self::NestedScales => "nested scales",
            Self::NestedQuantMap => "nested quantisation map",
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected } => write!(f, "expected {expected} bytes"),
            Self::Index { at } => write!(f, "entry {at} names a group that does not exist"),
            Self::NotFinite { at } => write!(f, "entry {at} is negative or not finite"),
            Self::BlockSize => write!(f, "blocks of size 0"),
            Self::Columns { multiple_of } => write!(f, "columns must be a multiple of {multiple_of}"),
            Self::Rows { multiple_of } => write!(f, "rows must be a multiple of {multiple_of}"),
            Self::NotPerRow => write!(f, "scales of single rows are needed"),
            Self::Bits { bits } => write!(f, "{bits} bits are not supported"),
        }
    }
}
