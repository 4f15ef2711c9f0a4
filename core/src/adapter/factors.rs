//! A LoRA adapter of one layer: a view over its two factors where they lie.

use crate::{Dtype, Error, Kernel, Rows, Shape};

/// scale · B·A for one weight matrix, its factors in the caller's memory: a buffer, a mapped PEFT or GGUF
/// file, flash. Any two storage formats will do, at any address.
///
/// Its lengths are checked when it is made. A copy is a copy of the view.
#[derive(Debug, Clone, Copy)]
pub struct Adapter<'a> {
    shape: Shape,
    rank: usize,
    scale: f32,
    a: Factor<'a>,
    b: Factor<'a>,
}

/// A row-major factor.
#[derive(Debug, Clone, Copy)]
pub struct Factor<'a> {
    pub dtype: Dtype,
    pub bytes: &'a [u8],
    /// Bytes from one row to the next.
    pub row_bytes: usize,
    /// Elements of a row.
    pub cols: usize,
}

impl<'a> Factor<'a> {
    fn new(index: usize, rows: usize, cols: usize, data: Rows<'a>) -> Result<Self, Error> {
        let row_bytes = data.dtype.row_bytes(cols).ok_or(Error::FactorLength { index })?;
        let bytes = row_bytes.checked_mul(rows).ok_or(Error::TooLarge)?;
        if data.bytes.len() != bytes {
            return Err(Error::FactorLength { index });
        }
        Ok(Self { dtype: data.dtype, bytes: data.bytes, row_bytes, cols })
    }

    /// Rows `first`…, `count` of them.
    pub fn rows(&self, first: usize, count: usize) -> &'a [u8] {
        self.bytes.get(first * self.row_bytes..(first + count) * self.row_bytes).unwrap_or_default()
    }

    /// Entries `from`… of row `row`, at most `len` of them; `from` is a multiple of [`PIECE`](crate::kernel::PIECE).
    pub fn piece(&self, row: usize, from: usize, len: usize) -> Rows<'a> {
        let at = |entry: usize| self.dtype.row_bytes(entry).unwrap_or(usize::MAX);
        let row = self.rows(row, 1);
        Rows::new(self.dtype, row.get(at(from)..at(from + len)).unwrap_or_default())
    }

    /// Whether every entry is a number.
    fn is_finite(&self, kernel: Kernel) -> bool {
        kernel.all_finite(Rows::new(self.dtype, self.bytes))
    }
}

impl<'a> Adapter<'a> {
    /// Views `a` (`rank` × `shape.cols`) and `b` (`shape.rows` × `rank`), both row-major, as PEFT and GGUF
    /// store them. `scale` is what multiplies B·A: alpha/rank in PEFT.
    ///
    /// # Errors
    /// [`Error::RankZero`]; [`Error::FactorLength`] with index 0 for `a` and 1 for `b`, also where rows of
    /// that length do not exist in the format; [`Error::NonFiniteScale`]; [`Error::TooLarge`].
    pub fn new(shape: Shape, rank: usize, a: Rows<'a>, b: Rows<'a>, scale: f32) -> Result<Self, Error> {
        if rank == 0 {
            return Err(Error::RankZero);
        }
        if !scale.is_finite() {
            return Err(Error::NonFiniteScale);
        }
        let a = Factor::new(0, rank, shape.cols, a)?;
        let b = Factor::new(1, shape.rows, rank, b)?;
        Ok(Self { shape, rank, scale, a, b })
    }

    /// Reads every entry once.
    ///
    /// # Errors
    /// [`Error::NonFiniteFactor`], index 0 for A and 1 for B.
    pub fn check_finite(&self, kernel: Kernel) -> Result<(), Error> {
        for (index, factor) in [self.a, self.b].iter().enumerate() {
            if !factor.is_finite(kernel) {
                return Err(Error::NonFiniteFactor { index });
            }
        }
        Ok(())
    }

    /// The same adapter, `weight` times as strong.
    ///
    /// # Errors
    /// [`Error::NonFiniteScale`] when the product is no number.
    pub fn scaled(self, weight: f32) -> Result<Self, Error> {
        let scale = self.scale * weight;
        if scale.is_finite() { Ok(Self { scale, ..self }) } else { Err(Error::NonFiniteScale) }
    }

    /// Shape of the weight matrix.
    pub const fn shape(&self) -> Shape {
        self.shape
    }

    /// Rows of A, columns of B.
    pub const fn rank(&self) -> usize {
        self.rank
    }

    /// What multiplies B·A.
    pub const fn scale(&self) -> f32 {
        self.scale
    }

    /// A and B as they are stored.
    pub const fn factors(&self) -> [Rows<'a>; 2] {
        [Rows::new(self.a.dtype, self.a.bytes), Rows::new(self.b.dtype, self.b.bytes)]
    }

    /// Bytes of both factors.
    pub const fn bytes(&self) -> usize {
        self.a.bytes.len() + self.b.bytes.len()
    }

    /// A: rank × cols.
    pub(crate) const fn a(&self) -> Factor<'a> {
        self.a
    }

    /// B: rows × rank.
    pub(crate) const fn b(&self) -> Factor<'a> {
        self.b
    }
}
