//! Storage formats of weights, and a view over whole rows in one of them.

/// How one weight is stored. All formats are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE binary32.
    F32,
    /// IEEE binary16.
    F16,
    /// The upper half of a binary32.
    Bf16,
}

impl Dtype {
    /// Bytes that `cols` consecutive weights of a row take, or `None` when that overflows.
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        match self {
            Self::F32 => cols.checked_mul(4),
            Self::F16 | Self::Bf16 => cols.checked_mul(2),
        }
    }

    /// The name used in messages and in safetensors headers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }
}

/// A run of whole rows in their storage format, without padding between rows. No alignment is needed.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Storage format of every weight.
    pub dtype: Dtype,
    /// The rows, one after another.
    pub bytes: &'a [u8],
}

impl<'a> Rows<'a> {
    /// Views `bytes` as rows of `dtype`.
    pub const fn new(dtype: Dtype, bytes: &'a [u8]) -> Self {
        Self { dtype, bytes }
    }
}
