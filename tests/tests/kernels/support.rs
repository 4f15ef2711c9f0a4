//! What the tests of several operations share.

use phlora_core::{
    Dtype, Kernel, Rows,
    operations::{LANES, Operations},
};
use phlora_tests::{matrix::Normal, tolerance};

/// The unit roundoff of f32.
pub const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Normal deviates.
pub fn deviates(seed: u64, len: usize) -> Vec<f32> {
    let mut normal = Normal::new(seed);
    (0..len).map(|_| normal.draw() as f32).collect()
}

/// Checks `got` against `from` and the sum of `terms`, in f64.
pub fn check_sum(got: f32, from: f32, terms: impl Iterator<Item = f64>, what: &str) {
    let (mut exact, mut size, mut count) = (f64::from(from), f64::from(from).abs(), 1.0);
    for term in terms {
        (exact, size, count) = (exact + term, size + term.abs(), count + 1.0);
    }
    let (error, bound) = ((f64::from(got) - exact).abs(), tolerance::PRODUCT_TERMS * count * UNIT * size);
    assert!(error <= bound, "{what}: {error:e} > {bound:e}");
}

/// The values before some that nothing may touch.
pub fn guarded(values: &[f32]) -> Vec<f32> {
    [values, &[f32::NAN; LANES + 3]].concat()
}

/// Panics where [`guarded`] values were touched.
pub fn assert_untouched(values: &[f32]) {
    assert!(
        values[values.len() - LANES - 3..].iter().all(|x| x.is_nan()),
        "nothing is written behind an output"
    );
}

/// Adds `values` to stored weights, one step after the other.
pub fn add(values: &[f32], dtype: Dtype, weights: &mut [u8]) {
    let mut sums = vec![0.0; values.len()];
    Kernel::PORTABLE.decode(Rows::new(dtype, weights), &mut sums);
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    assert!(Kernel::PORTABLE.encode(&sums, dtype, weights));
}

/// Values that rounding treats in its own way, between ordinary ones: halves, both zeros, subnormal and huge numbers,
/// and, in every seventh group of 32, what is no number.
pub fn awkward(seed: u64, len: usize) -> Vec<f32> {
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

/// The block formats of these names, as far as this build has them.
pub fn blocks(names: &[&str]) -> impl Iterator<Item = Dtype> {
    Dtype::ALL.iter().copied().filter(move |dtype| names.contains(&dtype.name()))
}
