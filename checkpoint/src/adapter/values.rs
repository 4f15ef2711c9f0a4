//! What a tensor of a safetensors adapter is made of: one factor, or those of all experts of a stack.

use super::Factor;
use crate::error::{Result, filled};
use phlora_core::Dtype;
use std::borrow::Cow;

/// The entries of a tensor, encoded when they are written.
#[derive(Debug, Clone)]
pub(crate) enum Values<'l> {
    /// A factor.
    One(Cow<'l, Factor<'l>>),
    /// `lora_a` of each expert, [rank, in], one below the other: row e·rank + k is row k of expert e.
    Rows(Stack<'l>),
    /// `lora_b` of each expert, [out, rank], interleaved: column k·experts + e is column k of expert e.
    Columns(Stack<'l>),
}

/// Factors of experts, all of one shape and format; zeros where there is none.
#[derive(Debug, Clone)]
pub(crate) struct Stack<'l> {
    pub(crate) first: Cow<'l, Factor<'l>>,
    pub(crate) experts: Vec<Option<Cow<'l, Factor<'l>>>>,
}

impl<'l> Values<'l> {
    /// A factor that stands for its format, and for errors.
    pub(crate) fn factor(&self) -> &Factor<'l> {
        match self {
            Self::One(factor) => factor,
            Self::Rows(stack) | Self::Columns(stack) => &stack.first,
        }
    }

    /// Storage format.
    pub(crate) fn dtype(&self) -> Dtype {
        self.factor().dtype()
    }

    /// Bytes that [`encoded`](Self::encoded) gives; `None` where the format does not take rows of this length.
    pub(crate) fn encoded_len(&self) -> Option<usize> {
        let one = self.factor().encoded_len()?;
        match self {
            Self::One(_) => Some(one),
            Self::Rows(stack) | Self::Columns(stack) => one.checked_mul(stack.experts.len()),
        }
    }

    /// The bytes in the file.
    ///
    /// # Errors
    /// As [`Factor::encoded`].
    pub(crate) fn encoded(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::One(factor) => factor.encoded(),
            Self::Rows(stack) => {
                let one = stack.first.encoded_len().unwrap_or(0);
                let mut bytes = filled(0, one.saturating_mul(stack.experts.len()))?;
                for (expert, to) in stack.experts.iter().zip(bytes.chunks_exact_mut(one.max(1))) {
                    if let Some(factor) = expert {
                        to.copy_from_slice(&factor.encoded()?);
                    }
                }
                Ok(bytes.into())
            }
            Self::Columns(stack) => {
                let (one, count) = (stack.first.encoded_len().unwrap_or(0), stack.experts.len());
                let size = one / stack.first.entries().max(1);
                let mut bytes = filled(0, one.saturating_mul(count))?;
                for (at, factor) in stack.experts.iter().enumerate() {
                    let Some(factor) = factor else { continue };
                    let encoded = factor.encoded()?;
                    let places = bytes.chunks_exact_mut(size.max(1)).skip(at).step_by(count);
                    for (entry, to) in encoded.chunks_exact(size.max(1)).zip(places) {
                        to.copy_from_slice(entry);
                    }
                }
                Ok(bytes.into())
            }
        }
    }
}
