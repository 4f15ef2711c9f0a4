//! Decoders: every kernel gives the bits of the portable one, of whole rows and of parts; what is encoded decodes to numbers that
//! encode to themselves.

use crate::draw::Draw;
use phlora_core::{Dtype, Kernel, Rows, all_finite, decode, encode, operations::Operations};

/// Bits, but all NaN alike.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }).collect()
}

/// Blocks of any bytes.
///
/// # Panics
/// When kernels differ.
pub fn run(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let dtype = Dtype::ALL[usize::from(first) % Dtype::ALL.len()];
    let mut draw = Draw::new(rest);
    let (offset, blocks, cut) = (draw.below(4), 1 + draw.below(6), draw.below(dtype.block_len()));
    let placed = draw.fill(offset + blocks * dtype.block_bytes());
    let (bytes, len) = (&placed[offset..], blocks * dtype.block_len() - cut);
    let mut plain = vec![0.5; len];
    Kernel::PORTABLE.decode(Rows::new(dtype, bytes), &mut plain);
    for kernel in Kernel::available() {
        let mut out = vec![0.5; len];
        kernel.decode(Rows::new(dtype, bytes), &mut out);
        assert_eq!(bits(&out), bits(&plain), "{} {}", kernel.name(), dtype.name());
    }
    let mut whole = vec![0.5; blocks * dtype.block_len()];
    decode(Rows::new(dtype, bytes), &mut whole).expect("the length fits");
    assert_eq!(bits(&whole[..len]), bits(&plain));
    let finite = whole.iter().all(|x| x.is_finite());
    if dtype.is_encoded() {
        assert!(
            !all_finite(Rows::new(dtype, bytes)) || finite,
            "{}: said to be finite: {whole:?}",
            dtype.name()
        );
    }
    // A value that the format holds stays as it is.
    if dtype.is_encoded() && !dtype.is_block() && finite {
        let (mut again, mut back) = (vec![0; bytes.len()], vec![0.5; whole.len()]);
        encode(&whole, dtype, &mut again).expect("the length fits");
        decode(Rows::new(dtype, &again), &mut back).expect("the length fits");
        assert_eq!(bits(&back), bits(&whole), "{}", dtype.name());
    }
}
