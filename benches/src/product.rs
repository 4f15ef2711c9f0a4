//! The fused product (decode, subtract, multiply) on one core, per format, kernel and width.

use crate::weights::{Spectrum, Weights};
use phlora_core::{Dtype, Error, Kernel, Mode, Options, Plan, Rows, Shape};
use serde_json::json;
use std::time::Instant;

/// Prints GFLOP/s as lines of JSON.
///
/// # Errors
/// What the core says.
pub fn measure(rows: usize, cols: usize) -> Result<(), Error> {
    const READS: u32 = 7;
    let shape = Shape { rows, cols };
    let weights = Weights::new(rows, cols, 1, Spectrum::MIDDLE);
    let one = [Dtype::Bf16, Dtype::F16, Dtype::F32, Dtype::Q8_0, Dtype::Q4_0].map(|dtype| [dtype; 2]);
    let two = [Dtype::Q8_0, Dtype::Q4K, Dtype::Q6K].map(|base| [base, Dtype::Bf16]);
    for [dtype, tuned_dtype] in one.into_iter().chain(two) {
        let [mut base, tuned] = weights.pair(rows, tuned_dtype);
        let mut name = dtype.name().to_owned();
        if dtype != tuned_dtype {
            name = format!("{name} and {}", tuned_dtype.name());
            // Any bytes are a block; with these all scales are small.
            let byte = |i: usize| (i as u32).wrapping_mul(0x9e37_79b1) >> 26;
            base = (0..dtype.row_bytes(rows * cols).unwrap_or(0)).map(|i| byte(i) as u8).collect();
        }
        let (base, tuned) = (Rows::new(dtype, &base), Rows::new(tuned_dtype, &tuned));
        for kernel in Kernel::available() {
            for width in [8, 16] {
                let options = Options {
                    rank: 32,
                    mode: Mode::MultiRead,
                    width,
                    tolerance: 0.0,
                    max_reads: READS,
                    ..Options::default()
                };
                let plan = Plan::new(shape, &options)?.with_kernel(kernel);
                let mut scratch = vec![0.0; plan.scratch_len()];
                let mut best = f64::INFINITY;
                for _ in 0..5 {
                    let mut extractor = plan.start(&mut scratch)?;
                    // The first read also measures, the last one computes one product only.
                    for read in 0..READS - 1 {
                        let start = Instant::now();
                        extractor.push(base, tuned)?;
                        if read > 0 {
                            best = best.min(start.elapsed().as_secs_f64());
                        }
                        extractor.end_pass()?;
                    }
                }
                let flop = 4.0 * width as f64 * rows as f64 * cols as f64;
                println!(
                    "{}",
                    json!({ "dtype": name, "kernel": kernel.name(), "width": width,
                            "gflops": flop / best / 1e9 })
                );
            }
        }
    }
    Ok(())
}
