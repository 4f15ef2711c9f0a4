//! Activations as engines hold them: one vector per token, a stride apart, in f32 or f16.

use crate::{Dtype, Error, Kernel, Rows, linalg::scratch::Buffer};

/// The inputs of a layer: token t's vector begins `t * stride` elements in.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The elements.
    pub values: Values<'a>,
    /// Elements from one token to the next; at least the layer's columns where there are several tokens.
    pub stride: usize,
}

/// Elements of activations.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// f32 as the processor has it.
    F32(&'a [f32]),
    /// IEEE binary16, little-endian, at any address.
    F16(&'a [u8]),
}

impl<'a> Inputs<'a> {
    /// f32 inputs.
    pub const fn f32(values: &'a [f32], stride: usize) -> Self {
        Self { values: Values::F32(values), stride }
    }

    /// f16 inputs.
    pub const fn f16(bytes: &'a [u8], stride: usize) -> Self {
        Self { values: Values::F16(bytes), stride }
    }

    pub(super) fn check(&self, tokens: usize, cols: usize) -> Result<(), Error> {
        let (len, size) = match self.values {
            Values::F32(values) => (values.len(), 1),
            Values::F16(bytes) => (bytes.len(), 2),
        };
        fits(len, size, self.stride, tokens, cols)
    }

    /// Elements `from`… of a token, into `out`.
    pub(super) fn copy(&self, kernel: Kernel, token: usize, from: usize, out: &mut [f32]) {
        let start = token * self.stride + from;
        match self.values {
            Values::F32(values) => {
                out.copy_from_slice(values.get(start..start + out.len()).unwrap_or_default());
            }
            Values::F16(bytes) => {
                let bytes = bytes.get(2 * start..2 * (start + out.len())).unwrap_or_default();
                kernel.decode(Rows::new(Dtype::F16, bytes), out);
            }
        }
    }

    /// The first `len` elements of a token: in place, or in scratch where they are to be decoded.
    pub(super) fn vector<'x>(
        &self,
        kernel: Kernel,
        token: usize,
        len: usize,
        scratch: &mut Buffer<'x>,
    ) -> &'x [f32]
    where
        'a: 'x,
    {
        if let Values::F32(values) = self.values {
            return values.get(token * self.stride..).and_then(|x| x.get(..len)).unwrap_or_default();
        }
        let out = scratch.take(len);
        self.copy(kernel, token, 0, out);
        out
    }
}

/// Where a layer's outputs are added to.
///
/// Threads that write to one output implement it over what each of them may write: only rows of the slice that
/// [`Apply::up`](super::Apply::up) was called with are touched.
pub trait Outputs {
    /// Whether `tokens` vectors of `rows` elements are there.
    fn holds(&self, tokens: usize, rows: usize) -> bool;

    /// Adds `values` to elements `first`… of a token's vector.
    fn add(&mut self, kernel: Kernel, token: usize, first: usize, values: &[f32]);
}

/// f32 outputs in one buffer: token t's vector begins `t * stride` elements in.
#[derive(Debug)]
pub struct OutputsF32<'a> {
    /// The elements.
    pub values: &'a mut [f32],
    /// Elements from one token to the next; at least the layer's rows where there are several tokens.
    pub stride: usize,
}

/// f16 outputs in one buffer, little-endian, at any address. The sum is rounded once per adapter.
#[derive(Debug)]
pub struct OutputsF16<'a> {
    /// The elements.
    pub bytes: &'a mut [u8],
    /// Elements from one token to the next; at least the layer's rows where there are several tokens.
    pub stride: usize,
}

impl Outputs for OutputsF32<'_> {
    fn holds(&self, tokens: usize, rows: usize) -> bool {
        fits(self.values.len(), 1, self.stride, tokens, rows).is_ok()
    }

    fn add(&mut self, kernel: Kernel, token: usize, first: usize, values: &[f32]) {
        let start = token * self.stride + first;
        if let Some(y) = self.values.get_mut(start..start + values.len()) {
            add_f32(kernel, y, values);
        }
    }
}

impl Outputs for OutputsF16<'_> {
    fn holds(&self, tokens: usize, rows: usize) -> bool {
        fits(self.bytes.len(), 2, self.stride, tokens, rows).is_ok()
    }

    fn add(&mut self, kernel: Kernel, token: usize, first: usize, values: &[f32]) {
        let start = token * self.stride + first;
        if let Some(y) = self.bytes.get_mut(2 * start..2 * (start + values.len())) {
            add_f16(kernel, y, values);
        }
    }
}

/// y += values, over as many elements.
pub fn add_f32(kernel: Kernel, y: &mut [f32], values: &[f32]) {
    // A factor of −1 changes no bit.
    kernel.subtract_scaled(y, -1.0, values);
}

/// The same for an y in f16: added in f32, rounded once.
pub fn add_f16(kernel: Kernel, y: &mut [u8], values: &[f32]) {
    kernel.add_half(values, y);
}

/// Whether `tokens` vectors of `width` elements of `size` units, `stride` elements apart, lie within `len` units.
fn fits(len: usize, size: usize, stride: usize, tokens: usize, width: usize) -> Result<(), Error> {
    let apart = tokens < 2 || stride >= width;
    let needed = tokens.saturating_sub(1).checked_mul(stride).and_then(|start| start.checked_add(width));
    let needed = needed.and_then(|elements| elements.checked_mul(size)).ok_or(Error::TooLarge)?;
    if apart && needed <= len { Ok(()) } else { Err(Error::VectorLength) }
}
