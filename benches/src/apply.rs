//! Applying and merging adapters, as ratios from one run: forward against reading, routed against separate batches, merge against
//! copying.

use std::{hint::black_box, time::Instant};

use phlora_core::{
    Adapter, Apply, Assignment, Dtype, Error, Inputs, Kernel, Merge, OutputsF32, Rows, Shape, encode,
    operations::{Lines, Operations, Prefetch, STRIP_ROWS, StripMut},
};
use serde_json::{Value, json};

const SIZE: usize = 4096;
const SHAPE: Shape = Shape { rows: SIZE, cols: SIZE };

/// Seconds of the fastest of several runs.
fn best(runs: usize, mut run: impl FnMut()) -> f64 {
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

/// Values in −0.5..0.5.
fn values(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    };
    (0..len).map(|_| next()).collect()
}

fn stored(values: &[f32], dtype: Dtype) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; dtype.row_bytes(values.len()).ok_or(Error::TooLarge)?];
    encode(values, dtype, &mut bytes)?;
    Ok(bytes)
}

/// Factors of one layer, lora_a before lora_b.
fn factors(seed: u32, dtype: Dtype, rank: usize) -> Result<Vec<u8>, Error> {
    stored(&values(2 * rank * SIZE, seed), dtype)
}

fn adapter(factors: &[u8], dtype: Dtype, rank: usize) -> Result<Adapter<'_>, Error> {
    let (a, b) = factors.split_at(factors.len() / 2);
    Adapter::new(SHAPE, rank, Rows::new(dtype, a), Rows::new(dtype, b), 1.0)
}

/// The rank of a batch with several adapters and of a merge, whose factors are f16.
const RANK: usize = 16;

/// One token through as many layers as fill a level of the memory, against reading as many bytes.
///
/// # Errors
/// What the core says.
pub fn forward(
    kernel: Kernel,
    dtype: Dtype,
    rank: usize,
    mebibytes: usize,
    runs: usize,
) -> Result<Value, Error> {
    let one = factors(1, dtype, rank)?;
    let layers = (mebibytes << 20).div_ceil(one.len()).max(1);
    let all: Vec<Vec<u8>> = (0..layers).map(|_| one.clone()).collect();
    let floats: Vec<Vec<f32>> = (0..layers).map(|_| vec![0.5; one.len() / 4]).collect();
    let adapters = all.iter().map(|factors| adapter(factors, dtype, rank)).collect::<Result<Vec<_>, _>>()?;
    let (x, mut y) = (values(SIZE, 2), vec![0.0; SIZE]);
    let steps =
        adapters.iter().map(|&adapter| Apply::forward(kernel, adapter, 1)).collect::<Result<Vec<_>, _>>()?;
    let mut scratch = vec![0.0; steps.first().map_or(0, |apply| apply.t_len() + apply.scratch_len())];
    let rounds = (64 / mebibytes.max(1)).max(1);
    let (mut read, mut run) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..runs {
        read = read.min(best(1, || {
            for _ in 0..rounds {
                for floats in &floats {
                    // Every byte once, in two streams.
                    let (low, high) = floats.split_at(floats.len() / 2);
                    black_box(kernel.dot(low, high));
                }
            }
        }));
        run = run.min(best(1, || {
            for _ in 0..rounds {
                for apply in &steps {
                    let mut outputs = OutputsF32 { values: &mut y, stride: SIZE };
                    let done = apply.run(Inputs::f32(&x, SIZE), &mut outputs, &mut scratch);
                    debug_assert!(done.is_ok());
                }
            }
        }));
    }
    let bytes = (rounds * layers * one.len()) as f64;
    Ok(json!({
        "forward": "1 token, 4096×4096", "rank": rank, "dtype": dtype.name(), "mebibytes": mebibytes,
        "kernel": kernel.name(),
        "gigabytes_per_second": bytes / run / 1e9, "read_gigabytes_per_second": bytes / read / 1e9,
        "share_of_read": read / run,
    }))
}

/// Several tokens of one adapter in one call, against as many calls with one; factors in the second-level cache.
///
/// # Errors
/// What the core says.
pub fn together(
    kernel: Kernel,
    dtype: Dtype,
    rank: usize,
    tokens: usize,
    runs: usize,
) -> Result<Value, Error> {
    let factors = factors(7, dtype, rank)?;
    let adapter = adapter(&factors, dtype, rank)?;
    let calls = [Apply::forward(kernel, adapter, 1)?, Apply::forward(kernel, adapter, tokens)?];
    let (x, mut y) = (values(tokens * SIZE, 8), vec![0.0; tokens * SIZE]);
    let most = calls.iter().map(|apply| apply.t_len() + apply.scratch_len()).max();
    let mut scratch = vec![0.0; most.unwrap_or(0)];
    let mut run = |apply: &Apply<'_>, x: &[f32], values: &mut [f32]| {
        let done = apply.run(Inputs::f32(x, SIZE), &mut OutputsF32 { values, stride: SIZE }, &mut scratch);
        debug_assert!(done.is_ok());
    };
    let [mut apart, mut together] = [f64::INFINITY; 2];
    for _ in 0..runs {
        apart = apart.min(best(8, || {
            for (x, y) in x.chunks_exact(SIZE).zip(y.chunks_exact_mut(SIZE)) {
                run(&calls[0], x, y);
            }
        }));
        together = together.min(best(8, || run(&calls[1], &x, &mut y)));
    }
    Ok(json!({
        "together": "4096×4096", "rank": rank, "dtype": dtype.name(), "tokens": tokens, "kernel": kernel.name(),
        "microseconds": together * 1e6, "times_faster_than_apart": apart / together,
    }))
}

/// `len` zeros that begin at a cache line, as an engine allocates them.
struct Aligned(Vec<f32>, usize);

impl Aligned {
    fn new(len: usize) -> Self {
        const LINE: usize = 16;
        let values = vec![0.0_f32; len + LINE];
        let start = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Self(values, start)
    }
    fn get(&mut self) -> &mut [f32] {
        &mut self.0[self.1..]
    }
}

/// y = W·x for a base in f16 and `tokens` of at most 16, by whatever way is faster for so many.
fn base(kernel: Kernel, weights: &[u8], x: &[f32], tokens: usize, y: &mut [f32], by_product: bool) {
    let row = 2 * SIZE;
    if !by_product {
        for (block, bytes) in weights.chunks_exact(STRIP_ROWS * row).enumerate() {
            for (x, y) in x.chunks_exact(SIZE).zip(y.chunks_exact_mut(SIZE)).take(tokens) {
                kernel
                    .dots(Rows::new(Dtype::F16, bytes), x, &mut y[block * STRIP_ROWS..][..STRIP_ROWS])
                    .expect("the buffers hold the rows");
            }
        }
        return;
    }
    // The fused product of an extraction, less one row of zeros: it decodes on the way.
    let [mut panel, mut data] = [16 * SIZE, STRIP_ROWS * SIZE].map(Aligned::new);
    let (panel, data, zeros) = (panel.get(), data.get(), vec![0; row]);
    for (token, x) in x.chunks_exact(SIZE).enumerate().take(tokens) {
        panel.iter_mut().skip(token).step_by(16).zip(x).for_each(|(out, x)| *out = *x);
    }
    let lines = |bytes, row| Lines { dtype: Dtype::F16, bytes, row };
    for (block, bytes) in weights.chunks_exact(STRIP_ROWS * row).enumerate() {
        let next = weights.chunks_exact(STRIP_ROWS * row).nth(block + 1).unwrap_or_default();
        let mut all = [[0.0; 16]; STRIP_ROWS];
        kernel
            .difference_forward::<16>(
                [lines(&zeros, 0), lines(bytes, row)],
                StripMut { data, rows: STRIP_ROWS, cols: SIZE },
                panel,
                all.as_flattened_mut(),
                &mut Prefetch::new([next, &[]], 1),
            )
            .expect("the buffers hold the rows");
        for (token, y) in y.chunks_exact_mut(SIZE).take(tokens).enumerate() {
            for (y, all) in y[block * STRIP_ROWS..].iter_mut().zip(&all) {
                *y = all[token];
            }
        }
    }
}

/// 16 tokens over 8 adapters in one batch through `layers` layers, against 8 batches of 2 tokens one after another, base
/// product included. One layer stays in a large third-level cache between batches, those of a model do not.
///
/// # Errors
/// What the core says.
pub fn route(kernel: Kernel, layers: usize, runs: usize) -> Result<Value, Error> {
    const TOKENS: usize = 16;
    const ADAPTERS: usize = 8;
    let weights = stored(&values(SIZE * SIZE, 3), Dtype::F16)?;
    let weights = vec![weights; layers];
    let all = (0..(layers * ADAPTERS) as u32)
        .map(|seed| factors(seed, Dtype::F16, RANK))
        .collect::<Result<Vec<_>, _>>()?;
    let views = all
        .iter()
        .map(|factors| adapter(factors, Dtype::F16, RANK).map(Some))
        .collect::<Result<Vec<_>, _>>()?;
    let mut uses: Vec<Assignment> = (0..TOKENS as u32)
        .map(|token| Assignment { token, adapter: token % ADAPTERS as u32, weight: 1.0 })
        .collect();
    Assignment::group(&mut uses);
    let routed = views
        .chunks(ADAPTERS)
        .map(|views| Apply::routed(kernel, SHAPE, TOKENS, &uses, views))
        .collect::<Result<Vec<_>, _>>()?;
    let single = views
        .iter()
        .flatten()
        .map(|&adapter| Apply::forward(kernel, adapter, TOKENS / ADAPTERS))
        .collect::<Result<Vec<_>, _>>()?;
    let (x, mut y) = (values(TOKENS * SIZE, 4), vec![0.0; TOKENS * SIZE]);
    let most = single.iter().chain(&routed).map(|apply| apply.t_len() + apply.scratch_len()).max();
    let mut scratch = vec![0.0; most.unwrap_or(0)];
    let mut adapt = |apply: &Apply<'_>, x: &[f32], values: &mut [f32]| {
        let done = apply.run(Inputs::f32(x, SIZE), &mut OutputsF32 { values, stride: SIZE }, &mut scratch);
        debug_assert!(done.is_ok());
    };
    let mut together = f64::INFINITY;
    let mut apart = [f64::INFINITY; 2];
    let mut adapters_alone = f64::INFINITY;
    for _ in 0..runs {
        together = together.min(best(1, || {
            for (weights, apply) in weights.iter().zip(&routed) {
                base(kernel, weights, &x, TOKENS, &mut y, true);
                adapt(apply, &x, &mut y);
            }
        }));
        adapters_alone =
            adapters_alone.min(best(1, || routed.iter().for_each(|apply| adapt(apply, &x, &mut y))));
        for (apart, by_product) in apart.iter_mut().zip([false, true]) {
            *apart = apart.min(best(1, || {
                for batch in 0..ADAPTERS {
                    let (x, y) = (&x[2 * batch * SIZE..][..2 * SIZE], &mut y[2 * batch * SIZE..][..2 * SIZE]);
                    for (weights, single) in weights.iter().zip(single.chunks(ADAPTERS)) {
                        base(kernel, weights, x, 2, y, by_product);
                        adapt(&single[batch], x, y);
                    }
                }
            }));
        }
    }
    let separate = apart[0].min(apart[1]);
    Ok(json!({
        "route": "16 tokens over 8 adapters, 4096×4096 f16 base", "layers": layers, "kernel": kernel.name(),
        "together_milliseconds": together * 1e3, "separate_milliseconds": separate * 1e3,
        "adapters_share_of_together": adapters_alone / together, "times_faster": separate / together,
    }))
}

/// A merge of rank 16, in place and to another buffer, against copying the same weight.
///
/// # Errors
/// What the core says.
pub fn merge(kernel: Kernel, dtype: Dtype, runs: usize) -> Result<Value, Error> {
    let mut weights = stored(&values(SIZE * SIZE, 5), dtype)?;
    let mut copy = vec![0; weights.len()];
    let factors = factors(6, Dtype::F16, RANK)?;
    let terms = [(adapter(&factors, Dtype::F16, RANK)?, 1e-3)];
    let merge = Merge::new(kernel, &terms)?;
    let (mut prepared, mut scratch) = (vec![0.0; merge.prepared_len()], vec![0.0; merge.scratch_len()]);
    let [mut copied, mut in_place, mut elsewhere] = [f64::INFINITY; 3];
    for _ in 0..runs {
        copied = copied.min(best(1, || black_box(&mut copy).copy_from_slice(black_box(&weights))));
        in_place = in_place.min(best(1, || {
            let done = merge
                .prepare(&mut prepared)
                .and_then(|()| merge.rows(&prepared, 0, dtype, &mut weights, None, &mut scratch));
            debug_assert!(done.is_ok());
        }));
        elsewhere = elsewhere.min(best(1, || {
            let from = Rows::new(dtype, &weights);
            let done = merge
                .prepare(&mut prepared)
                .and_then(|()| merge.rows_to(&prepared, 0, from, dtype, &mut copy, &mut scratch));
            debug_assert!(done.is_ok());
        }));
    }
    let gigabytes = weights.len() as f64 / 1e9;
    Ok(json!({
        "merge": "4096×4096, rank 16", "dtype": dtype.name(), "kernel": kernel.name(),
        "copy_gigabytes_per_second": gigabytes / copied, "gigabytes_per_second": gigabytes / in_place,
        "share_of_copy_in_place": copied / in_place, "share_of_copy_elsewhere": copied / elsewhere,
    }))
}
