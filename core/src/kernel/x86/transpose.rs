//! Transposition in squares that fit into registers.

#![expect(clippy::inline_always, reason = "compiled again with the features of each caller")]

use core::arch::x86_64::{
    _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps, _mm256_unpackhi_ps,
    _mm256_unpacklo_ps,
};

use crate::kernel::portable;

/// A square of 8 × 8, turned over its diagonal: pairs of rows interleaved, then quarters, then halves.
///
/// # Safety
/// Rows of eight elements, `from_row` and `to_row` apart, are there; the processor has AVX.
#[inline(always)]
unsafe fn turn(from: *const f32, from_row: usize, to: *mut f32, to_row: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [_mm256_loadu_ps(from); 8];
        for (i, row) in row.iter_mut().enumerate() {
            *row = _mm256_loadu_ps(from.add(i * from_row));
        }
        let mut pair = row;
        for i in [0, 2, 4, 6] {
            pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
            pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
        }
        let mut four = row;
        for i in [0, 4] {
            for half in 0..2 {
                let (low, high) = (pair[i + half], pair[i + half + 2]);
                four[i + 2 * half] = _mm256_shuffle_ps::<0x44>(low, high);
                four[i + 2 * half + 1] = _mm256_shuffle_ps::<0xee>(low, high);
            }
        }
        for i in 0..4 {
            let (low, high) = (four[i], four[i + 4]);
            _mm256_storeu_ps(to.add(i * to_row), _mm256_permute2f128_ps::<0x20>(low, high));
            _mm256_storeu_ps(to.add((i + 4) * to_row), _mm256_permute2f128_ps::<0x31>(low, high));
        }
    }
}

/// out[j, i] = matrix[i, j], `rows` × `cols`.
///
/// # Safety
/// Both sides hold `rows` × `cols` elements; the processor has the features.
#[target_feature(enable = "avx2")]
pub(in crate::kernel) unsafe fn transpose(matrix: &[f32], rows: usize, cols: usize, out: &mut [f32]) {
    const SIDE: usize = 8;
    let (whole_rows, whole_cols) = (rows / SIDE * SIDE, cols / SIDE * SIDE);
    for i in (0..whole_rows).step_by(SIDE) {
        for j in (0..whole_cols).step_by(SIDE) {
            // SAFETY: the square lies within both sides.
            unsafe {
                turn(matrix.as_ptr().add(i * cols + j), cols, out.as_mut_ptr().add(j * rows + i), rows);
            }
        }
    }
    portable::transpose(matrix, (0..whole_rows, whole_cols..cols), (rows, cols), out);
    portable::transpose(matrix, (whole_rows..rows, 0..cols), (rows, cols), out);
}
