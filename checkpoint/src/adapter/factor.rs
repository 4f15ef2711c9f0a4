//! One factor of a module: encoded bytes, and changes that are made when it is written, one tensor at a time.

use super::packed::Packed;
use crate::error::{Error, Reason, Result, collected, filled};
use crate::source::permutation::RowPermutation;
use phlora_core::{Dtype, Rows};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

/// A matrix [rows, cols] in a storage format.
///
/// Changes of format, order or size are only noted, and made by [`encoded`](Self::encoded).
#[derive(Debug, Clone)]
pub struct Factor<'a> {
    bytes: Cow<'a, [u8]>,
    stored_dtype: Dtype,
    stored_shape: [usize; 2],
    /// File and tensor that it was read from.
    origin: Option<(&'a Path, &'a str)>,
    changes: Vec<Change>,
    /// The codes that it was decoded from, with the other factor of its module, and the bytes of its own.
    codes: Option<(Arc<Packed>, usize)>,
    // After the changes.
    dtype: Dtype,
    shape: [usize; 2],
}

/// What is to happen to the matrix.
#[derive(Debug, Clone, PartialEq)]
enum Change {
    Scale(f64),
    Transpose,
    /// Zeros at the right and below, or that much left out, up to this shape.
    Resize([usize; 2]),
    /// Row `i` of the result is row `order.source(i)`.
    Rows(RowPermutation),
}

impl<'a> Factor<'a> {
    /// A matrix of `shape`, [rows, cols], in `bytes`.
    ///
    /// # Errors
    /// When there are no entries, or the length of `bytes` is not that of so many rows.
    pub fn new(dtype: Dtype, shape: [usize; 2], bytes: impl Into<Cow<'a, [u8]>>) -> Result<Self> {
        let bytes = bytes.into();
        let length = dtype.row_bytes(shape[1]).and_then(|row| row.checked_mul(shape[0]));
        if length != Some(bytes.len()) || bytes.is_empty() {
            let found = bytes.len();
            let problem = format!("{} of shape {shape:?} does not take {found} bytes", dtype.name());
            return Err(Error::usage(problem));
        }
        Ok(Self {
            bytes,
            stored_dtype: dtype,
            stored_shape: shape,
            origin: None,
            changes: Vec::new(),
            codes: None,
            dtype,
            shape,
        })
    }

    /// Whether every entry is 0.
    pub(crate) fn is_zero(&self) -> Result<bool> {
        Ok(self.decoded()?.iter().all(|value| *value == 0.0))
    }

    /// The same, said to be `tensor` of `file` where something is wrong with it.
    pub(crate) fn read_from(mut self, file: &'a Path, tensor: &'a str) -> Self {
        self.origin = Some((file, tensor));
        self
    }

    /// Bytes that it takes in a file, beside what belongs to both factors of its module.
    pub(crate) fn stored_len(&self) -> usize {
        let codes = self.codes.as_ref().filter(|_| self.codes().is_some());
        codes.map_or_else(|| self.encoded_len().unwrap_or(0), |(_, bytes)| *bytes)
    }

    /// The same, borrowed.
    pub fn view(&self) -> Factor<'_> {
        let (changes, codes) = (self.changes.clone(), self.codes.clone());
        Factor { bytes: Cow::Borrowed(&self.bytes), changes, codes, ..*self }
    }

    /// The same, said to be decoded from `codes`, of which `bytes` are its own.
    pub(crate) fn of_codes(mut self, codes: &Arc<Packed>, bytes: usize) -> Self {
        self.codes = Some((Arc::clone(codes), bytes));
        self
    }

    /// The codes that it was decoded from, where it is still what they say.
    pub(crate) fn codes(&self) -> Option<&Packed> {
        let untouched = self.changes.is_empty() && self.dtype == self.stored_dtype;
        self.codes.as_ref().map(|(codes, _)| codes.as_ref()).filter(|_| untouched)
    }

    /// [rows, cols].
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Storage format.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Number of entries.
    pub fn entries(&self) -> usize {
        self.shape[0].saturating_mul(self.shape[1])
    }

    /// Bytes that [`encoded`](Self::encoded) gives; `None` where the format does not take rows of this length.
    pub fn encoded_len(&self) -> Option<usize> {
        self.dtype.row_bytes(self.shape[1])?.checked_mul(self.shape[0])
    }

    /// Changes the storage format. The rows must have a length that it takes.
    pub fn set_dtype(&mut self, dtype: Dtype) {
        self.dtype = dtype;
    }

    /// Multiplies every entry.
    pub fn scale(&mut self, factor: f64) {
        if factor != 1.0 {
            self.changes.push(Change::Scale(factor));
        }
    }

    /// Exchanges rows and columns.
    pub fn transpose(&mut self) {
        self.changes.push(Change::Transpose);
        self.shape.reverse();
    }

    /// Fills up with zeros to `shape`, or cuts what is outside of it.
    pub fn resize(&mut self, shape: [usize; 2]) {
        if shape != self.shape {
            self.changes.push(Change::Resize(shape));
            self.shape = shape;
        }
    }

    /// The same with the rows `order`, as they are stored. Nothing may have been changed yet.
    pub(crate) fn with_rows(&self, order: &[usize]) -> Result<Self> {
        let size = self.bytes.len() / self.stored_shape[0].max(1);
        let bytes: Vec<u8> =
            order.iter().flat_map(|&row| &self.bytes[row * size..][..size]).copied().collect();
        let shape = [order.len(), self.stored_shape[1]];
        let factor = Self::new(self.stored_dtype, shape, bytes).map_err(|e| self.error(e.to_string()))?;
        Ok(Self { origin: self.origin, ..factor })
    }

    /// The same with all changes made.
    pub(crate) fn settled(&self) -> Result<Self> {
        if self.changes.is_empty() && self.dtype == self.stored_dtype {
            return Ok(self.clone());
        }
        let factor = Self::new(self.dtype, self.shape, self.encoded()?.into_owned())?;
        Ok(Self { origin: self.origin, ..factor })
    }

    /// Rows `first..first + count`, borrowed. Nothing may have been changed yet.
    pub(crate) fn row_range(&self, first: usize, count: usize) -> Result<Self> {
        let size = self.bytes.len() / self.stored_shape[0].max(1);
        let range = first * size..(first + count) * size;
        let bytes = match &self.bytes {
            Cow::Borrowed(bytes) => bytes.get(range).map(Cow::Borrowed),
            Cow::Owned(bytes) => bytes.get(range).map(|bytes| Cow::Owned(bytes.to_vec())),
        };
        let bytes = bytes.unwrap_or_default();
        let shape = [count, self.stored_shape[1]];
        let factor = Self::new(self.stored_dtype, shape, bytes).map_err(|e| self.error(e.to_string()))?;
        Ok(Self { origin: self.origin, ..factor })
    }

    /// Every `step`th column from `first` on. Nothing may have been changed yet, and the format must have no blocks.
    pub(crate) fn strided_columns(&self, first: usize, step: usize) -> Result<Self> {
        let [rows, cols] = self.stored_shape;
        if self.stored_dtype.is_block() || step == 0 || !cols.is_multiple_of(step) {
            return Err(self.error(format!("its {cols} columns do not divide into {step} experts")));
        }
        let size = self.bytes.len() / (rows * cols).max(1);
        let entries = self.bytes.chunks_exact(size.max(1)).skip(first).step_by(step);
        let bytes: Vec<u8> = entries.flatten().copied().collect();
        let factor = Self::new(self.stored_dtype, [rows, cols / step], bytes);
        Ok(Self { origin: self.origin, ..factor.map_err(|e| self.error(e.to_string()))? })
    }

    /// Row `i` becomes what row `order.source(i)` was.
    pub fn permute_rows(&mut self, order: RowPermutation) {
        self.changes.push(Change::Rows(order));
    }

    /// The bytes after all changes.
    ///
    /// # Errors
    /// When an entry is no finite number, or none any more in the new format.
    pub fn encoded(&self) -> Result<Cow<'_, [u8]>> {
        if self.dtype == self.stored_dtype {
            match self.changes.as_slice() {
                [] => return Ok(Cow::Borrowed(&self.bytes)),
                [Change::Rows(order)] => return Ok(self.permuted(*order)?.into()),
                _ => {}
            }
        }
        let values = self.decoded()?;
        let length = self.encoded_len().ok_or_else(|| {
            self.error(format!("rows of {} entries do not fit into {}", self.shape[1], self.dtype.name()))
        })?;
        let mut bytes = filled(0, length)?;
        phlora_core::encode(&values, self.dtype, &mut bytes).map_err(|e| self.error(e.to_string()))?;
        let mut back = values;
        self.decode_into(self.dtype, &bytes, &mut back)?;
        if let Some(at) = back.iter().position(|value| !value.is_finite()) {
            let problem = format!(
                "its entry in {} is beyond the range of {}; use bf16 or f32",
                place(at, self.shape),
                self.dtype.name()
            );
            return Err(self.error(problem));
        }
        Ok(bytes.into())
    }

    /// All entries after all changes, row by row.
    ///
    /// # Errors
    /// When an entry is no finite number.
    pub fn decoded(&self) -> Result<Vec<f32>> {
        let mut values = self.zeros(self.stored_shape[0] * self.stored_shape[1])?;
        self.decode_into(self.stored_dtype, &self.bytes, &mut values)?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            let problem = format!("NaN or infinity in {}", place(at, self.stored_shape));
            return Err(self.error(problem));
        }
        let mut shape = self.stored_shape;
        for change in &self.changes {
            values = self.changed(values, &mut shape, change)?;
        }
        Ok(values)
    }

    /// What is wrong with it, with file and tensor where it was read from one.
    pub(crate) fn error(&self, problem: impl Into<String>) -> Error {
        match self.origin {
            Some((file, tensor)) => Error::tensor(file, tensor, problem),
            None => Error::usage(format!("a factor of shape {:?}: {}", self.shape, problem.into())),
        }
    }

    /// Makes one change of a matrix of `shape`.
    fn changed(&self, mut values: Vec<f32>, shape: &mut [usize; 2], change: &Change) -> Result<Vec<f32>> {
        let [rows, cols] = *shape;
        match *change {
            Change::Scale(factor) => {
                for value in &mut values {
                    *value = (f64::from(*value) * factor) as f32;
                }
                Ok(values)
            }
            Change::Transpose => {
                let mut after = self.zeros(values.len())?;
                for (i, row) in values.chunks_exact(cols.max(1)).enumerate() {
                    for (j, value) in row.iter().enumerate() {
                        after[j * rows + i] = *value;
                    }
                }
                *shape = [cols, rows];
                Ok(after)
            }
            Change::Resize([new_rows, new_cols]) => {
                let mut after = self.zeros(new_rows.saturating_mul(new_cols))?;
                let common = cols.min(new_cols);
                let into = after.chunks_exact_mut(new_cols.max(1));
                for (from, to) in values.chunks_exact(cols.max(1)).zip(into) {
                    to[..common].copy_from_slice(&from[..common]);
                }
                *shape = [new_rows, new_cols];
                Ok(after)
            }
            Change::Rows(order) => {
                let mut after = self.zeros(values.len())?;
                for (row, to) in after.chunks_exact_mut(cols.max(1)).enumerate() {
                    to.copy_from_slice(&values[order.source(row) * cols..][..cols]);
                }
                Ok(after)
            }
        }
    }

    /// The stored rows in another order, untouched in themselves.
    fn permuted(&self, order: RowPermutation) -> Result<Vec<u8>> {
        let [rows, _] = self.stored_shape;
        let size = self.bytes.len() / rows.max(1);
        let rows = (0..rows).flat_map(|row| &self.bytes[order.source(row) * size..][..size]);
        collected(self.bytes.len(), rows.copied())
    }

    fn decode_into(&self, dtype: Dtype, bytes: &[u8], values: &mut [f32]) -> Result<()> {
        phlora_core::decode(Rows::new(dtype, bytes), values).map_err(|e| self.error(e.to_string()))
    }

    fn zeros(&self, entries: usize) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        values
            .try_reserve_exact(entries)
            .map_err(|_| self.error("too large for the memory").because(Reason::NoMemory))?;
        values.resize(entries, 0.0);
        Ok(values)
    }
}

/// Row and column of entry `at`.
fn place(at: usize, [_, cols]: [usize; 2]) -> String {
    format!("row {}, column {}", at / cols.max(1), at % cols.max(1))
}

#[cfg(test)]
mod tests;
