//! Weights composed of rows of several stored tensors.

use super::{Expert, Part, Tensor};
use crate::source::permutation::RowPermutation;
use std::ops::Range;

/// A weight composed of rows of stored tensors, as a model has it in memory.
#[derive(Debug, Clone)]
pub(crate) struct Composed<'m> {
    /// At least one, all of one format and row length.
    parts: Vec<Part<'m>>,
    shape: Vec<usize>,
    /// Which matrix of a stack it is.
    pub(crate) expert: Option<Expert>,
}

impl<'m> Composed<'m> {
    /// The whole of `tensor`.
    pub(crate) fn whole(tensor: Tensor<'m>) -> Self {
        let rows = tensor.shape.first().copied().unwrap_or(1);
        let parts = vec![Part { tensor, rows }];
        Self { parts, shape: tensor.shape.to_vec(), expert: tensor.expert }
    }

    /// Matrix `index` of `count` along the first axis; `None` where it does not divide so.
    pub(crate) fn slice(&self, index: usize, count: usize) -> Option<Self> {
        let ([Part { tensor, .. }], Some(&first)) = (self.parts.as_slice(), self.shape.first()) else {
            return None;
        };
        if first != count {
            return None;
        }
        let shape = self.shape[1..].to_vec();
        let rows = shape.first().copied().unwrap_or(1);
        let expert = Some(Expert { index, count });
        let tensor = Tensor { expert, ..tensor.share(index, count, self.len())? };
        Some(Self { parts: vec![Part { tensor, rows }], shape, expert })
    }

    /// Share `index` of `count` equal shares of the rows; `None` where they do not divide so.
    pub(crate) fn share(&self, index: usize, count: usize) -> Option<Self> {
        let [Part { tensor, rows }] = self.parts.as_slice() else { return None };
        if count == 0 || !rows.is_multiple_of(count) {
            return None;
        }
        let mut shape = self.shape.clone();
        *shape.first_mut()? = rows / count;
        let part = Part { tensor: tensor.share(index, count, self.len())?, rows: rows / count };
        Some(Self { parts: vec![part], shape, expert: self.expert })
    }

    /// The shares `range` of `count` equal shares of the rows; `None` where they do not divide so.
    pub(crate) fn shares(&self, range: Range<usize>, count: usize) -> Option<Self> {
        let pieces: Option<Vec<_>> = range.map(|index| self.share(index, count)).collect();
        Self::joined(&pieces?, self.expert)
    }

    /// The same rows of so many heads, the halves of which alternate here and follow one another there; `None` where
    /// the rows are no such heads.
    pub(crate) fn in_halves(&self, heads: usize) -> Option<Self> {
        let [Part { tensor, rows }] = *self.parts.as_slice() else { return None };
        let order = RowPermutation::to_gguf(rows, heads)?.inverse();
        let part = Part { tensor: tensor.in_order(order), rows };
        tensor.order.is_none().then(|| Self { parts: vec![part], ..self.clone() })
    }

    /// The rows of all `pieces`, one below the other; `None` where they are of different formats or row lengths.
    pub(crate) fn joined(pieces: &[Self], expert: Option<Expert>) -> Option<Self> {
        let first = pieces.first()?;
        let dtype = first.parts.first()?.tensor.dtype_name();
        let alike = |piece: &Self| {
            let plain = |part: &Part<'_>| part.tensor.order.is_none() && part.tensor.dtype_name() == dtype;
            piece.shape.get(1..) == first.shape.get(1..) && piece.parts.iter().all(plain)
        };
        if !pieces.iter().all(alike) {
            return None;
        }
        let mut shape = first.shape.clone();
        *shape.first_mut()? = pieces.iter().map(|piece| piece.shape[0]).sum();
        Some(Self { parts: pieces.iter().flat_map(|piece| piece.parts.clone()).collect(), shape, expert })
    }

    /// Its parts, from the first row on: where it begins, how many rows it has, and their bytes, whose tensor has the
    /// shape that it has in the file.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (usize, usize, Tensor<'m>)> {
        self.parts.iter().scan(0, |row, part| {
            let first = *row;
            *row += part.rows;
            Some((first, part.rows, part.tensor))
        })
    }

    /// Number of entries.
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The view of it.
    pub(crate) fn tensor(&self) -> Tensor<'_> {
        let (first, more) = (&self.parts[0], &self.parts[1..]);
        let expert = first.tensor.expert.or(self.expert);
        Tensor { shape: &self.shape, more, expert, ..first.tensor }
    }
}

impl Tensor<'_> {
    /// Share `index` of `count` equal shares of its `len` entries, where these are whole; the shape does not follow.
    fn share(self, index: usize, count: usize, len: usize) -> Option<Self> {
        let length = self.bytes.len().checked_div(count)?;
        let entries = len / count;
        let whole = match self.decoder {
            // Its codes may be in another order; they are cut only for what is read ahead.
            Some(_) => entries * count == len,
            None => self.order.is_none() && length * count == self.bytes.len(),
        };
        if !whole || index >= count {
            return None;
        }
        let bytes = index * length..(index + 1) * length;
        let decoder = self.decoder.map(|decoder| decoder.skip(index * entries));
        Some(Self { start: self.start + bytes.start, bytes: &self.bytes[bytes], decoder, ..self })
    }
}
