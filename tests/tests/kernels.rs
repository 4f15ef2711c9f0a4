//! The kernels against f64 and against each other, and the decoders against a reference over every value.

use phlora_core::{
    Dtype, Kernel, Rows, decode, encode,
    kernel::{Ahead, Blocks, BlocksMut, LANES, Lines, LinesMut, ROWS, Strided, Tile},
};
use phlora_tests::{matrix::Normal, tolerance};

const UNIT: f64 = f32::EPSILON as f64 / 2.0;

fn deviates(seed: u64, len: usize) -> Vec<f32> {
    let mut normal = Normal::new(seed);
    (0..len).map(|_| normal.draw() as f32).collect()
}

/// Runs C += A·X and checks every element against the bound of the module's documentation.
fn check_product<const W: usize>(rows: usize, depth: usize, transposed: bool) {
    let (row, col) = if transposed { (1, rows + 3) } else { (depth + 5, 1) };
    let data = deviates(1, rows * depth + 5 * rows + 3 * depth + 8);
    let a = Strided { data: &data, row, col };
    let x = deviates(2, depth * W);
    let start = deviates(3, rows * W);
    for kernel in Kernel::available() {
        let mut c = [start.as_slice(), &[f32::NAN; 7]].concat();
        kernel.product::<W>(a, rows, depth, &x, &mut c);
        for i in 0..rows {
            for j in 0..W {
                let (mut exact, mut size) = (f64::from(start[i * W + j]), f64::from(start[i * W + j]).abs());
                for k in 0..depth {
                    let term = f64::from(data[i * row + k * col]) * f64::from(x[k * W + j]);
                    exact += term;
                    size += term.abs();
                }
                let unit = f64::from(f32::EPSILON) / 2.0;
                let bound = tolerance::PRODUCT_TERMS * (depth + 1) as f64 * unit * size;
                let error = (f64::from(c[i * W + j]) - exact).abs();
                assert!(
                    error <= bound,
                    "{} {rows}×{depth}·{W} at {i},{j}: {error:e} > {bound:e}",
                    kernel.name()
                );
            }
        }
        assert!(c[rows * W..].iter().all(|x| x.is_nan()), "nothing is written behind C");
    }
}

#[test]
fn products_stay_within_the_bound() {
    for rows in [0, 1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 23, 24, 25, 31, 48, 53] {
        for depth in [0, 1, 2, 7, 16, 129] {
            for transposed in [false, true] {
                check_product::<8>(rows, depth, transposed);
                check_product::<16>(rows, depth, transposed);
            }
        }
    }
}

#[test]
fn a_product_of_nothing_computes_no_address() {
    let far = Strided { data: &[], row: usize::MAX / 2, col: 1 };
    for kernel in Kernel::available() {
        let mut c = [7.0; 8 * 8];
        kernel.product::<8>(far, 8, 0, &[], &mut c);
        kernel.product::<8>(far.transposed(), 0, 8, &[0.0; 64], &mut c);
        assert!(c.iter().all(|&c| c == 7.0), "{}", kernel.name());
    }
}

/// Checks `got` against `from` and the sum of `terms`, in f64.
fn check_sum(got: f32, from: f32, terms: impl Iterator<Item = f64>, what: &str) {
    let (mut exact, mut size, mut count) = (f64::from(from), f64::from(from).abs(), 1.0);
    for term in terms {
        (exact, size, count) = (exact + term, size + term.abs(), count + 1.0);
    }
    let (error, bound) = ((f64::from(got) - exact).abs(), tolerance::PRODUCT_TERMS * count * UNIT * size);
    assert!(error <= bound, "{what}: {error:e} > {bound:e}");
}

/// The values before some that nothing may touch.
fn guarded(values: &[f32]) -> Vec<f32> {
    [values, &[f32::NAN; LANES + 3]].concat()
}

fn assert_untouched(values: &[f32]) {
    assert!(
        values[values.len() - LANES - 3..].iter().all(|x| x.is_nan()),
        "nothing is written behind an output"
    );
}

/// Element (`row`, `column`) of a strip.
fn in_blocks(row: usize, column: usize) -> usize {
    column / LANES * ROWS * LANES + row * LANES + column % LANES
}

/// Checks both products of a strip: what has room but does not count, rows and columns, is not a number.
fn check_strip<const W: usize>(rows: usize, cols: usize) {
    let step = LANES / W;
    let values = deviates(11, rows * cols);
    let mut data = vec![f32::NAN; cols.next_multiple_of(LANES) * ROWS];
    for row in 0..rows {
        for column in 0..cols.next_multiple_of(LANES) {
            data[in_blocks(row, column)] = if column < cols { values[row * cols + column] } else { 0.0 };
        }
    }
    let d = |row: usize, column: usize| f64::from(values[row * cols + column]);
    let strip = Blocks { data: &data, rows, cols };
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
    for kernel in Kernel::available() {
        let name = format!("{} {rows}×{cols}·{W}", kernel.name());
        let start = deviates(14, rows * LANES);
        let mut lanes = guarded(&start);
        kernel.forward::<W>(strip, &x, &mut lanes, &mut Ahead::default());
        assert_untouched(&lanes);
        for row in 0..rows {
            for lane in 0..LANES {
                let columns = (lane % step..cols).step_by(step);
                let terms = columns.map(|column| d(row, column) * f64::from(x[at(column, lane / step)]));
                check_sum(lanes[row * LANES + lane], start[row * LANES + lane], terms, &name);
            }
        }
        let mut sums = guarded(&z);
        kernel.backward::<W>(strip, &spread, &mut sums, &mut Ahead::default());
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

/// Adds `values` to stored weights, one step after the other.
fn add(values: &[f32], dtype: Dtype, weights: &mut [u8]) {
    let mut sums = vec![0.0; values.len()];
    Kernel::PORTABLE.decode(Rows::new(dtype, weights), &mut sums);
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    assert!(Kernel::PORTABLE.encode(&sums, dtype, weights));
}

/// Checks rows that are merged into `count` rows of weights: `rows` of them, `width` elements each with `gap` in between.
fn check_merge<const W: usize>(rows: usize, width: usize, gap: usize, count: usize) {
    let data = deviates(11, rows * (width + gap) + 1);
    let tile = Tile { data: &data, row: width + gap, rows, width };
    let (y, start) = (deviates(13, rows * W), deviates(15, count * width));
    for kernel in Kernel::available() {
        let name = format!("{} {rows}×{width}·{count} of {W}", kernel.name());
        let (mut merged, mut sums) = (guarded(&start), guarded(&vec![0.0; count * width]));
        for values in [&mut merged, &mut sums] {
            kernel.merge_values::<W>(tile, &y, values, count, &mut Ahead::default());
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
            kernel.merge_rows::<W>(tile, &y, None, &mut weights, count, &mut Ahead::default());
            assert!(found == expected, "{name} into {}", dtype.name());
            let from = Some(Lines { dtype, bytes: &apart, row: row + 3 });
            let mut weights = LinesMut { dtype, bytes: &mut copied, row };
            kernel.merge_rows::<W>(tile, &y, from, &mut weights, count, &mut Ahead::default());
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
    for kernel in Kernel::available() {
        let mut expected = vec![9.0; ROWS * padded];
        for row in 0..rows {
            let of = |side: usize| {
                let (dtype, bytes) = &sides[side];
                let at = |entry: usize| dtype.row_bytes(entry).unwrap();
                Rows::new(*dtype, &bytes[at(row * stride)..at(row * stride + cols)])
            };
            let mut values = vec![0.0; padded];
            kernel.difference(of(0), of(1), &mut values[..cols]);
            values.iter().enumerate().for_each(|(column, &x)| expected[in_blocks(row, column)] = x);
        }
        let mut lanes = [vec![0.5; rows * LANES], vec![0.5; rows * LANES]];
        kernel.forward::<W>(Blocks { data: &expected, rows, cols }, &x, &mut lanes[0], &mut Ahead::default());
        let mut got = vec![9.0; ROWS * padded + 3];
        kernel.difference_forward::<W>(
            [lines(0), lines(1)],
            BlocksMut { data: &mut got, rows, cols },
            &x,
            &mut lanes[1],
            &mut Ahead::default(),
        );
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let name = format!("{} {base:?} {tuned:?} {rows}×{cols}·{W}", kernel.name());
        assert_eq!(bits(&got[..ROWS * padded]), bits(&expected), "{name}");
        assert_eq!(got[ROWS * padded..], [9.0; 3], "nothing is written behind the strip");
        assert_eq!(bits(&lanes[0]), bits(&lanes[1]), "{name}");
    }
}

#[test]
fn decoding_on_the_way_changes_no_bit() {
    let [f32, f16, bf16] = [Dtype::F32, Dtype::F16, Dtype::Bf16];
    let [q8_0, q4_0] = [Dtype::Q8_0, Dtype::Q4_0];
    for dtypes in [[q8_0; 2], [q4_0; 2], [q8_0, bf16], [q4_0, f32], [q8_0, f16], [f16, q8_0]] {
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
    let (cols, data) = (300, deviates(16, 304 * ROWS));
    let (x, y) = (deviates(17, cols * LANES), deviates(18, ROWS * LANES));
    for kernel in Kernel::available() {
        let all = Blocks { data: &data, rows: ROWS, cols };
        let (mut lanes, mut z) = (vec![0.0; ROWS * LANES], vec![0.0; cols * LANES]);
        kernel.forward::<16>(all, &x, &mut lanes, &mut Ahead::default());
        kernel.backward::<16>(all, &y, &mut z, &mut Ahead::default());
        for height in [1, 5, 12] {
            let (mut parts, mut sum) = (vec![0.0; ROWS * LANES], vec![0.0; cols * LANES]);
            for first in (0..ROWS).step_by(height) {
                let rows = height.min(ROWS - first);
                let mut moved = data.clone();
                for row in 0..rows {
                    for column in 0..cols.next_multiple_of(LANES) {
                        moved[in_blocks(row, column)] = data[in_blocks(first + row, column)];
                    }
                }
                let some = Blocks { data: &moved, rows, cols };
                let (out, y) = (&mut parts[first * LANES..], &y[first * LANES..]);
                kernel.forward::<16>(some, &x, out, &mut Ahead::default());
                kernel.backward::<16>(some, y, &mut sum, &mut Ahead::default());
            }
            assert_eq!(lanes, parts, "{} {height}", kernel.name());
            assert_eq!(z, sum, "{} {height}", kernel.name());
        }
    }
}

#[test]
fn products_do_not_depend_on_how_rows_are_grouped() {
    let (rows, depth) = (37, 50);
    let (data, x) = (deviates(4, rows * depth), deviates(5, depth * 8));
    for kernel in Kernel::available() {
        let mut whole = vec![0.0; rows * 8];
        kernel.product::<8>(Strided::row_major(&data, depth), rows, depth, &x, &mut whole);
        for group in [1, 5, 24] {
            let mut parts = vec![0.0; rows * 8];
            for first in (0..rows).step_by(group) {
                let count = group.min(rows - first);
                let a = Strided::row_major(&data[first * depth..], depth);
                // The depth in two pieces as well: sums go on where they stopped.
                for (start, len) in [(0, 20), (20, depth - 20)] {
                    let a = Strided { data: &a.data[start..], ..a };
                    kernel.product::<8>(a, count, len, &x[start * 8..], &mut parts[first * 8..]);
                }
            }
            assert_eq!(whole, parts, "{} in groups of {group}", kernel.name());
        }
    }
}

#[test]
#[cfg(not(debug_assertions))]
fn operands_that_are_too_short_are_refused() {
    for kernel in Kernel::available() {
        let mut c = [1.0; 16];
        kernel.product::<8>(Strided::row_major(&[1.0; 5], 3), 2, 3, &[1.0; 24], &mut c);
        kernel.product::<8>(Strided::row_major(&[1.0; 6], 3), 2, 3, &[1.0; 23], &mut c);
        kernel.product::<8>(Strided { data: &[1.0], row: usize::MAX, col: 1 }, 3, 1, &[1.0; 8], &mut c);
        assert_eq!(c, [1.0; 16]);
    }
}

#[test]
fn every_16_bit_value_decodes_as_the_reference_says() {
    let patterns: Vec<u16> = (0..=u16::MAX).collect();
    let bytes: Vec<u8> = patterns.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    for kernel in Kernel::available() {
        let mut out = vec![0.0; patterns.len()];
        for (dtype, value) in [
            (Dtype::F16, (|bits| half::f16::from_bits(bits).to_f32()) as fn(u16) -> f32),
            (Dtype::Bf16, |bits| half::bf16::from_bits(bits).to_f32()),
        ] {
            kernel.decode(Rows::new(dtype, &bytes), &mut out);
            for (&bits, &got) in patterns.iter().zip(&out) {
                let expected = value(bits);
                let same = got.to_bits() == expected.to_bits() || got.is_nan() && expected.is_nan();
                assert!(same, "{} {dtype:?} {bits:#06x}: {got} against {expected}", kernel.name());
            }
        }
    }
}

#[test]
fn differences_subtract_in_f32_for_every_pair_of_formats() {
    let formats = [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::F64];
    let (base, tuned) = (deviates(6, 61), deviates(7, 61));
    let encoded = |values: &[f32], dtype: Dtype| {
        let mut bytes = vec![0; dtype.row_bytes(values.len()).unwrap()];
        encode(values, dtype, &mut bytes).unwrap();
        bytes
    };
    for from in formats {
        for to in formats {
            let (b, t) = (encoded(&base, from), encoded(&tuned, to));
            let (mut plain_b, mut plain_t) = (vec![0.0; 61], vec![0.0; 61]);
            decode(Rows::new(from, &b), &mut plain_b).unwrap();
            decode(Rows::new(to, &t), &mut plain_t).unwrap();
            for kernel in Kernel::available() {
                // One byte off, so that nothing is aligned.
                let (b, t) = ([&[0], b.as_slice()].concat(), [&[0], t.as_slice()].concat());
                let mut out = vec![0.0; 61];
                kernel.difference(Rows::new(from, &b[1..]), Rows::new(to, &t[1..]), &mut out);
                for i in 0..61 {
                    assert_eq!(out[i], plain_t[i] - plain_b[i], "{} {from:?} {to:?}", kernel.name());
                }
            }
        }
    }
}

#[test]
fn encode_rounds_to_nearest_even_and_checks_lengths() {
    let mut bytes = [0; 4];
    encode(&[1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0], Dtype::Bf16, &mut bytes).unwrap();
    let mut back = [0.0; 2];
    decode(Rows::new(Dtype::Bf16, &bytes), &mut back).unwrap();
    assert_eq!(back, [1.0, 1.0 + 4.0 / 256.0]);
    assert!(encode(&[0.0; 3], Dtype::F16, &mut [0; 4]).is_err());
    assert!(decode(Rows::new(Dtype::F32, &[0; 6]), &mut [0.0; 1]).is_err());
}

#[test]
fn vector_routines_give_the_same_bits_everywhere() {
    for len in [0, 1, 31, 32, 33, 200] {
        let (x, y) = (deviates(8, len), deviates(9, len));
        let dot = Kernel::PORTABLE.dot(&x, &y);
        let exact: f64 = x.iter().zip(&y).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum();
        assert!((f64::from(dot) - exact).abs() <= 1e-5 * len as f64, "{len}");
        for kernel in Kernel::available() {
            assert_eq!(kernel.dot(&x, &y).to_bits(), dot.to_bits());
        }
    }
}

#[test]
fn rotations_stay_within_the_bound() {
    for len in [0, 1, 3, 31, 32, 33, 200] {
        for angle in [0.0_f64, 1e-4, 0.6435, -0.78] {
            let (x, y) = (deviates(8, len), deviates(9, len));
            let (c, s) = (angle.cos() as f32, angle.sin() as f32);
            for kernel in Kernel::available() {
                let mut turned = (x.clone(), y.clone());
                kernel.rotate(&mut turned.0, &mut turned.1, c, s);
                for i in 0..len {
                    let (a, b) = (f64::from(x[i]), f64::from(y[i]));
                    // The angle is what the sine says: its cosine is rounded.
                    let (s, c) = (f64::from(s), (1.0 - f64::from(s) * f64::from(s)).sqrt());
                    let bound = 4.0 * 2.0_f64.powi(-24) * (a.abs() + b.abs());
                    let off = (f64::from(turned.0[i]) - (c * a - s * b)).abs();
                    assert!(off <= bound, "{} {len} {angle}: {off} > {bound}", kernel.name());
                    let off = (f64::from(turned.1[i]) - (s * a + c * b)).abs();
                    assert!(off <= bound, "{} {len} {angle}: {off} > {bound}", kernel.name());
                }
            }
        }
    }
}

/// Values that rounding treats in its own way, between ordinary ones: halves, both zeros, subnormal and huge numbers,
/// and, in every seventh group of 32, what is no number.
fn awkward(seed: u64, len: usize) -> Vec<f32> {
    const SPECIAL: [f32; 12] =
        [0.5, -0.5, 2.5, -2.5, 127.0, -127.0, 0.0, -0.0, 1e-40, -3e-8, 6e4, f32::from_bits(0x3f80_8000)];
    const NONE: [f32; 4] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0xff80_0001)];
    // In a block of the scale 1 these are the integers' own borders.
    const BORDERS: [f32; 7] = [127.0, 0.5, -0.5, 0.5_f32.next_down(), -2.5, 126.5, -0.5_f32.next_down()];
    let value = |(i, value): (usize, f32)| match i % 5 {
        _ if i / 32 % 7 == 4 => BORDERS[i % 7],
        1 => SPECIAL[(i / 5 + seed as usize) % SPECIAL.len()],
        3 if i / 32 % 7 == 6 => NONE[i / 5 % NONE.len()],
        // A block of zeros, of equal magnitudes, and of numbers so small that a scale has no inverse.
        _ if i / 32 % 7 == 1 => 0.0,
        _ if i / 32 % 7 == 2 => {
            if i % 2 == 0 {
                -3.0
            } else {
                3.0
            }
        }
        _ if i / 32 % 7 == 3 => 1e-39 * value,
        _ => value,
    };
    deviates(seed, len).into_iter().enumerate().map(value).collect()
}

#[test]
fn encoding_and_adding_to_halves_give_the_same_bits_everywhere() {
    let formats = Dtype::ALL.iter().copied().filter(|dtype| dtype.is_encoded());
    for (seed, dtype) in (1..).zip(formats) {
        for len in [1_usize, 7, 15, 16, 17, 31, 32, 64, 250, 256, 288, 1024, 2048 + 96] {
            let len = len.next_multiple_of(dtype.block_len());
            let (values, delta) = (awkward(seed, len), awkward(seed + 100, len));
            let bytes = dtype.row_bytes(len).unwrap();
            let mut expected = vec![0; bytes];
            assert!(Kernel::PORTABLE.encode(&values, dtype, &mut expected));
            let mut added = expected.clone();
            add(&delta, dtype, &mut added);
            for kernel in Kernel::available() {
                let mut found = vec![0xaa; bytes];
                assert!(kernel.encode(&values, dtype, &mut found));
                assert!(found == expected, "{} {} {len}", kernel.name(), dtype.name());
                if dtype == Dtype::F16 {
                    kernel.add_half(&delta, &mut found);
                    assert!(found == added, "{} adds to {len} halves", kernel.name());
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_is_found_wherever_it_is() {
    for &dtype in Dtype::ALL.iter().filter(|dtype| dtype.is_encoded()) {
        let len = 65_usize.next_multiple_of(dtype.block_len());
        let mut bytes = vec![0; dtype.row_bytes(len).unwrap()];
        let kernels = || Kernel::available();
        // The largest numbers are numbers.
        let halves = [Dtype::F16, Dtype::Q4_0, Dtype::Q4_1, Dtype::Q5_1];
        let most = if halves.contains(&dtype) { 65504.0 } else { 1e6 };
        encode(&vec![most; len], dtype, &mut bytes).unwrap();
        assert!(kernels().all(|kernel| kernel.all_finite(Rows::new(dtype, &bytes))), "{}", dtype.name());
        for at in 0..len {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut values = vec![-1.0; len];
                values[at] = bad;
                encode(&values, dtype, &mut bytes).unwrap();
                let found = |kernel: Kernel| !kernel.all_finite(Rows::new(dtype, &bytes));
                assert!(kernels().all(found), "{} {at}", dtype.name());
            }
        }
    }
    // The scale of a block of Q4_1 is infinite.
    let block = [[0x00, 0x7c], [0x00, 0x3c]].concat().into_iter().chain([0x11; 16]).collect::<Vec<u8>>();
    assert!(Kernel::available().all(|kernel| !kernel.all_finite(Rows::new(Dtype::Q4_1, &block))));
    assert!(Kernel::available().all(|kernel| kernel.all_finite(Rows::new(Dtype::Q4_1, &block[..0]))));
}

#[test]
fn stored_rows_times_a_vector_stay_within_the_bound_and_do_not_depend_on_their_neighbours() {
    let (mut x, mut matrix) = (Vec::new(), Vec::new());
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::F64, Dtype::Q8_0, Dtype::Q4_0] {
        for cols in [1, 2, 3, 4, 8, 12, 15, 16, 17, 24, 31, 32, 33, 48, 64, 96, 100, 256, 320, 1000, 1056] {
            let Some(row_bytes) = dtype.row_bytes(cols) else { continue };
            for rows in [1, 2, 4, 5, 8, 15, 16, 17, 40] {
                x.clone_from(&deviates(10, cols));
                // Any bytes are rows; those of floats must not be NaN.
                let mut bytes = vec![0; rows * row_bytes];
                if dtype.is_block() {
                    for (i, byte) in bytes.iter_mut().enumerate() {
                        *byte =
                            (i * 37 + i / 7) as u8 & if i % dtype.block_bytes() < 2 { 0x3b } else { 0xff };
                    }
                } else {
                    encode(&deviates(11, rows * cols), dtype, &mut bytes).unwrap();
                }
                matrix.resize(rows * cols, 0.0);
                decode(Rows::new(dtype, &bytes), &mut matrix).unwrap();
                // One byte off, so that nothing is aligned, and guard bytes behind.
                let moved = [&[0xff], bytes.as_slice(), &[0xff; 8]].concat();
                for kernel in Kernel::available() {
                    let mut out = vec![f32::NAN; rows];
                    kernel.dots(Rows::new(dtype, &moved[1..]), &x, &mut out);
                    for (i, &got) in out.iter().enumerate() {
                        let terms = || {
                            matrix[i * cols..][..cols]
                                .iter()
                                .zip(&x)
                                .map(|(&a, &x)| f64::from(a) * f64::from(x))
                        };
                        let bound = tolerance::PRODUCT_TERMS
                            * cols as f64
                            * UNIT
                            * terms().map(f64::abs).sum::<f64>();
                        let error = (f64::from(got) - terms().sum::<f64>()).abs();
                        assert!(error <= bound, "{} {dtype:?} {rows}×{cols}: {error:e}", kernel.name());
                        let mut alone = [0.0];
                        kernel.dots(Rows::new(dtype, &moved[1 + i * row_bytes..]), &x, &mut alone);
                        assert_eq!(
                            alone[0].to_bits(),
                            got.to_bits(),
                            "{} {dtype:?} {rows}×{cols}",
                            kernel.name()
                        );
                    }
                }
            }
        }
    }
}
