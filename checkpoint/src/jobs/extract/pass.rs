//! Feeds an extractor with the rows of both sides, part by part, over idle threads as well.

use crate::error::Error;
use crate::pairing::pairs::Pair;
use crate::run::pool::{Ticket, lock};
use crate::source::measure::DECODED_ROWS;
use crate::source::tensor::Tensor;
use phlora_core::{Dtype, Extractor, Part, Rows};
use std::ops::Range;
use std::sync::Mutex;
use std::thread;

/// Bytes of rows of one side that are gathered at once where the file has them in another order.
const GATHERED: usize = 1 << 20;

/// Both sides of a matrix as stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sides<'m> {
    base: (Tensor<'m>, Dtype),
    tuned: (Tensor<'m>, Dtype),
    pub(crate) rows: usize,
    pub(crate) cols: usize,
}

/// Rows that are brought together.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    /// Those of a quantised weight, before they are bytes.
    values: Vec<f32>,
}

/// Why a pass ended early.
pub(crate) enum Stop {
    /// The core refused rows.
    Core(phlora_core::Error),
    /// Something else, mostly a cancel.
    Other(Error),
}

impl<'m> Sides<'m> {
    /// Views a pair that was chosen for extraction.
    pub(crate) fn new(pair: &Pair<'m>) -> Option<Self> {
        let (rows, cols) = pair.stored_shape();
        let base = (pair.base, pair.base.dtype()?);
        let tuned = (pair.tuned, pair.tuned.dtype()?);
        Some(Self { base, tuned, rows, cols })
    }

    /// Views rows of one side; those in another order than in the file, or quantised, are gathered in `gathered`.
    fn rows<'b>(
        &self,
        (tensor, dtype): (Tensor<'b>, Dtype),
        range: &Range<usize>,
        gathered: &'b mut Gathered,
    ) -> Result<Rows<'b>, Error> {
        let view =
            |range: Range<usize>| tensor.entries(dtype, range.start * self.cols..range.end * self.cols);
        if !tensor.is_scattered() {
            return Ok(view(range.clone()));
        }
        let Gathered { bytes, values } = gathered;
        bytes.clear();
        if tensor.is_quantized() {
            values.resize(range.len() * self.cols, 0.0);
            tensor.decode_quantized(range.start * self.cols..range.end * self.cols, values)?;
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        } else {
            for row in range.clone().map(|row| tensor.stored_row(row)) {
                bytes.extend_from_slice(view(row..row + 1).bytes);
            }
        }
        Ok(Rows::new(dtype, bytes))
    }

    /// Rows whose wider side takes about `bytes`; at least one.
    fn rows_in(&self, bytes: usize) -> usize {
        let row = |(_, dtype): (_, Dtype)| dtype.row_bytes(self.cols).unwrap_or(usize::MAX);
        (bytes / row(self.base).max(row(self.tuned)).max(1)).max(1)
    }

    /// Pushes the rows of a part in chunks, counting their bytes before.
    fn feed_part(&self, part: &mut Part<'_>, chunk_bytes: usize, ticket: Ticket<'_>) -> Result<(), Stop> {
        let range = part.rows();
        let reordered = self.base.0.is_scattered() || self.tuned.0.is_scattered();
        let mut step = self.rows_in(if reordered { chunk_bytes.min(GATHERED) } else { chunk_bytes });
        if self.base.0.is_quantized() || self.tuned.0.is_quantized() {
            step = step.next_multiple_of(DECODED_ROWS);
        }
        let (mut base_rows, mut tuned_rows) = (Gathered::default(), Gathered::default());
        for start in range.clone().step_by(step) {
            let rows = start..range.end.min(start + step);
            let base = self.rows(self.base, &rows, &mut base_rows).map_err(Stop::Other)?;
            let tuned = self.rows(self.tuned, &rows, &mut tuned_rows).map_err(Stop::Other)?;
            ticket.tick(base.bytes.len() + tuned.bytes.len()).map_err(Stop::Other)?;
            part.push(base, tuned).map_err(Stop::Core)?;
        }
        Ok(())
    }
}

/// Pushes all rows once: each part of the pass on this thread or on one of up to `most` − 1 idle ones of the pool. Reports the
/// error of the first part that has one.
pub(crate) fn feed(
    extractor: &mut Extractor<'_>,
    sides: &Sides<'_>,
    most: usize,
    chunk_bytes: usize,
    ticket: Ticket<'_>,
) -> Result<(), Stop> {
    let helpers = ticket.borrow_idle(most.saturating_sub(1));
    let parts: Vec<_> = extractor.parts().enumerate().collect();
    let queue = Mutex::new(parts.into_iter());
    let failure = Mutex::new(None::<(usize, Stop)>);
    let worker = || loop {
        let Some((index, mut part)) = lock(&queue).next() else { break };
        if let Err(stop) = sides.feed_part(&mut part, chunk_bytes, ticket) {
            let mut first = lock(&failure);
            if first.as_ref().is_none_or(|(other, _)| index < *other) {
                *first = Some((index, stop));
            }
            break;
        }
    };
    thread::scope(|scope| {
        for _ in 0..helpers {
            // Where the system refuses a thread, the others do its work.
            let _ = thread::Builder::new().spawn_scoped(scope, worker);
        }
        worker();
    });
    ticket.give_back(helpers);
    let failure = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failure.map_or(Ok(()), |(_, stop)| Err(stop))
}
