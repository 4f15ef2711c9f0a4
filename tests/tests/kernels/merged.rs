//! Rows that are merged into weights.

use phlora_core::{
    Dtype, encode,
    operations::{Lines, LinesMut, Operations, Prefetch, RowMajor},
};
use phlora_tests::sets::kernels;

use crate::support::{add, assert_untouched, awkward, check_sum, deviates, guarded};

/// Checks rows that are merged into `count` rows of weights: `rows` of them, `width` elements each with `gap` in between.
fn check_merge<const W: usize>(rows: usize, width: usize, gap: usize, count: usize) {
    let data = deviates(11, rows * (width + gap) + 1);
    let d = RowMajor { data: &data, row: width + gap, rows, width };
    let (y, start) = (deviates(13, rows * W), deviates(15, count * width));
    for kernel in kernels() {
        let name = format!("{} {rows}×{width}·{count} of {W}", kernel.name());
        let (mut merged, mut sums) = (guarded(&start), guarded(&vec![0.0; count * width]));
        for values in [&mut merged, &mut sums] {
            kernel.merge_values::<W>(d, &y, values, count, &mut Prefetch::default()).unwrap();
            assert_untouched(values);
        }
        for w in 0..count {
            for k in 0..width {
                let terms =
                    (0..rows).map(|i| f64::from(data[i * (width + gap) + k]) * f64::from(y[i * W + w]));
                check_sum(merged[w * width + k], start[w * width + k], terms, &name);
            }
        }
        for dtype in Dtype::ALL.iter().copied().filter(|&dtype| kernel.in_registers(dtype)) {
            let row = dtype.row_bytes(width + gap).unwrap();
            let mut found = vec![0; row * count + 7];
            encode(&awkward(17, count * (width + gap)), dtype, &mut found[..row * count]).unwrap();
            let mut expected = found.clone();
            for (sums, bytes) in
                sums.chunks(width.max(1)).zip(expected.chunks_exact_mut(row.max(1)).take(count))
            {
                add(&sums[..width], dtype, &mut bytes[..dtype.row_bytes(width).unwrap()]);
            }
            // In place, and from rows further apart to others.
            let mut copied = vec![0xaa; found.len()];
            let mut apart = vec![0x55; (row + 3) * count];
            for (from, to) in found.chunks_exact(row.max(1)).zip(apart.chunks_exact_mut(row + 3)) {
                to[..row].copy_from_slice(&from[..row]);
            }
            let mut weights = LinesMut { dtype, bytes: &mut found, row };
            kernel.merge_rows::<W>(d, &y, None, &mut weights, count, &mut Prefetch::default()).unwrap();
            assert!(found == expected, "{name} into {}", dtype.name());
            let from = Some(Lines { dtype, bytes: &apart, row: row + 3 });
            let mut weights = LinesMut { dtype, bytes: &mut copied, row };
            kernel.merge_rows::<W>(d, &y, from, &mut weights, count, &mut Prefetch::default()).unwrap();
            let merged = dtype.row_bytes(width).unwrap();
            let untouched = |bytes: &[u8]| bytes.iter().all(|&byte| byte == 0xaa);
            for (w, copied) in copied.chunks(row.max(1)).enumerate() {
                let (copied, rest) = if w < count { copied.split_at(merged) } else { (&[][..], copied) };
                assert!(
                    copied == &expected[w * row..][..copied.len()],
                    "{name} into another {}",
                    dtype.name()
                );
                assert!(untouched(rest), "{name}: nothing else is written");
            }
        }
    }
}

#[test]
fn merged_rows_stay_within_the_bound_and_round_as_encoding_does() {
    for rows in [0, 1, 2, 3, 4, 5, 7, 16, 19, 32] {
        for width in [0, 16, 32, 48, 64, 80, 256] {
            for (gap, missing) in [(0, 0), (5, 1), (5, 2), (0, 6)] {
                check_merge::<8>(rows, width, gap, 8 - missing);
                check_merge::<16>(rows, width, gap, 16 - missing);
            }
        }
    }
}
