//! The products of strips, and their decoding on the way.

use phlora_core::{
    Dtype, Error, Rows, encode,
    operations::{LANES, Lines, Operations, Prefetch, STRIP_ROWS, Strip, StripMut},
};
use phlora_tests::sets::kernels;

use crate::support::{assert_untouched, blocks, check_sum, deviates, guarded};

/// Element (`row`, `column`) of a strip.
fn in_strip(row: usize, column: usize) -> usize {
    column / LANES * STRIP_ROWS * LANES + row * LANES + column % LANES
}

/// Checks both products of a strip: what has room but does not count, rows and columns, is not a number.
fn check_strip<const W: usize>(rows: usize, cols: usize) {
    let step = LANES / W;
    let values = deviates(11, rows * cols);
    let mut data = vec![f32::NAN; cols.next_multiple_of(LANES) * STRIP_ROWS];
    for row in 0..rows {
        for column in 0..cols.next_multiple_of(LANES) {
            data[in_strip(row, column)] = if column < cols { values[row * cols + column] } else { 0.0 };
        }
    }
    let d = |row: usize, column: usize| f64::from(values[row * cols + column]);
    let strip = Strip { data: &data, rows, cols };
    let steps = cols.div_ceil(step);
    // The elements of columns that do not exist are zero, as packing leaves them.
    let packed = |seed| {
        let mut packed = deviates(seed, steps * LANES);
        for (at, x) in packed.iter_mut().enumerate() {
            *x = if at / LANES * step + at % step < cols { *x } else { 0.0 };
        }
        packed
    };
    let at = |column: usize, w: usize| column / step * LANES + w * step + column % step;
    let (x, y, z) = (guarded(&packed(12)), deviates(13, rows * W), packed(15));
    let spread: Vec<f32> = y.iter().flat_map(|&y| vec![y; step]).collect();
    for kernel in kernels() {
        let name = format!("{} {rows}×{cols}·{W}", kernel.name());
        let start = deviates(14, rows * LANES);
        let mut lanes = guarded(&start);
        kernel.forward::<W>(strip, &x, &mut lanes, &mut Prefetch::default()).unwrap();
        assert_untouched(&lanes);
        for row in 0..rows {
            for lane in 0..LANES {
                let columns = (lane % step..cols).step_by(step);
                let terms = columns.map(|column| d(row, column) * f64::from(x[at(column, lane / step)]));
                check_sum(lanes[row * LANES + lane], start[row * LANES + lane], terms, &name);
            }
        }
        let mut sums = guarded(&z);
        kernel.backward::<W>(strip, &spread, &mut sums, &mut Prefetch::default()).unwrap();
        assert_untouched(&sums);
        for column in 0..cols {
            for w in 0..W {
                let terms = (0..rows).map(|row| d(row, column) * f64::from(y[row * W + w]));
                check_sum(sums[at(column, w)], z[at(column, w)], terms, &name);
            }
        }
        assert!((0..steps * LANES).all(|i| i / LANES * step + i % step < cols || sums[i] == 0.0), "{name}");
    }
}

#[test]
fn products_of_strips_stay_within_the_bound() {
    for rows in [0, 1, 2, 3, 4, 5, 7, 15, 16] {
        for cols in [0, 1, 2, 15, 16, 17, 31, 32, 33, 40, 47, 64, 80, 256, 257, 300] {
            check_strip::<8>(rows, cols);
            check_strip::<16>(rows, cols);
        }
    }
}

/// Checks that decoding on the way to a product gives the bits of both, one after the other.
fn check_fresh<const W: usize>([base, tuned]: [Dtype; 2], rows: usize, cols: usize) {
    // Rows are further apart than they are long.
    let stride = cols + base.block_len().max(tuned.block_len()).max(8);
    let side = |dtype: Dtype, seed| {
        let mut bytes = vec![0; dtype.row_bytes(rows * stride).unwrap()];
        encode(&deviates(seed, rows * stride), dtype, &mut bytes).unwrap();
        bytes
    };
    let sides = [(base, side(base, 31)), (tuned, side(tuned, 32))];
    let lines = |i: usize| {
        let (dtype, bytes) = &sides[i];
        Lines { dtype: *dtype, bytes, row: dtype.row_bytes(stride).unwrap() }
    };
    let (padded, steps) = (cols.next_multiple_of(LANES), cols.div_ceil(LANES / W));
    let x = deviates(33, LANES * steps);
    for kernel in kernels() {
        let mut expected = vec![9.0; STRIP_ROWS * padded];
        for row in 0..rows {
            let of = |side: usize| {
                let (dtype, bytes) = &sides[side];
                let at = |entry: usize| dtype.row_bytes(entry).unwrap();
                Rows::new(*dtype, &bytes[at(row * stride)..at(row * stride + cols)])
            };
            let mut values = vec![0.0; padded];
            kernel.difference(of(0), of(1), &mut values[..cols]);
            values.iter().enumerate().for_each(|(column, &x)| expected[in_strip(row, column)] = x);
        }
        let mut lanes = [vec![0.5; rows * LANES], vec![0.5; rows * LANES]];
        kernel
            .forward::<W>(Strip { data: &expected, rows, cols }, &x, &mut lanes[0], &mut Prefetch::default())
            .unwrap();
        let mut got = vec![9.0; STRIP_ROWS * padded + 3];
        kernel
            .difference_forward::<W>(
                [lines(0), lines(1)],
                StripMut { data: &mut got, rows, cols },
                &x,
                &mut lanes[1],
                &mut Prefetch::default(),
            )
            .unwrap();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let name = format!("{} {base:?} {tuned:?} {rows}×{cols}·{W}", kernel.name());
        assert_eq!(bits(&got[..STRIP_ROWS * padded]), bits(&expected), "{name}");
        assert_eq!(got[STRIP_ROWS * padded..], [9.0; 3], "nothing is written behind the strip");
        assert_eq!(bits(&lanes[0]), bits(&lanes[1]), "{name}");
    }
}

#[test]
fn decoding_on_the_way_changes_no_bit() {
    let [f32, f16, bf16] = [Dtype::F32, Dtype::F16, Dtype::Bf16];
    for dtypes in blocks(&["Q8_0", "Q4_0"]).flat_map(|q| [[q; 2], [q, bf16], [q, f32], [q, f16], [f16, q]]) {
        for rows in [1, 16] {
            for cols in [32, 64, 96, 256, 320, 608] {
                check_fresh::<8>(dtypes, rows, cols);
                check_fresh::<16>(dtypes, rows, cols);
            }
        }
    }
    for dtypes in [[f32; 2], [f16; 2], [bf16; 2], [bf16, f32], [f16, bf16]] {
        for rows in [0, 1, 4, 15, 16] {
            for cols in [0, 1, 16, 31, 32, 40, 64, 255, 256, 289, 321, 600] {
                check_fresh::<8>(dtypes, rows, cols);
                check_fresh::<16>(dtypes, rows, cols);
            }
        }
    }
}

/// A row's sums do not depend on the rows beside it, nor a column's on how the rows are cut.
#[test]
fn products_of_strips_do_not_depend_on_the_cut() {
    let (cols, data) = (300, deviates(16, 304 * STRIP_ROWS));
    let (x, y) = (deviates(17, cols * LANES), deviates(18, STRIP_ROWS * LANES));
    for kernel in kernels() {
        let all = Strip { data: &data, rows: STRIP_ROWS, cols };
        let (mut lanes, mut z) = (vec![0.0; STRIP_ROWS * LANES], vec![0.0; cols * LANES]);
        kernel.forward::<16>(all, &x, &mut lanes, &mut Prefetch::default()).unwrap();
        kernel.backward::<16>(all, &y, &mut z, &mut Prefetch::default()).unwrap();
        for height in [1, 5, 12] {
            let (mut parts, mut sum) = (vec![0.0; STRIP_ROWS * LANES], vec![0.0; cols * LANES]);
            for first in (0..STRIP_ROWS).step_by(height) {
                let rows = height.min(STRIP_ROWS - first);
                let mut moved = data.clone();
                for row in 0..rows {
                    for column in 0..cols.next_multiple_of(LANES) {
                        moved[in_strip(row, column)] = data[in_strip(first + row, column)];
                    }
                }
                let some = Strip { data: &moved, rows, cols };
                let (out, y) = (&mut parts[first * LANES..], &y[first * LANES..]);
                kernel.forward::<16>(some, &x, out, &mut Prefetch::default()).unwrap();
                kernel.backward::<16>(some, y, &mut sum, &mut Prefetch::default()).unwrap();
            }
            assert_eq!(lanes, parts, "{} {height}", kernel.name());
            assert_eq!(z, sum, "{} {height}", kernel.name());
        }
    }
}

/// In every profile: what is unsafe trusts the check.
#[test]
fn strips_that_are_too_short_are_refused() {
    let (data, x, lanes) = ([0.5; 2 * STRIP_ROWS * LANES], [0.25; 32 * 8], [0.125; STRIP_ROWS * LANES]);
    let whole = Strip { data: &data, rows: STRIP_ROWS, cols: 32 };
    let refused = Err(Error::Operands);
    for kernel in kernels() {
        let forward = |d, x: &[f32], y: &mut [f32]| kernel.forward::<8>(d, x, y, &mut Prefetch::default());
        assert_eq!(forward(whole, &x, &mut { lanes }), Ok(()));
        assert_eq!(forward(whole, &x[1..], &mut { lanes }), refused);
        assert_eq!(forward(whole, &x, &mut { lanes }[1..]), refused);
        assert_eq!(forward(Strip { data: &data[1..], ..whole }, &x, &mut { lanes }), refused);
        let backward = |d, y: &[f32], z: &mut [f32]| kernel.backward::<8>(d, y, z, &mut Prefetch::default());
        assert_eq!(backward(whole, &lanes, &mut { x }), Ok(()));
        assert_eq!(backward(whole, &lanes[1..], &mut { x }), refused);
        assert_eq!(backward(whole, &lanes, &mut { x }[1..]), refused);
        for (bytes, expected) in [(2 * 32 * STRIP_ROWS, Ok(())), (2 * 32 * STRIP_ROWS - 1, refused)] {
            let bytes = vec![0; bytes];
            let lines = Lines { dtype: Dtype::Bf16, bytes: &bytes, row: 64 };
            let d = StripMut { data: &mut data.clone(), rows: STRIP_ROWS, cols: 32 };
            let y = &mut { lanes };
            assert_eq!(
                kernel.difference_forward::<8>([lines; 2], d, &x, y, &mut Prefetch::default()),
                expected
            );
        }
    }
}
