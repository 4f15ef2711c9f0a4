//! ggml's block formats, decoded to the bits that ggml's own `to_float` gives.
//!
//! A decoder turns the bytes of one block into its weights by loops of fixed length over fixed arrays, which
//! compilers vectorise; surest where values go to an array of their own first, since `out` might overlap the
//! block for all they know. What decides the bits is the order of the float operations, written out as ggml has
//! it: products from the left, no fused multiply-add. Any bytes are a block; none can make a decoder fail.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

mod fields;
mod grids;
mod iq1;
mod iq2;
mod iq3;
mod k_quants;
mod simple;
mod tables;
mod ternary;

use core::sync::atomic::{Ordering, compiler_fence};

pub use tables::NON_LINEAR;

use crate::{Dtype, Rows};

/// Runs `$block` over the blocks of `$bytes`; `$out` may end within one. A macro: a function that is handed over as a value is
/// compiled without the features of the caller.
macro_rules! each {
    ($bytes:expr, $out:expr, $block:path) => {{
        let blocks = $bytes.as_chunks().0;
        let (outs, rest) = $out.as_chunks_mut();
        for (out, bytes) in outs.iter_mut().zip(blocks) {
            $block(bytes, out);
            // Block after block: compilers would take several at a time, and gather what lies apart.
            compiler_fence(Ordering::SeqCst);
        }
        if let (false, Some(bytes)) = (rest.is_empty(), blocks.get(outs.len())) {
            let mut last = like(outs);
            $block(bytes, &mut last);
            rest.copy_from_slice(&last[..rest.len()]);
        }
    }};
}

/// A block of zeros, as long as those of `_outs`.
#[inline(always)]
fn like<const LEN: usize>(_outs: &[[f32; LEN]]) -> [f32; LEN] {
    [0.0; LEN]
}

/// Decodes min(rows, out) weights of a block format; nothing for the others.
#[inline(always)]
pub fn decode_blocks(rows: Rows<'_>, out: &mut [f32]) {
    let bytes = rows.bytes;
    match rows.dtype {
        Dtype::Q4_0 => each!(bytes, out, simple::q4_0),
        Dtype::Q4_1 => each!(bytes, out, simple::q4_1),
        Dtype::Q5_0 => each!(bytes, out, simple::q5_0),
        Dtype::Q5_1 => each!(bytes, out, simple::q5_1),
        Dtype::Q8_0 => each!(bytes, out, simple::q8_0),
        Dtype::Q2K => each!(bytes, out, k_quants::q2_k),
        Dtype::Q3K => each!(bytes, out, k_quants::q3_k),
        Dtype::Q4K => each!(bytes, out, k_quants::q4_k),
        Dtype::Q5K => each!(bytes, out, k_quants::q5_k),
        Dtype::Q6K => each!(bytes, out, k_quants::q6_k),
        Dtype::Iq4Nl => each!(bytes, out, tables::iq4_nl),
        Dtype::Iq4Xs => each!(bytes, out, tables::iq4_xs),
        Dtype::Mxfp4 => each!(bytes, out, tables::mxfp4),
        Dtype::Tq1_0 => each!(bytes, out, ternary::tq1_0),
        Dtype::Tq2_0 => each!(bytes, out, ternary::tq2_0),
        Dtype::Iq1S => each!(bytes, out, iq1::iq1_s),
        Dtype::Iq1M => each!(bytes, out, iq1::iq1_m),
        Dtype::Iq2Xxs => each!(bytes, out, iq2::iq2_xxs),
        Dtype::Iq2Xs => each!(bytes, out, iq2::iq2_xs),
        Dtype::Iq2S => each!(bytes, out, iq2::iq2_s),
        Dtype::Iq3Xxs => each!(bytes, out, iq3::iq3_xxs),
        Dtype::Iq3S => each!(bytes, out, iq3::iq3_s),
        Dtype::Nvfp4 => each!(bytes, out, tables::nvfp4),
        Dtype::Q1_0 => each!(bytes, out, simple::q1_0),
        Dtype::Q2_0 => each!(bytes, out, simple::q2_0),
        Dtype::F32 | Dtype::F16 | Dtype::Bf16 | Dtype::F64 => {}
    }
}
