//! The inner loops: decode, subtract, the thin product, dot products and plane rotations.
//!
//! [`Kernel`] names an instruction set; an operation is a type (`isa::Op`) that `Kernel::run` compiles for each of them.
//! `portable` is safe Rust and the reference; the others
//! differ from it in products, plane rotations and Householder updates (`reflect`): by fused multiply-adds, one
//! rounding per term instead of two, and by the lanes of a sum. With u = 2⁻²⁴, d terms and S = Σ|aᵢₖ·xₖⱼ|, every kernel stays
//! within 2·d·u·S of the exact sum, so two kernels differ by at most 4·d·u·S; a rotation stays within
//! 4·u·(|x| + |y|). All other routines give the same bits everywhere.
//!
//! Sums over the depth run in one fixed order per output element, so the bits do not depend on how rows
//! are grouped into calls. Operands that do not hold the shapes of an operation are a mistake of the calling code, which is
//! this crate: the operation returns [`Error::Operands`](crate::Error::Operands) before anything is read or written.

#![cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code, reason = "no instruction set of this target has vectors here")
)]

pub mod convert;
mod dots;
#[cfg(feature = "operations")]
pub mod exposed;
mod formats;
mod isa;
mod operands;
mod ops;
mod portable;
mod q8_0;
mod sets;
mod short;
mod squares;
mod tiles;
mod vector;

pub(crate) use operands::{
    LANES, Lines, LinesMut, PIECE, Prefetch, RowMajor, STRIP_ROWS, SUM_COLUMNS, Strided, Strip, StripMut,
};

/// An implementation of the inner loops that this processor runs: made only by [`Kernel::detect`] and
/// [`Kernel::available`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Set);

/// What follows from the list of instruction sets, each after those that it extends.
macro_rules! instruction_sets {
    ($($(#[$cfg:meta])? $set:ident = $path:ident, $name:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Set {
            Portable,
            $($(#[$cfg])? $set,)*
        }

        impl Kernel {
            /// The instruction set's name.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    Set::Portable => "portable",
                    $($(#[$cfg])? Set::$set => $name,)*
                }
            }

            /// Every kernel that this processor runs, slowest first.
            pub fn available() -> impl Iterator<Item = Self> {
                let is_best = |kernel: &Self| *kernel == Self::detect();
                let all = [Self::PORTABLE, $($(#[$cfg])? Self(Set::$set),)*];
                let end = all.iter().position(is_best).map_or(1, |i| i + 1);
                all.into_iter().take(end)
            }

            /// The fastest kernel that this processor runs.
            pub fn detect() -> Self {
                #[allow(unused_mut, reason = "there may be no other on this target")]
                let mut best = Self::PORTABLE;
                $(
                    // Miri neither knows what the processor has nor runs it.
                    $(#[$cfg])?
                    if !cfg!(miri) && sets::$path::$set::is_there() {
                        best = Self(Set::$set);
                    }
                )*
                best
            }

            /// Runs an operation by the instruction set: the only place that chooses.
            #[inline(always)]
            fn run<O: isa::Op>(self, op: O) -> O::Output {
                match self.0 {
                    Set::Portable => op.portable(),
                    $(
                        $(#[$cfg])?
                        // SAFETY: the variant is made only by `detect` and `available`, where the processor has it.
                        Set::$set => unsafe { sets::$path::$set::call(op) },
                    )*
                }
            }
        }
    };
}
instruction_sets! {
    #[cfg(target_arch = "x86_64")]
    Avx2 = avx2, "avx2";
    #[cfg(target_arch = "x86_64")]
    Avx512 = avx512, "avx512";
    #[cfg(target_arch = "x86_64")]
    Avx512Vbmi = avx512_vbmi, "avx512vbmi";
    #[cfg(target_arch = "aarch64")]
    Neon = neon, "neon";
}

impl Kernel {
    /// The reference: safe Rust without fused multiply-add.
    pub const PORTABLE: Self = Self(Set::Portable);

    /// Whether [`Kernel::difference_forward`] is more than one after the other on any processor of this target; small
    /// ones save its code.
    pub(crate) const DECODES_ON_THE_WAY: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

    /// Whether it is the one without vectors of its own, which decodes first and multiplies then.
    pub(crate) const fn is_portable(self) -> bool {
        matches!(self.0, Set::Portable)
    }
}
