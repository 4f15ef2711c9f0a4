//! The one-sided Jacobi decomposition.

use crate::guard::{Out, guarded};
use crate::sized::SizedStruct;
use crate::status::Status;
use core::mem::size_of;
use phlora_core::{Kernel, Sweeps, jacobi_svd};

/// Diagnostics of a decomposition.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct SvdInfo {
    /// Size of what was written.
    pub struct_size: usize,
    /// Singular values above 0.
    pub rank: usize,
    /// The true singular values are `scale` times those written: a power of two, 1 unless A holds entries so
    /// large or so small that squares would overflow or underflow.
    pub scale: f32,
    /// Largest |cosine| between two columns that the last sweep met.
    pub largest_cosine: f32,
    /// Sweeps done.
    pub sweeps: u32,
    /// 1 when `largest_cosine` is within the tolerance. If not, the factors still multiply to A within rounding,
    /// but the columns of U are orthogonal only to `largest_cosine`.
    pub converged: u32,
}

impl SizedStruct for SvdInfo {
    const FIRST_SIZE: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        rank: 0,
        scale: 1.0,
        largest_cosine: 0.0,
        sweeps: 0,
        converged: 0,
    };
}

/// Decomposes A = U·Σ·Vᵀ in place, by one-sided Jacobi rotations after the contract of LAPACK's SGESVJ. No other
/// memory is used.
///
/// - `rows`: rows of A, at least as many as it has columns; decompose the transpose of a wide matrix.
/// - `max_sweeps`: 0 stands for 40.
/// - `a`, `a_len`: rows × cols; A by columns on entry, U by columns on success, zero where σ is 0.
/// - `singular_values`, `cols`: written, descending, divided by the info's `scale`; their number is that of the
///   columns.
/// - `v`, `v_len`: NULL and 0, or cols × cols elements; V by columns.
/// - `info`, `info_size`: diagnostics; sizeof(phlora_svd_info).
///
/// No buffer may overlap another. Any thread. Returns OK, NULL_POINTER, MISALIGNED, OVERLAP, TOO_LARGE,
/// STRUCT_SIZE, WIDE, OUTPUT_LENGTH, NON_FINITE; unless OK, nothing is written.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_svd(
    rows: usize,
    max_sweeps: u32,
    a: Out<f32>,
    a_len: usize,
    singular_values: Out<f32>,
    cols: usize,
    v: Out<f32>,
    v_len: usize,
    info: Out<SvdInfo>,
    info_size: usize,
) -> Status {
    guarded(|guard| {
        let a = guard.output(a, a_len)?;
        let sigma = guard.output(singular_values, cols)?;
        let v = guard.output(v, v_len)?;
        let slot = guard.sized_slot(info, info_size)?;
        let most = if max_sweeps == 0 { Sweeps::default().most } else { max_sweeps };
        let v = (!v.is_empty()).then_some(v);
        let svd = jacobi_svd(Kernel::detect(), rows, a, sigma, v, Sweeps { most, ..Sweeps::default() })?;
        slot.write(SvdInfo {
            struct_size: info_size.min(size_of::<SvdInfo>()),
            rank: svd.rank,
            scale: svd.scale,
            largest_cosine: svd.largest_cosine,
            sweeps: svd.sweeps,
            converged: u32::from(svd.converged),
        });
        Ok(())
    })
}
