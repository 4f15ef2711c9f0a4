//! Storage formats, by the number that C passes.

use crate::guard::{Out, guarded};
use crate::status::Status;
use phlora_core::Dtype as Core;

/// Storage format of weights, little-endian.
///
/// Wherever a phlora_dtype is asked for, PHLORA_GGML_DTYPE(type), which is 100 + a ggml_type, is one as well: also 100, 101,
/// 128 and 130 for those below 100. In the formats from 100 on rows are cut into blocks, so that a row holds a multiple of
/// phlora_block_len weights; they are decoded to the same bits as by ggml. phlora_encode says which of them are written. A library that was built small may lack them: there they are UNKNOWN_VALUE.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "the names of ggml")]
#[cfg_attr(not(feature = "blocks"), expect(dead_code, reason = "the header has them all"))]
pub enum Dtype {
    /// IEEE binary32, 4 bytes.
    F32 = 1,
    /// IEEE binary16, 2 bytes.
    F16 = 2,
    /// The upper half of a binary32, 2 bytes.
    Bf16 = 3,
    /// IEEE binary64, 8 bytes; decoded by rounding to the nearest float.
    F64 = 4,
    /// 4 bits and a scale.
    Q4_0 = 102,
    /// 4 bits, a scale and a minimum.
    Q4_1 = 103,
    /// 5 bits and a scale.
    Q5_0 = 106,
    /// 5 bits, a scale and a minimum.
    Q5_1 = 107,
    /// 8 bits and a scale.
    Q8_0 = 108,
    /// 2 bits, in groups of 16.
    Q2_K = 110,
    /// 3 bits, in groups of 16.
    Q3_K = 111,
    /// 4 bits, in groups of 32.
    Q4_K = 112,
    /// 5 bits, in groups of 32.
    Q5_K = 113,
    /// 6 bits, in groups of 16.
    Q6_K = 114,
    /// 4 bits that choose from 16 values.
    Iq4Nl = 120,
    /// As IQ4_NL, in groups of 32.
    Iq4Xs = 123,
    /// 1.5 bits, in groups of 32.
    Iq1S = 119,
    /// 1.75 bits, in groups of 16.
    Iq1M = 129,
    /// 2.06 bits, in groups of 32.
    Iq2Xxs = 116,
    /// 2.3 bits, in groups of 16.
    Iq2Xs = 117,
    /// 2.5 bits, in groups of 16.
    Iq2S = 122,
    /// 3.06 bits, in groups of 32.
    Iq3Xxs = 118,
    /// 3.4 bits, in groups of 32.
    Iq3S = 121,
    /// Ternary, five weights per byte.
    Tq1_0 = 134,
    /// Ternary, four weights per byte.
    Tq2_0 = 135,
    /// OCP microscaling: E2M1 and a power of two.
    Mxfp4 = 139,
    /// E2M1, and an unsigned E4M3 over 16 of them.
    Nvfp4 = 140,
    /// A sign and a scale.
    Q1_0 = 141,
    /// −1 to 2 and a scale.
    Q2_0 = 142,
}

const SINGLE: &[(Dtype, Core)] =
    &[(Dtype::F32, Core::F32), (Dtype::F16, Core::F16), (Dtype::Bf16, Core::Bf16), (Dtype::F64, Core::F64)];

#[cfg(feature = "blocks")]
const IN_BLOCKS: &[(Dtype, Core)] = &[
    (Dtype::Q4_0, Core::Q4_0),
    (Dtype::Q4_1, Core::Q4_1),
    (Dtype::Q5_0, Core::Q5_0),
    (Dtype::Q5_1, Core::Q5_1),
    (Dtype::Q8_0, Core::Q8_0),
    (Dtype::Q2_K, Core::Q2K),
    (Dtype::Q3_K, Core::Q3K),
    (Dtype::Q4_K, Core::Q4K),
    (Dtype::Q5_K, Core::Q5K),
    (Dtype::Q6_K, Core::Q6K),
    (Dtype::Iq4Nl, Core::Iq4Nl),
    (Dtype::Iq4Xs, Core::Iq4Xs),
    (Dtype::Tq1_0, Core::Tq1_0),
    (Dtype::Tq2_0, Core::Tq2_0),
    (Dtype::Mxfp4, Core::Mxfp4),
    (Dtype::Iq1S, Core::Iq1S),
    (Dtype::Iq1M, Core::Iq1M),
    (Dtype::Iq2Xxs, Core::Iq2Xxs),
    (Dtype::Iq2Xs, Core::Iq2Xs),
    (Dtype::Iq2S, Core::Iq2S),
    (Dtype::Iq3Xxs, Core::Iq3Xxs),
    (Dtype::Iq3S, Core::Iq3S),
    (Dtype::Nvfp4, Core::Nvfp4),
    (Dtype::Q1_0, Core::Q1_0),
    (Dtype::Q2_0, Core::Q2_0),
];
#[cfg(not(feature = "blocks"))]
const IN_BLOCKS: &[(Dtype, Core)] = &[];

/// The format that `value` stands for.
pub fn dtype(value: u32) -> Result<Core, Status> {
    let of_ggml = |format: Core| value == GGML + format.ggml_type();
    let found = SINGLE.iter().chain(IN_BLOCKS);
    let found = found.map(|&(number, format)| (number as u32, format));
    let found = found.into_iter().find(|&(number, format)| number == value || of_ggml(format));
    found.map(|(_, format)| format).ok_or(Status::UnknownValue)
}

/// What is added to ggml's number of a format.
const GGML: u32 = 100;

/// The value that stands for `format`; 0 for one that this build does not have.
#[cfg(feature = "std")]
pub fn number(format: Core) -> u32 {
    let found = SINGLE.iter().chain(IN_BLOCKS).find(|(_, core)| *core == format);
    found.map_or(0, |(number, _)| *number as u32)
}

/// Weights per block of a phlora_dtype: 1 where every weight is stored for itself, 0 for unknown values. Any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_block_len(weights_dtype: u32) -> usize {
    dtype(weights_dtype).map_or(0, Core::block_len)
}

/// Bytes that a row of weights takes, without padding.
///
/// - `weights_dtype`: the phlora_dtype.
/// - `cols`: weights in the row, a multiple of phlora_block_len.
/// - `bytes`: written on success.
///
/// Any thread. Returns OK, NULL_POINTER, MISALIGNED, UNKNOWN_VALUE, TOO_LARGE, NOT_WHOLE_BLOCKS.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_row_bytes(weights_dtype: u32, cols: usize, bytes: Out<usize>) -> Status {
    guarded(|guard| {
        let slot = guard.slot(bytes)?;
        let dtype = dtype(weights_dtype)?;
        let whole = cols.is_multiple_of(dtype.block_len());
        let refused = if whole { Status::TooLarge } else { Status::NotWholeBlocks };
        slot.write(dtype.row_bytes(cols).ok_or(refused)?);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_of_the_core_has_its_number() {
        for &format in Core::ALL {
            let (number, _) =
                SINGLE.iter().chain(IN_BLOCKS).find(|(_, core)| *core == format).expect("listed");
            assert_eq!(dtype(*number as u32), Ok(format));
            assert_eq!(dtype(GGML + format.ggml_type()), Ok(format));
            assert!(!format.is_block() || *number as u32 == GGML + format.ggml_type());
        }
    }
}
