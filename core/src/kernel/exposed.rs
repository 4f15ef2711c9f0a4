//! The operations of a [`Kernel`], for tests and benchmarks of each of them, which are in other crates since they use
//! helpers of those. Not for callers: names and arguments change between versions.

pub use super::operands::{
    LANES, Lines, LinesMut, Prefetch, RowMajor, STRIP_ROWS, SUM_COLUMNS, Strided, Strip, StripMut,
};
use crate::{Delta, Dtype, Error, Kernel, Rows};

/// Declares a trait with methods of [`Kernel`] that are private to this crate, and implements it by them.
macro_rules! expose {
    ($(fn $name:ident$(<$width:ident>)?($($argument:ident: $type:ty),*) -> $output:ty;)*) => {
        /// The operations, as methods.
        pub trait Operations: Copy {
            $(
                /// As the method of [`Kernel`].
                ///
                /// # Errors
                /// [`Error::Operands`].
                fn $name$(<const $width: usize>)?(self, $($argument: $type),*) -> $output;
            )*
        }

        impl Operations for Kernel {
            $(
                #[inline]
                fn $name$(<const $width: usize>)?(self, $($argument: $type),*) -> $output {
                    Self::$name$(::<$width>)?(self, $($argument),*)
                }
            )*
        }
    };
}
expose! {
    fn decode(rows: Rows<'_>, out: &mut [f32]) -> ();
    fn difference(base: Rows<'_>, tuned: Rows<'_>, out: &mut [f32]) -> ();
    fn encode(values: &[f32], dtype: Dtype, out: &mut [u8]) -> bool;
    fn add_half(values: &[f32], y: &mut [u8]) -> ();
    fn all_finite(rows: Rows<'_>) -> bool;
    fn measure(values: &[f32], row: usize, delta: &mut Delta) -> ();
    fn dot(x: &[f32], y: &[f32]) -> f32;
    fn dots(rows: Rows<'_>, x: &[f32], out: &mut [f32]) -> Result<(), Error>;
    fn rotate(x: &mut [f32], y: &mut [f32], c: f32, s: f32) -> ();
    fn product<W>(a: Strided<'_>, rows: usize, depth: usize, x: &[f32], c: &mut [f32]) -> Result<(), Error>;
    fn forward<W>(d: Strip<'_>, x: &[f32], y: &mut [f32], ahead: &mut Prefetch<'_>) -> Result<(), Error>;
    fn backward<W>(d: Strip<'_>, y: &[f32], z: &mut [f32], ahead: &mut Prefetch<'_>) -> Result<(), Error>;
    fn difference_forward<W>(
        sides: [Lines<'_>; 2], d: StripMut<'_>, x: &[f32], y: &mut [f32], ahead: &mut Prefetch<'_>
    ) -> Result<(), Error>;
    fn in_registers(dtype: Dtype) -> bool;
    fn merge_rows<W>(
        d: RowMajor<'_>, y: &[f32], from: Option<Lines<'_>>, weights: &mut LinesMut<'_>, rows: usize,
        ahead: &mut Prefetch<'_>
    ) -> Result<(), Error>;
    fn merge_values<W>(
        d: RowMajor<'_>, y: &[f32], values: &mut [f32], rows: usize, ahead: &mut Prefetch<'_>
    ) -> Result<(), Error>;
}
