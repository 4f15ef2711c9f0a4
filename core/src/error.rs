//! Errors of this crate.

use core::fmt;

#[cfg(feature = "quantized")]
use crate::fault::{Component, Fault};

/// Why a call was refused. The state it was made on is as it was before, unless the variant says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The rank asked for is 0.
    RankZero,
    /// A rank above the one that was planned.
    RankTooLarge {
        /// The plan's rank.
        most: usize,
    },
    /// Rows × columns, or a buffer length that follows from them, does not fit into `usize`.
    TooLarge,
    /// The scratch buffer has fewer elements than the plan needs, or the limit is below the least possible.
    ScratchTooSmall {
        /// `f32` elements needed.
        needed: usize,
    },
    /// An output buffer has the wrong length.
    OutputLength {
        /// Elements expected.
        expected: usize,
    },
    /// A matrix to decompose has more columns than rows.
    Wide,
    /// The pushed bytes are not whole rows, or both sides do not hold the same number of rows.
    NotWholeRows,
    /// A row, or the weights of a call, are not a whole number of the blocks of its storage format.
    NotWholeBlocks {
        /// Weights per block.
        block_len: usize,
    },
    /// The format is decoded but not encoded.
    NotEncoded,
    /// More rows were pushed than the matrix has.
    TooManyRows,
    /// A pass was ended before all rows were pushed.
    MissingRows {
        /// Rows that were pushed.
        pushed: usize,
    },
    /// Rows pushed although no pass is wanted, or a result asked for while one is.
    OutOfOrder,
    /// The difference holds a NaN or an infinity; the extraction cannot go on.
    NonFinite {
        /// The first row that holds one.
        row: usize,
    },
    /// Products of entries that are finite themselves are not: they spread over more than f32 holds.
    OutOfRange,
    /// The mode cannot work within the given number of reads.
    TooFewReads {
        /// Reads that it takes at least.
        needed: u32,
    },
    /// There is nothing to work on: no adapter, or no token.
    Empty,
    /// A factor does not have the bytes of its shape in its format, or rows of that length do not exist in it.
    FactorLength {
        /// 0 for A, 1 for B.
        index: usize,
    },
    /// A scale or a weight is NaN or infinite.
    NonFiniteScale,
    /// A factor holds a NaN or an infinity.
    NonFiniteFactor {
        /// Of several adapters, which; of one, 0 for A and 1 for B.
        index: usize,
    },
    /// An adapter does not have the shape of the layer.
    AdapterShape {
        /// Which of the adapters.
        index: usize,
    },
    /// A buffer of activations holds less than the batch, or its stride is below the width.
    VectorLength,
    /// A slice's index is not below the number of slices.
    SliceBounds,
    /// An assignment names a token that the batch does not have.
    UnknownToken {
        /// Which assignment.
        index: usize,
    },
    /// An assignment names an adapter that does not exist.
    UnknownAdapter {
        /// Which assignment.
        index: usize,
    },
    /// Assignments are not ordered by adapter.
    NotGrouped,
    /// The registry holds no entry of this id.
    UnknownId,
    /// The registry has an entry of this id already.
    IdTaken,
    /// Every place of the registry is taken.
    RegistryFull {
        /// Places.
        capacity: usize,
    },
    /// The registry's byte budget would be exceeded.
    OverBudget {
        /// Bytes that would be in use.
        needed: usize,
    },
    /// Operands of an inner loop do not hold their shapes: a defect of this crate. What the call was to write may be
    /// incomplete.
    Operands,
    /// A component of a quantised matrix does not fit its shape or the other components.
    #[cfg(feature = "quantized")]
    Quantized {
        /// Which component.
        component: Component,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A range of rows that ends before it begins, or beyond the matrix.
    #[cfg(feature = "quantized")]
    RowRange {
        /// Rows of the matrix.
        rows: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RankZero => write!(f, "rank is 0, expected at least 1"),
            Self::RankTooLarge { most } => write!(f, "the rank is above the planned one of {most}"),
            Self::TooLarge => write!(f, "the matrix is too large for this machine's address range"),
            Self::ScratchTooSmall { needed } => {
                write!(f, "scratch is too small: {needed} f32 elements are needed")
            }
            Self::OutputLength { expected } => {
                write!(f, "output buffer has the wrong length, expected {expected} elements")
            }
            Self::Wide => write!(f, "the matrix has more columns than rows: decompose its transpose"),
            Self::NotWholeRows => {
                write!(f, "a chunk must hold whole rows, the same number of both sides")
            }
            Self::NotWholeBlocks { block_len } => {
                write!(f, "a row must be a whole number of blocks of {block_len} weights")
            }
            Self::NotEncoded => write!(f, "weights are read from this format, but not written in it"),
            Self::TooManyRows => write!(f, "more rows were pushed than the matrix has"),
            Self::MissingRows { pushed } => {
                write!(f, "the pass ended after {pushed} rows, before the last row")
            }
            Self::OutOfOrder => write!(f, "calls out of order"),
            Self::NonFinite { row } => write!(f, "NaN or infinity in row {row}"),
            Self::OutOfRange => write!(f, "the difference spreads over more than the range of f32"),
            Self::TooFewReads { needed } => write!(f, "this mode needs at least {needed} reads"),
            Self::Empty => write!(f, "nothing to work on: no adapter, or no token"),
            Self::FactorLength { index } => {
                write!(
                    f,
                    "lora_{} does not have the bytes of its shape and format",
                    if *index == 0 { "a" } else { "b" }
                )
            }
            Self::NonFiniteScale => write!(f, "a scale or a weight is NaN or infinite"),
            Self::NonFiniteFactor { index } => write!(f, "NaN or infinity in factor or adapter {index}"),
            Self::VectorLength => write!(f, "a buffer of activations holds less than the batch needs"),
            Self::SliceBounds => write!(f, "a slice's index must be below the number of slices"),
            Self::UnknownToken { index } => write!(f, "assignment {index} names a token beyond the batch"),
            Self::UnknownAdapter { index } => write!(f, "assignment {index} names an unknown adapter"),
            Self::NotGrouped => write!(f, "assignments are not ordered by adapter"),
            Self::UnknownId => write!(f, "the registry holds no adapter of this id"),
            Self::IdTaken => write!(f, "the registry holds an adapter of this id already"),
            Self::RegistryFull { capacity } => write!(f, "all {capacity} places of the registry are taken"),
            Self::OverBudget { needed } => write!(f, "{needed} bytes would exceed the registry's budget"),
            Self::Operands => write!(f, "operands of an inner loop are too short: a defect of phlora"),
            #[cfg(feature = "quantized")]
            Self::Quantized { component, fault } => write!(f, "{component} of a quantised matrix: {fault}"),
            #[cfg(feature = "quantized")]
            Self::RowRange { rows } => write!(f, "the range of rows is not within the {rows} of the matrix"),
            Self::AdapterShape { index } => write!(f, "adapter {index} does not have the shape of the layer"),
        }
    }
}

impl core::error::Error for Error {}
