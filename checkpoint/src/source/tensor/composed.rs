//! Weights composed of rows of several stored tensors.

use super::{Component, Expert, Tensor};
use crate::source::permutation::RowPermutation;
use std::ops::Range;

/// A weight composed of rows of stored tensors, as a model has it in memory.
#[derive(Debug, Clone)]
pub(crate) struct Composed<'m> {
    /// At least one, all of one format and row length.
    components: Vec<Component<'m>>,
    shape: Vec<usize>,
    /// Which matrix of a stack it is.
    pub(crate) expert: Option<Expert>,
}

impl<'m> Composed<'m> {
    /// The whole of `tensor`.
    pub(crate) fn whole(tensor: Tensor<'m>) -> Self {
        let rows = tensor.shape.first().copied().unwrap_or(1);
        let components = vec![Component { tensor, rows }];
        Self { components, shape: tensor.shape.to_vec(), expert: tensor.expert }
    }

    /// Matrix `index` of `count` along the first axis; `None` where it does not divide so.
    pub(crate) fn matrix(&self, index: usize, count: usize) -> Option<Self> {
        let ([Component { tensor, .. }], Some(&first)) = (self.components.as_slice(), self.shape.first())
        else {
            return None;
        };
        if first != count {
            return None;
        }
        let shape = self.shape[1..].to_vec();
        let rows = shape.first().copied().unwrap_or(1);
        let expert = Some(Expert { index, count });
        let tensor = Tensor { expert, ..tensor.fraction(index, count, self.len())? };
        Some(Self { components: vec![Component { tensor, rows }], shape, expert })
    }

    /// Fraction `index` of `count` equal fractions of the rows; `None` where they do not divide so.
    pub(crate) fn fraction(&self, index: usize, count: usize) -> Option<Self> {
        let [Component { tensor, rows }] = self.components.as_slice() else { return None };
        if count == 0 || !rows.is_multiple_of(count) {
            return None;
        }
        let mut shape = self.shape.clone();
        *shape.first_mut()? = rows / count;
        let component = Component { tensor: tensor.fraction(index, count, self.len())?, rows: rows / count };
        Some(Self { components: vec![component], shape, expert: self.expert })
    }

    /// The fractions `range` of `count` equal fractions of the rows; `None` where they do not divide so.
    pub(crate) fn fractions(&self, range: Range<usize>, count: usize) -> Option<Self> {
        let rows: Option<Vec<_>> = range.map(|index| self.fraction(index, count)).collect();
        Self::joined(&rows?, self.expert)
    }

    /// The same rows of so many heads, the halves of which alternate here and follow one another there; `None` where
    /// the rows are no such heads.
    pub(crate) fn in_halves(&self, heads: usize) -> Option<Self> {
        let [Component { tensor, rows }] = *self.components.as_slice() else { return None };
        let order = RowPermutation::to_gguf(rows, heads)?.inverse();
        let component = Component { tensor: tensor.in_order(order), rows };
        tensor.order.is_none().then(|| Self { components: vec![component], ..self.clone() })
    }

    /// The rows of `all`, one below the other; `None` where they are of different formats or row lengths.
    pub(crate) fn joined(all: &[Self], expert: Option<Expert>) -> Option<Self> {
        let first = all.first()?;
        let dtype = first.components.first()?.tensor.dtype_name();
        let alike = |one: &Self| {
            let plain = |component: &Component<'_>| {
                component.tensor.order.is_none() && component.tensor.dtype_name() == dtype
            };
            one.shape.get(1..) == first.shape.get(1..) && one.components.iter().all(plain)
        };
        if !all.iter().all(alike) {
            return None;
        }
        let mut shape = first.shape.clone();
        *shape.first_mut()? = all.iter().map(|one| one.shape[0]).sum();
        Some(Self { components: all.iter().flat_map(|one| one.components.clone()).collect(), shape, expert })
    }

    /// Its components, from the first row on: where it begins, how many rows it has, and their bytes, whose tensor has the
    /// shape that it has in the file.
    pub(crate) fn components(&self) -> impl Iterator<Item = (usize, usize, Tensor<'m>)> {
        self.components.iter().scan(0, |row, component| {
            let first = *row;
            *row += component.rows;
            Some((first, component.rows, component.tensor))
        })
    }

    /// Number of entries.
    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The view of it.
    pub(crate) fn tensor(&self) -> Tensor<'_> {
        let (first, more) = (&self.components[0], &self.components[1..]);
        let expert = first.tensor.expert.or(self.expert);
        Tensor { shape: &self.shape, more, expert, ..first.tensor }
    }
}

impl Tensor<'_> {
    /// Fraction `index` of `count` equal fractions of its `len` entries, where these are whole; the shape does not follow.
    fn fraction(self, index: usize, count: usize, len: usize) -> Option<Self> {
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
