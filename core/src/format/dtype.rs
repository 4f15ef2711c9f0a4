//! Storage formats of weights, and a view over whole rows in one of them.

/// Defines [`Dtype`] from one table: the variant, its name, ggml's number, weights and bytes per block. The second half
/// is there with the feature `blocks` only.
macro_rules! formats {
    (
        single {
            $($(#[$doc:meta])* $single:ident = $name:literal, $ggml:literal, $len:literal, $bytes:literal;)*
        }
        in blocks {
            $($(#[$b_doc:meta])* $block:ident = $b_name:literal, $b_ggml:literal, $b_len:literal, $b_bytes:literal;)*
        }
    ) => {
        /// How weights are stored. All formats are little-endian.
        ///
        /// F32, F16, BF16 and F64 store every weight for itself; all others are ggml's block formats, where a
        /// row is cut into blocks of [`Dtype::block_len`] weights with one scale, and are decoded to the
        /// bits that ggml's own dequantisation gives. They need the feature `blocks`, which is on by default.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Dtype {
            $($(#[$doc])* $single,)*
            $(
                #[cfg(feature = "blocks")]
                $(#[$b_doc])*
                $block,
            )*
        }

        impl Dtype {
            /// Every format.
            pub const ALL: &'static [Self] = &[
                $(Self::$single,)*
                $(
                    #[cfg(feature = "blocks")]
                    Self::$block,
                )*
            ];

            /// The name used in messages, in safetensors headers, and by ggml in capitals: `BF16`, `Q4_K`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$single => $name,)*
                    $(
                        #[cfg(feature = "blocks")]
                        Self::$block => $b_name,
                    )*
                }
            }

            /// The number of this format in a GGUF file (`ggml_type`).
            pub const fn ggml_type(self) -> u32 {
                match self {
                    $(Self::$single => $ggml,)*
                    $(
                        #[cfg(feature = "blocks")]
                        Self::$block => $b_ggml,
                    )*
                }
            }

            /// Weights per block; 1 where every weight stands for itself.
            pub const fn block_len(self) -> usize {
                match self {
                    $(Self::$single => $len,)*
                    $(
                        #[cfg(feature = "blocks")]
                        Self::$block => $b_len,
                    )*
                }
            }

            /// Bytes per block.
            pub const fn block_bytes(self) -> usize {
                match self {
                    $(Self::$single => $bytes,)*
                    $(
                        #[cfg(feature = "blocks")]
                        Self::$block => $b_bytes,
                    )*
                }
            }
        }
    };
}

formats! {
    single {
        /// IEEE binary32.
        F32 = "F32", 0, 1, 4;
        /// IEEE binary16.
        F16 = "F16", 1, 1, 2;
        /// The upper half of a binary32.
        Bf16 = "BF16", 30, 1, 2;
        /// IEEE binary64; decoded by rounding to the nearest f32.
        F64 = "F64", 28, 1, 8;
    }
    in blocks {
        /// 4 bits and a scale.
        Q4_0 = "Q4_0", 2, 32, 18;
        /// 4 bits, a scale and a minimum.
        Q4_1 = "Q4_1", 3, 32, 20;
        /// 5 bits and a scale.
        Q5_0 = "Q5_0", 6, 32, 22;
        /// 5 bits, a scale and a minimum.
        Q5_1 = "Q5_1", 7, 32, 24;
        /// 8 bits and a scale.
        Q8_0 = "Q8_0", 8, 32, 34;
        /// 2 bits; scales and minima of 16 weights in 4 bits.
        Q2K = "Q2_K", 10, 256, 84;
        /// 3 bits; scales of 16 weights in 6 bits.
        Q3K = "Q3_K", 11, 256, 110;
        /// 4 bits; scales and minima of 32 weights in 6 bits.
        Q4K = "Q4_K", 12, 256, 144;
        /// 5 bits; scales and minima of 32 weights in 6 bits.
        Q5K = "Q5_K", 13, 256, 176;
        /// 6 bits; scales of 16 weights in 8 bits.
        Q6K = "Q6_K", 14, 256, 210;
        /// 4 bits that choose from 16 values, and a scale.
        Iq4Nl = "IQ4_NL", 20, 32, 18;
        /// As IQ4_NL; scales of 32 weights in 6 bits.
        Iq4Xs = "IQ4_XS", 23, 256, 136;
        /// OCP microscaling: E2M1 and a power of two as the scale.
        Mxfp4 = "MXFP4", 39, 32, 17;
        /// Ternary, five weights per byte, and a scale.
        Tq1_0 = "TQ1_0", 34, 256, 54;
        /// Ternary in 2 bits, and a scale.
        Tq2_0 = "TQ2_0", 35, 256, 66;
        /// Vectors of eight from 2048; groups of 32.
        Iq1S = "IQ1_S", 19, 256, 50;
        /// As IQ1_S, groups of 16.
        Iq1M = "IQ1_M", 29, 256, 56;
        /// Vectors of eight from 256 and signs; groups of 32.
        Iq2Xxs = "IQ2_XXS", 16, 256, 66;
        /// Vectors of eight from 512 and signs; groups of 16.
        Iq2Xs = "IQ2_XS", 17, 256, 74;
        /// Vectors of eight from 1024 and signs; groups of 16.
        Iq2S = "IQ2_S", 22, 256, 82;
        /// Vectors of four from 256 and signs; groups of 32.
        Iq3Xxs = "IQ3_XXS", 18, 256, 98;
        /// Vectors of four from 512 and signs; groups of 32.
        Iq3S = "IQ3_S", 21, 256, 110;
        /// E2M1, and an unsigned E4M3 as the scale of 16 weights.
        Nvfp4 = "NVFP4", 40, 64, 36;
        /// A sign, and a scale.
        Q1_0 = "Q1_0", 41, 128, 18;
        /// −1 to 2, and a scale.
        Q2_0 = "Q2_0", 42, 64, 18;
    }
}

impl Dtype {
    /// Most weights per block of any format; a power of two, and so is every other block length.
    pub const MAX_BLOCK_LEN: usize = 256;

    /// The format with this number in a GGUF file, where it is one of those read here.
    pub fn from_ggml_type(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.ggml_type() == number)
    }

    /// Whether weights are stored in blocks, so that a row can be cut at whole blocks only.
    pub const fn is_block(self) -> bool {
        self.block_len() > 1
    }

    /// Whether it is Q8_0, for code that is there without the feature `blocks` as well.
    pub(crate) const fn is_q8_0(self) -> bool {
        self.ggml_type() == 8
    }

    /// Whether [`encode`](crate::encode) writes it.
    pub const fn is_encoded(self) -> bool {
        #[cfg(feature = "blocks")]
        if matches!(self, Self::Q8_0 | Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Iq4Nl) {
            return true;
        }
        !self.is_block()
    }

    /// Bytes that `cols` consecutive weights of a row take, or `None` when that overflows or `cols` is not a
    /// multiple of [`Dtype::block_len`].
    pub const fn row_bytes(self, cols: usize) -> Option<usize> {
        if !cols.is_multiple_of(self.block_len()) {
            return None;
        }
        (cols / self.block_len()).checked_mul(self.block_bytes())
    }
}

/// Whole rows in their storage format, one after another without padding. No alignment is needed.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Storage format of every weight.
    pub dtype: Dtype,
    /// The rows, one after another.
    pub bytes: &'a [u8],
}

impl<'a> Rows<'a> {
    /// Views `bytes` as rows of `dtype`.
    pub const fn new(dtype: Dtype, bytes: &'a [u8]) -> Self {
        Self { dtype, bytes }
    }

    /// Weights in the whole blocks among the bytes.
    pub const fn weights(self) -> usize {
        (self.bytes.len() / self.dtype.block_bytes()).saturating_mul(self.dtype.block_len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        for &dtype in Dtype::ALL {
            assert_eq!(Dtype::from_ggml_type(dtype.ggml_type()), Some(dtype));
            let len = dtype.block_len();
            assert!(len.is_power_of_two() && len <= Dtype::MAX_BLOCK_LEN);
            assert_eq!(dtype.row_bytes(3 * len), Some(3 * dtype.block_bytes()));
            assert_eq!(dtype.row_bytes(0), Some(0));
            assert_eq!(dtype.row_bytes(len + 1).is_none(), dtype.is_block());
            assert_eq!(dtype.row_bytes(usize::MAX - len + 1).is_none(), dtype.block_bytes() > len);
        }
        assert_eq!(Dtype::from_ggml_type(4), None);
    }
}
