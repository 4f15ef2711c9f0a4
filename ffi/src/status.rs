//! Status values: pinned, grouped by hundreds, never reused.

use core::ffi::{CStr, c_char};

/// Result of a call. Values are pinned: 100 arguments, 200 order of calls, 300 data, 400 files, 900 phlora
/// itself. A later version may return values that are not listed here.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Success; only now outputs are written.
    Ok = 0,
    /// A pointer is NULL. For a buffer that is allowed where its length is 0.
    NullPointer = 100,
    /// A pointer is not aligned for its type, or the memory of an extraction not to PHLORA_ALIGNMENT.
    Misaligned = 101,
    /// An output overlaps another buffer of the call or the memory of the extraction.
    Overlap = 102,
    /// A size, or a product of sizes, exceeds the address range.
    TooLarge = 103,
    /// An enumeration value that this version does not know.
    UnknownValue = 104,
    /// A struct size below that of the first version, or with options set that this version does not know.
    StructSize = 105,
    /// An output buffer does not have exactly the length that the call writes.
    OutputLength = 106,
    /// The memory is smaller than the plan's `memory_bytes`, or `max_memory` is below the least possible.
    MemoryTooSmall = 107,
    /// The rank asked for is 0.
    RankZero = 108,
    /// The mode cannot work within so few reads.
    TooFewReads = 109,
    /// A matrix to decompose has more columns than rows: decompose its transpose.
    Wide = 110,
    /// A text is not UTF-8, or a pattern is no regular expression.
    BadText = 111,
    /// An option that the file functions refuse; the message says which.
    BadOption = 112,
    /// A row, or the weights of a call, are not a whole number of blocks of its phlora_dtype; see phlora_block_len.
    NotWholeBlocks = 113,
    /// The phlora_dtype is read, but weights are not written in it.
    NotEncoded = 114,
    /// There is nothing to work on: no token, or no adapter.
    Empty = 115,
    /// A factor does not have the bytes of its shape in its format, or rows of that length do not exist in it.
    FactorLength = 116,
    /// An adapter does not have the shape of the others, or of the layer.
    AdapterShape = 117,
    /// Activations, or their stride, are too short for the batch.
    VectorLength = 118,
    /// A slice's index is not below the number of slices.
    SliceBounds = 119,
    /// An assignment names a token that the batch does not have.
    UnknownToken = 121,
    /// An assignment names an adapter that does not exist, or an id that the registry does not hold.
    UnknownAdapter = 122,
    /// Assignments are not ordered by adapter: phlora_group orders them.
    NotGrouped = 123,
    /// The registry holds this id already.
    IdTaken = 124,
    /// Every place of the registry is taken.
    RegistryFull = 125,
    /// The registry's budget would be exceeded.
    OverBudget = 126,
    /// Calls out of order: rows while no pass is wanted, a result while one is, anything after an error that
    /// ended the extraction or after its finish.
    OutOfOrder = 200,
    /// The pointer is to no extraction that was started there: never started, moved, or in use by another
    /// thread.
    NotStarted = 201,
    /// A chunk is not a whole number of rows, or both sides do not hold the same number of rows.
    NotWholeRows = 202,
    /// More rows were pushed than the matrix, or the part, has.
    TooManyRows = 203,
    /// The pass was ended before its last row.
    MissingRows = 204,
    /// The difference holds a NaN or an infinity (phlora_measure tells the row), or a factor, a scale or a weight is one.
    NonFinite = 300,
    /// Products of finite entries of the difference are not finite: it spreads over more than the range of
    /// float.
    OutOfRange = 301,
    /// The operating system refused an operation on a file, or the memory for it.
    Io = 400,
    /// A file is not what it should be.
    Format = 401,
    /// The two models do not belong together.
    Mismatch = 402,
    /// The output exists and may not be replaced.
    Exists = 403,
    /// No selected module differs.
    NothingToExtract = 404,
    /// The progress callback asked to stop; nothing is left behind.
    Cancelled = 405,
    /// Tensors that other shards of the extraction have to work on are missing.
    Unfinished = 406,
    /// A defect of phlora. The extraction that the call worked on cannot go on.
    Internal = 900,
}

impl Status {
    const ALL: [Self; 42] = [
        Self::Ok,
        Self::NullPointer,
        Self::Misaligned,
        Self::Overlap,
        Self::TooLarge,
        Self::UnknownValue,
        Self::StructSize,
        Self::OutputLength,
        Self::MemoryTooSmall,
        Self::RankZero,
        Self::TooFewReads,
        Self::Wide,
        Self::BadText,
        Self::BadOption,
        Self::NotWholeBlocks,
        Self::NotEncoded,
        Self::Empty,
        Self::FactorLength,
        Self::AdapterShape,
        Self::VectorLength,
        Self::SliceBounds,
        Self::UnknownToken,
        Self::UnknownAdapter,
        Self::NotGrouped,
        Self::IdTaken,
        Self::RegistryFull,
        Self::OverBudget,
        Self::OutOfOrder,
        Self::NotStarted,
        Self::NotWholeRows,
        Self::TooManyRows,
        Self::MissingRows,
        Self::NonFinite,
        Self::OutOfRange,
        Self::Io,
        Self::Format,
        Self::Mismatch,
        Self::Exists,
        Self::NothingToExtract,
        Self::Cancelled,
        Self::Unfinished,
        Self::Internal,
    ];

    const fn texts(self) -> (&'static CStr, &'static CStr) {
        match self {
            Self::Ok => (c"PHLORA_STATUS_OK", c"success"),
            Self::NullPointer => (c"PHLORA_STATUS_NULL_POINTER", c"a pointer is NULL"),
            Self::Misaligned => (c"PHLORA_STATUS_MISALIGNED", c"a pointer is not aligned"),
            Self::Overlap => (c"PHLORA_STATUS_OVERLAP", c"an output overlaps another buffer"),
            Self::TooLarge => (c"PHLORA_STATUS_TOO_LARGE", c"a size exceeds the address range"),
            Self::UnknownValue => {
                (c"PHLORA_STATUS_UNKNOWN_VALUE", c"an enumeration value is unknown to this version")
            }
            Self::StructSize => (
                c"PHLORA_STATUS_STRUCT_SIZE",
                c"a struct is too small, or sets options unknown to this version",
            ),
            Self::OutputLength => (c"PHLORA_STATUS_OUTPUT_LENGTH", c"an output buffer has the wrong length"),
            Self::MemoryTooSmall => {
                (c"PHLORA_STATUS_MEMORY_TOO_SMALL", c"the memory is smaller than the extraction needs")
            }
            Self::RankZero => (c"PHLORA_STATUS_RANK_ZERO", c"the rank is 0, expected at least 1"),
            Self::TooFewReads => {
                (c"PHLORA_STATUS_TOO_FEW_READS", c"the mode cannot work within so few reads")
            }
            Self::Wide => {
                (c"PHLORA_STATUS_WIDE", c"the matrix has more columns than rows: decompose its transpose")
            }
            Self::BadText => (c"PHLORA_STATUS_BAD_TEXT", c"a text is not UTF-8 or not a regular expression"),
            Self::BadOption => (c"PHLORA_STATUS_BAD_OPTION", c"an option cannot be met"),
            Self::NotWholeBlocks => {
                (c"PHLORA_STATUS_NOT_WHOLE_BLOCKS", c"a row is not a whole number of blocks of its format")
            }
            Self::NotEncoded => {
                (c"PHLORA_STATUS_NOT_ENCODED", c"weights are read from this format, but not written in it")
            }
            Self::Empty => (c"PHLORA_STATUS_EMPTY", c"nothing to work on: no token, or no adapter"),
            Self::FactorLength => {
                (c"PHLORA_STATUS_FACTOR_LENGTH", c"a factor does not have the bytes of its shape and format")
            }
            Self::AdapterShape => {
                (c"PHLORA_STATUS_ADAPTER_SHAPE", c"an adapter does not have the shape of the layer")
            }
            Self::VectorLength => {
                (c"PHLORA_STATUS_VECTOR_LENGTH", c"activations are too short for the batch")
            }
            Self::SliceBounds => {
                (c"PHLORA_STATUS_SLICE_BOUNDS", c"a slice's index must be below the number of slices")
            }
            Self::UnknownToken => {
                (c"PHLORA_STATUS_UNKNOWN_TOKEN", c"an assignment names a token beyond the batch")
            }
            Self::UnknownAdapter => (c"PHLORA_STATUS_UNKNOWN_ADAPTER", c"an adapter does not exist"),
            Self::NotGrouped => (c"PHLORA_STATUS_NOT_GROUPED", c"assignments are not ordered by adapter"),
            Self::IdTaken => (c"PHLORA_STATUS_ID_TAKEN", c"the registry holds this id already"),
            Self::RegistryFull => (c"PHLORA_STATUS_REGISTRY_FULL", c"every place of the registry is taken"),
            Self::OverBudget => (c"PHLORA_STATUS_OVER_BUDGET", c"the registry's budget would be exceeded"),
            Self::OutOfOrder => (c"PHLORA_STATUS_OUT_OF_ORDER", c"calls out of order"),
            Self::NotStarted => (c"PHLORA_STATUS_NOT_STARTED", c"no extraction was started in this memory"),
            Self::NotWholeRows => {
                (c"PHLORA_STATUS_NOT_WHOLE_ROWS", c"a chunk must hold whole rows, as many of both sides")
            }
            Self::TooManyRows => {
                (c"PHLORA_STATUS_TOO_MANY_ROWS", c"more rows were pushed than the matrix has")
            }
            Self::MissingRows => (c"PHLORA_STATUS_MISSING_ROWS", c"the pass ended before the last row"),
            Self::NonFinite => (
                c"PHLORA_STATUS_NON_FINITE",
                c"the difference, a factor or a scale holds a NaN or an infinity",
            ),
            Self::OutOfRange => {
                (c"PHLORA_STATUS_OUT_OF_RANGE", c"the difference spreads over more than the range of float")
            }
            Self::Io => (c"PHLORA_STATUS_IO", c"a file cannot be read or written"),
            Self::Format => (c"PHLORA_STATUS_FORMAT", c"a file is not what it should be"),
            Self::Mismatch => (c"PHLORA_STATUS_MISMATCH", c"the two models do not belong together"),
            Self::Exists => (c"PHLORA_STATUS_EXISTS", c"the output exists and may not be replaced"),
            Self::NothingToExtract => (c"PHLORA_STATUS_NOTHING_TO_EXTRACT", c"no selected module differs"),
            Self::Cancelled => (c"PHLORA_STATUS_CANCELLED", c"cancelled"),
            Self::Unfinished => (c"PHLORA_STATUS_UNFINISHED", c"tensors of other shards are missing"),
            Self::Internal => (c"PHLORA_STATUS_INTERNAL", c"a defect of phlora"),
        }
    }

    /// What it means, for people.
    #[cfg(feature = "std")]
    pub fn text(self) -> &'static str {
        self.texts().1.to_str().unwrap_or_default()
    }

    fn of(value: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|&status| status as u32 == value)
    }
}

impl From<phlora_core::Error> for Status {
    fn from(error: phlora_core::Error) -> Self {
        use phlora_core::Error;
        match error {
            Error::RankZero => Self::RankZero,
            Error::TooLarge => Self::TooLarge,
            Error::ScratchTooSmall { .. } => Self::MemoryTooSmall,
            Error::OutputLength { .. } => Self::OutputLength,
            Error::Wide => Self::Wide,
            Error::NotWholeRows => Self::NotWholeRows,
            Error::NotWholeBlocks { .. } => Self::NotWholeBlocks,
            Error::NotEncoded => Self::NotEncoded,
            Error::TooManyRows => Self::TooManyRows,
            Error::MissingRows { .. } => Self::MissingRows,
            Error::OutOfOrder => Self::OutOfOrder,
            Error::OutOfRange => Self::OutOfRange,
            Error::TooFewReads { .. } => Self::TooFewReads,
            Error::Empty => Self::Empty,
            Error::FactorLength { .. } => Self::FactorLength,
            Error::NonFinite { .. } | Error::NonFiniteScale | Error::NonFiniteFactor { .. } => {
                Self::NonFinite
            }
            Error::AdapterShape { .. } => Self::AdapterShape,
            Error::VectorLength => Self::VectorLength,
            Error::SliceBounds => Self::SliceBounds,
            Error::UnknownToken { .. } => Self::UnknownToken,
            Error::UnknownAdapter { .. } | Error::UnknownId => Self::UnknownAdapter,
            Error::NotGrouped => Self::NotGrouped,
            Error::IdTaken => Self::IdTaken,
            Error::RegistryFull { .. } => Self::RegistryFull,
            Error::OverBudget { .. } => Self::OverBudget,
            _ => Self::Internal,
        }
    }
}

/// The name of a status value, as in "PHLORA_STATUS_OVERLAP"; "PHLORA_STATUS_?" for values that this version
/// does not know. Static text, never NULL. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_status_name(status: u32) -> *const c_char {
    Status::of(status).map_or(c"PHLORA_STATUS_?", |status| status.texts().0).as_ptr()
}

/// What a status value means, for people. Static text, never NULL. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_status_message(status: u32) -> *const c_char {
    Status::of(status).map_or(c"a status that this version does not know", |status| status.texts().1).as_ptr()
}
