//! A view of one weight: its shape, its format, and where its rows are in the files.

mod composed;

pub(crate) use composed::Composed;

use crate::error::{Error, Result};
use crate::source::gguf;
use crate::source::mapped::{Extent, Mapped};
use crate::source::permutation::RowPermutation;
use crate::source::quantized::Decoder;
use crate::source::stored::Stored;
use phlora_core::{Dtype, Rows};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

/// One of the matrices in a tensor [experts, out, in].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expert {
    /// Its position along the first axis.
    pub index: usize,
    /// Length of that axis.
    pub count: usize,
}

/// Most experts of files of `bytes`, each of which is a tensor or a module with a name of its own: so many in any file, and
/// more in a large one, so that a small file cannot fill the memory.
pub(crate) const fn max_experts(bytes: usize) -> usize {
    let (any, most) = (1 << 16, 1 << 18);
    let more = any + bytes / 64;
    if more < most { more } else { most }
}

/// A tensor of a [`Model`](crate::Model).
#[derive(Debug, Clone, Copy)]
pub struct Tensor<'m> {
    source: &'m Mapped,
    stored: &'m Stored,
    expert: Option<Expert>,
    shape: &'m [usize],
    /// Where `bytes` begin in the file.
    start: usize,
    bytes: &'m [u8],
    /// Row `i` is row `order.source(i)` of the bytes.
    order: Option<RowPermutation>,
    /// The rows below those of `bytes`, where a weight consists of several stored tensors.
    more: &'m [Component<'m>],
    /// What decodes it where it is quantised; `bytes` are its codes then, and its dtype is F32.
    decoder: Option<Decoder<'m>>,
    /// The other stored tensors that it is decoded from.
    beside: Beside<'m>,
}

/// Stored tensors beside that of the codes of a quantised weight.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Beside<'m> {
    /// The files of the model.
    pub(crate) files: &'m [Mapped],
    /// Number of the file and place in it.
    pub(crate) places: &'m [(usize, Range<usize>)],
}

/// Whole rows of a weight that lie together in one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Component<'m> {
    tensor: Tensor<'m>,
    rows: usize,
}

impl<'m> Tensor<'m> {
    /// The bytes `start..` of `source`, which hold `shape` entries of the tensor `stored`.
    pub(crate) fn new(
        source: &'m Mapped,
        stored: &'m Stored,
        expert: Option<Expert>,
        shape: &'m [usize],
        start: usize,
        bytes: &'m [u8],
    ) -> Self {
        let beside = Beside::default();
        Self { source, stored, expert, shape, start, bytes, order: None, more: &[], decoder: None, beside }
    }

    /// The same as what `decoder` makes of it and of what is `beside` it, of that shape.
    pub(crate) fn quantized(self, decoder: Decoder<'m>, beside: Beside<'m>, shape: &'m [usize]) -> Self {
        Self { decoder: Some(decoder), beside, shape, ..self }
    }

    /// The file that holds it.
    pub fn file(&self) -> &'m Path {
        self.source.path()
    }

    /// Its name in that file; of an expert, that of all of them.
    pub fn stored_name(&self) -> &'m str {
        &self.stored.name
    }

    /// Which expert of the tensor in the file it is, where it is one.
    pub fn expert(&self) -> Option<Expert> {
        self.expert
    }

    /// Its dtype as the file calls it, e.g. `BF16` or `Q4_K`; of a quantised weight, that of its codes.
    pub fn dtype_name(&self) -> &'m str {
        &self.stored.dtype_name
    }

    /// Its dtype if that is one of those read here; F32 of a weight that is decoded from several tensors.
    pub fn dtype(&self) -> Option<Dtype> {
        if self.decoder.is_some() { Some(Dtype::F32) } else { self.stored.dtype }
    }

    /// Whether it is decoded from several tensors of a quantised checkpoint.
    pub(crate) fn is_quantized(&self) -> bool {
        self.decoder.is_some()
    }

    /// Its dtype, which must be one of those read here.
    pub(crate) fn readable(&self) -> Result<Dtype> {
        self.dtype().ok_or_else(|| {
            let blocks = gguf::is_gguf(self.source.bytes());
            let read = Dtype::ALL.iter().filter(|dtype| blocks || !dtype.is_block());
            let names: Vec<_> = read.map(|dtype| dtype.name()).collect();
            self.error(format!("its dtype {} is not read, expected {}", self.dtype_name(), names.join(", ")))
        })
    }

    /// Its shape, slowest axis first.
    pub fn shape(&self) -> &'m [usize] {
        self.shape
    }

    /// Its bytes, mapped, in the order of the file; of a quantised weight, its codes.
    pub fn bytes(&self) -> &'m [u8] {
        debug_assert!(self.more.is_empty(), "tensors of a file have one component");
        self.bytes
    }

    /// Number of the bytes of its entries in its dtype, which are those that a read of it counts.
    pub(crate) fn byte_len(&self) -> usize {
        let decoded =
            |tensor: &Self| tensor.is_quantized().then(|| tensor.len().saturating_mul(size_of::<f32>()));
        decoded(self).unwrap_or_else(|| self.byte_slices().map(<[u8]>::len).sum())
    }

    /// Number of the bytes that it takes in the files.
    pub(crate) fn stored_len(&self) -> usize {
        self.decoder.map_or(self.bytes.len(), |decoder| decoder.stored_len)
    }

    /// Where the bytes are that it consists of, all of which its entries may depend on.
    pub(crate) fn extents(&self) -> impl Iterator<Item = Extent<'m>> + use<'m> {
        let components = std::iter::once(*self).chain(self.more.iter().map(|component| component.tensor));
        components.flat_map(|component| {
            // The codes of some rows may be anywhere among all codes.
            let own =
                if component.is_quantized() { component.stored.range.clone() } else { component.range() };
            let beside = component
                .beside
                .places
                .iter()
                .map(move |(file, range)| (&component.beside.files[*file], range.clone()));
            std::iter::once((component.source, own)).chain(beside)
        })
    }

    /// Takes pages of a weight that lies in one place out of what counts as memory of this process: those of the bytes `range`
    /// of it, which come again when they are touched.
    pub(crate) fn give_back(&self, range: Range<usize>) {
        let mut places = self.extents();
        if let (Some((file, all)), None) = (places.next(), places.next()) {
            let at = |offset: usize| all.start.saturating_add(offset).min(all.end);
            file.give_back(at(range.start)..at(range.end));
        }
    }

    /// Whether some of its bytes are at addresses.
    pub(crate) fn is_remote(&self) -> bool {
        self.extents().any(|(file, _)| file.remote().is_some())
    }

    /// Whether it is of the same bytes as `other`.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let all = |tensor: &Self| tensor.extents().map(|(file, range)| (std::ptr::from_ref(file), range));
        self.range() == other.range() && all(self).eq(all(other))
    }

    /// Whether what [`Held`](crate::source::held::Held) waits for is here.
    fn is_here(&self) -> bool {
        self.source.remote().is_none() || self.extents().all(|(file, range)| file.is_here(range))
    }

    /// Its bytes, a slice for each stored tensor that it consists of.
    pub(crate) fn byte_slices(&self) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        std::iter::once(self.bytes).chain(self.more.iter().map(|component| component.tensor.bytes))
    }

    /// The same, at most `size` bytes at a time.
    pub(crate) fn bytes_by(&self, size: usize) -> impl Iterator<Item = &'m [u8]> + use<'m> {
        self.byte_slices().flat_map(move |bytes| bytes.chunks(size))
    }

    /// Where its bytes are in the file.
    pub(crate) fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Asks the system to read some of its bytes ahead, as far as there are any; only the time depends on it.
    pub(crate) fn will_need(&self, bytes: Range<usize>) {
        let mut before = 0;
        let components = std::iter::once(self).chain(self.more.iter().map(|component| &component.tensor));
        for component in components {
            let at =
                |offset: usize| component.start + offset.saturating_sub(before).min(component.bytes.len());
            component.source.will_need(at(bytes.start)..at(bytes.end));
            before += component.bytes.len();
        }
    }

    /// The same with the rows in another order: row `i` is row `order.source(i)` of the file.
    pub(crate) fn in_order(self, order: RowPermutation) -> Self {
        Self { order: Some(order), ..self }
    }

    /// The row permutation, where the rows are in another order than in the file.
    pub(crate) fn order(&self) -> Option<RowPermutation> {
        self.order
    }

    /// Whether its entries cannot be viewed where they are: neighbouring rows are not always neighbours in the file, or it
    /// is quantised.
    pub(crate) fn is_scattered(&self) -> bool {
        self.order.is_some() || !self.more.is_empty() || self.is_quantized()
    }

    /// Where row `row` is in the file.
    pub(crate) fn stored_row(&self, row: usize) -> usize {
        self.order.map_or(row, |order| order.source(row))
    }

    /// Entries of a row.
    pub(crate) fn row_len(&self) -> usize {
        self.shape.get(1..).map_or(1, |rest| rest.iter().product())
    }

    /// The entries `range` (row-major, in the order of the file) in their storage format; none where the range
    /// does not begin and end at whole blocks of the format, leaves the tensor, is in several components of it, or is not here.
    pub(crate) fn entries(&self, dtype: Dtype, range: Range<usize>) -> Rows<'m> {
        let (component, _, range) = self.component_at(range);
        let place = dtype.row_bytes(range.start).zip(dtype.row_bytes(range.end));
        let place = place
            .filter(|(start, end)| component.source.is_here(component.start + start..component.start + end));
        Rows::new(dtype, place.and_then(|(start, end)| component.bytes.get(start..end)).unwrap_or_default())
    }

    /// Decodes the entries `range` (row-major, in the order of the file) of a quantised weight into `out`, which is as long.
    pub(crate) fn decode_quantized(&self, range: Range<usize>, out: &mut [f32]) -> Result<()> {
        if !self.is_here() {
            return Err(self.error("its bytes are not held"));
        }
        let (mut at, mut out) = (range.start, out);
        while !out.is_empty() {
            let (component, entries, own) = self.component_at(at..range.end);
            let count = out.len().min(entries.saturating_sub(own.start));
            let decoder = component.decoder.filter(|_| count > 0);
            let decoder =
                decoder.ok_or_else(|| self.error("its components do not hold all of its entries"))?;
            let (now, rest) = out.split_at_mut(count);
            decoder.decode(own.start..own.start + count, now).map_err(|e| component.error(e.to_string()))?;
            (at, out) = (at + count, rest);
        }
        Ok(())
    }

    /// The component that holds the entry where `range` begins, the number of its entries, and the range in it.
    fn component_at(&self, range: Range<usize>) -> (&Self, usize, Range<usize>) {
        let below: usize = self.more.iter().map(|component| component.rows).sum();
        let rows = self.shape.first().map_or(1, |rows| rows.saturating_sub(below));
        let (mut component, mut entries, mut range) = (self, rows * self.row_len(), range);
        for next in self.more {
            if range.start < entries {
                break;
            }
            range = range.start - entries..range.end.saturating_sub(entries);
            (component, entries) = (&next.tensor, next.rows * self.row_len());
        }
        (component, entries, range)
    }

    pub(crate) fn error(&self, problem: impl Into<String>) -> Error {
        let name = match self.expert {
            Some(Expert { index, .. }) => &format!("{} (expert {index})", self.stored_name()),
            None => self.stored_name(),
        };
        Error::tensor(self.file(), name, problem)
    }
}
