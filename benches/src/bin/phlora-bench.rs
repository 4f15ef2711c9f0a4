//! Measurements that a comparison with peers needs from phlora's side, as lines of JSON on standard output.

use std::{
    fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Parser, Subcommand, ValueEnum};
use phlora_benches::{
    apply,
    model::Sizes,
    weights::{Spectrum, Weights},
};
use phlora_checkpoint::{ExtractOptions, Model, Monitor, Policy};
use phlora_core::{
    Dtype, Kernel, Mode, Options, Plan, Rows, Shape, Sweeps, gram_svd, gram_svd_scratch, jacobi_svd,
};
use serde_json::json;

#[derive(Parser)]
#[command(about = "Measurements for the comparison with peers, as lines of JSON")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The fused product on one core: GFLOP/s per kernel, width and format.
    Kernel {
        #[arg(long, default_value_t = 2048)]
        rows: usize,
        #[arg(long, default_value_t = 2048)]
        cols: usize,
    },
    /// One-sided Jacobi of a matrix of f32, written by columns.
    Svd { file: PathBuf, rows: usize, cols: usize },
    /// Singular values and leading vectors from a Gram matrix of f32.
    Gram { file: PathBuf, size: usize, vectors: usize },
    /// One matrix: from mapped safetensors files to factors in memory.
    Extract {
        base: PathBuf,
        tuned: PathBuf,
        #[arg(long)]
        rank: usize,
        #[arg(long, default_value_t = 2)]
        threads: usize,
        #[arg(long, default_value_t = 5)]
        runs: usize,
        #[arg(long, default_value_t = Options::default().tolerance)]
        tolerance: f64,
    },
    /// Writes a generated pair in the shape of a Llama model.
    Generate {
        directory: PathBuf,
        #[arg(long, default_value_t = 22)]
        layers: usize,
        #[arg(long, default_value_t = 2048)]
        hidden: usize,
        #[arg(long, default_value_t = 5632)]
        ffn: usize,
        #[arg(long, default_value_t = 256)]
        kv: usize,
        #[arg(long, default_value_t = 32000)]
        vocab: usize,
        /// Seed of spectra that differ from layer to layer
        #[arg(long, default_value_t = 0)]
        uneven: u64,
    },
    /// A budget by energy against one rank for all in f16 and in q8_0, in the same bytes, as a Markdown table.
    Budget {
        base: PathBuf,
        tuned: PathBuf,
        #[arg(long, value_delimiter = ',', default_value = "4,8,16,32")]
        ranks: Vec<usize>,
        /// Where adapters are written for a moment
        #[arg(long, default_value = ".")]
        directory: PathBuf,
    },
    /// Reads and kept energy per spectrum, shape, mode and width, as a Markdown table.
    Spectra {
        #[arg(long, default_value_t = 32)]
        rank: usize,
        #[arg(long, default_value_t = 1024)]
        size: usize,
    },
    /// Adapters at work: forward against reading, routed against separate batches, merge against copying.
    Apply {
        /// Sizes in MiB that fill a level of the memory each: second-level cache, last-level cache, memory.
        #[arg(long, value_delimiter = ',', default_value = "1,16,1024")]
        levels: Vec<usize>,
        #[arg(long, default_value_t = 15)]
        runs: usize,
    },
    /// Writes one generated matrix `w.weight` as a pair of safetensors files.
    Matrix { directory: PathBuf, rows: usize, cols: usize, spectrum: Decay },
    /// faer's whole decomposition of a square matrix of f32.
    #[cfg(feature = "peers")]
    Faer {
        file: PathBuf,
        size: usize,
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
}

/// Names of the generated spectra.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Decay {
    Fast,
    Middle,
    Slow,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Arguments::parse().command {
        Command::Kernel { rows, cols } => kernels(rows, cols)?,
        Command::Svd { file, rows, cols } => svd(&file, rows, cols)?,
        Command::Gram { file, size, vectors } => gram(&file, size, vectors)?,
        Command::Extract { base, tuned, rank, threads, runs, tolerance } => {
            let threads = NonZeroUsize::new(threads).ok_or("threads is 0")?;
            extract(
                &base,
                &tuned,
                &ExtractOptions { policy: Policy::fixed(rank), threads, tolerance, ..Default::default() },
                runs,
            )?;
        }
        Command::Generate { directory, layers, hidden, ffn, kv, vocab, uneven } => {
            let parameters = Sizes { layers, hidden, ffn, kv, vocab, uneven }.write(&directory)?;
            println!("{}", json!({ "parameters": parameters }));
        }
        Command::Budget { base, tuned, ranks, directory } => budget(&base, &tuned, &ranks, &directory)?,
        Command::Spectra { rank, size } => spectra(rank, size)?,
        Command::Apply { levels, runs } => {
            let kernel = Kernel::detect();
            let factors =
                [(Dtype::F16, 16), (Dtype::F16, 8), (Dtype::F16, 64), (Dtype::Bf16, 16), (Dtype::Q8_0, 64)];
            for (dtype, rank) in factors {
                for &mebibytes in &levels {
                    println!("{}", apply::forward(kernel, dtype, rank, mebibytes, runs)?);
                }
            }
            for (dtype, rank) in factors {
                for tokens in [2, 4, 8, 16, 64] {
                    println!("{}", apply::together(kernel, dtype, rank, tokens, runs)?);
                }
            }
            for layers in [1, 32] {
                println!("{}", apply::route(kernel, layers, runs.min(100 / layers + 2))?);
            }
            for dtype in [Dtype::F16, Dtype::Bf16, Dtype::F32, Dtype::Q8_0] {
                println!("{}", apply::merge(kernel, dtype, runs)?);
            }
        }
        Command::Matrix { directory, rows, cols, spectrum } => {
            let spectrum = match spectrum {
                Decay::Fast => Spectrum::FAST,
                Decay::Middle => Spectrum::MIDDLE,
                Decay::Slow => Spectrum::SLOW,
            };
            matrix(&directory, rows, cols, spectrum)?;
        }
        #[cfg(feature = "peers")]
        Command::Faer { file, size, threads } => faer(&file, size, threads)?,
    }
    Ok(())
}

fn kernels(rows: usize, cols: usize) -> Result<(), phlora_core::Error> {
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

fn floats(file: &Path) -> io::Result<Vec<f32>> {
    Ok(fs::read(file)?.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}

#[cfg(feature = "peers")]
fn faer(file: &Path, size: usize, threads: usize) -> Result<(), Box<dyn std::error::Error>> {
    faer::set_global_parallelism(if threads > 1 { faer::Par::rayon(threads) } else { faer::Par::Seq });
    let values = floats(file)?;
    let matrix = faer::Mat::from_fn(size, size, |i, j| values[i * size + j]);
    for _ in 0..2 {
        let start = Instant::now();
        let svd = matrix.thin_svd().map_err(|error| format!("{error:?}"))?;
        println!("{}", json!({ "seconds": start.elapsed().as_secs_f64(), "largest": svd.S()[0] }));
    }
    Ok(())
}

fn svd(file: &Path, rows: usize, cols: usize) -> Result<(), Box<dyn std::error::Error>> {
    let values = floats(file)?;
    for _ in 0..5 {
        let (mut a, mut sigma, mut v) = (values.clone(), vec![0.0; cols], vec![0.0; cols * cols]);
        let start = Instant::now();
        let svd = jacobi_svd(Kernel::detect(), rows, &mut a, &mut sigma, Some(&mut v), Sweeps::default())?;
        println!("{}", json!({ "seconds": start.elapsed().as_secs_f64(), "sweeps": svd.sweeps }));
    }
    Ok(())
}

fn gram(file: &Path, size: usize, count: usize) -> Result<(), Box<dyn std::error::Error>> {
    let values = floats(file)?;
    let (mut vectors, mut sigma) = (vec![0.0; size * count], vec![0.0; size]);
    let mut scratch = vec![0.0; gram_svd_scratch(size).count()?];
    for _ in 0..20 {
        let start = Instant::now();
        gram_svd(Kernel::detect(), &values, size, &mut vectors, &mut sigma, &mut scratch)?;
        println!("{}", json!({ "seconds": start.elapsed().as_secs_f64(), "largest": sigma[0] }));
    }
    Ok(())
}

fn extract(
    base: &Path,
    tuned: &Path,
    options: &ExtractOptions,
    runs: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let (base, tuned) = (Model::open(base)?, Model::open(tuned)?);
    for _ in 0..runs {
        let start = Instant::now();
        let extraction = phlora_checkpoint::extract(&base, &tuned, options, &Monitor::default())?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{}", json!({ "seconds": seconds, "energy": extraction.total().energy }));
    }
    Ok(())
}

/// One extraction in f32: the reads, and Σσ².
fn keep(shape: Shape, sides: &[Vec<u8>; 2], options: &Options) -> Result<(u32, f64), phlora_core::Error> {
    let plan = Plan::new(shape, options)?;
    let mut scratch = vec![0.0; plan.scratch_len()];
    let mut extractor = plan.start(&mut scratch)?;
    let [base, tuned] = sides.each_ref().map(|bytes| Rows::new(Dtype::F32, bytes));
    while extractor.wants_pass() {
        extractor.push(base, tuned)?;
        extractor.end_pass()?;
    }
    let (rank, mut sigma) = (plan.rank(), vec![0.0; plan.rank()]);
    let (mut a, mut b) = (vec![0.0; rank * shape.cols], vec![0.0; shape.rows * rank]);
    let report = extractor.finish(&mut a, &mut b, &mut sigma)?;
    Ok((report.reads, report.kept))
}

fn budget(
    base: &Path,
    tuned: &Path,
    ranks: &[usize],
    directory: &Path,
) -> Result<(), phlora_checkpoint::Error> {
    println!("| rank | bytes | uniform f16 | uniform q8_0 | budget by energy | of it used |");
    println!("|---|---|---|---|---|---|");
    for row in phlora_benches::budget::compare(base, tuned, ranks, directory)? {
        println!(
            "| {} | {} | {:.4} | {:.4} at rank {} | {:.4} in {} | {} |",
            row.rank,
            row.bytes,
            row.f16,
            row.q8_0.0,
            row.q8_0.1,
            row.budget,
            row.dtype.name(),
            row.used
        );
    }
    Ok(())
}

fn spectra(rank: usize, size: usize) -> Result<(), phlora_core::Error> {
    let multi = |width| Options { rank, width, mode: Mode::MultiRead, ..Options::default() };
    let stream = |max_reads| Options { rank, max_reads, mode: Mode::StreamOnce, ..Options::default() };
    println!("| spectrum | shape | width 8 | width 16 | stream once, 1 read | 2 reads |");
    println!("|---|---|---|---|---|---|");
    for (name, spectrum) in [
        ("fast decay", Spectrum::FAST),
        ("middle", Spectrum::MIDDLE),
        ("slow decay", Spectrum::SLOW),
        ("flat bulk", Spectrum::FLAT),
        ("exactly rank 20", Spectrum::LOW_RANK),
        ("rank 200", Spectrum::DEFICIENT),
        ("one huge direction", Spectrum::HUGE),
    ] {
        for (rows, cols) in [(size, size), (4 * size, 64), (64, 4 * size), (size / 2, 3 * size / 2)] {
            let shape = Shape { rows, cols };
            let sides = Weights::new(rows, cols, 1, spectrum).pair(rows, Dtype::F32);
            let exact = Options { rank, mode: Mode::Exact, ..Options::default() };
            let (_, best) = keep(shape, &sides, &exact)?;
            let mut line = format!("| {name} | {rows} × {cols} |");
            for options in [multi(8), multi(16), stream(1), stream(2)] {
                let (reads, kept) = keep(shape, &sides, &options)?;
                let reads = if options.mode == Mode::MultiRead {
                    format!(" in {reads} reads")
                } else {
                    String::new()
                };
                line = format!("{line} {:.4}{reads} |", kept / best);
            }
            println!("{line}");
        }
    }
    Ok(())
}

fn matrix(directory: &Path, rows: usize, cols: usize, spectrum: Spectrum) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let sides = Weights::new(rows, cols, 1, spectrum).pair(rows, Dtype::Bf16);
    for (name, bytes) in ["base.safetensors", "tuned.safetensors"].iter().zip(&sides) {
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, vec![rows, cols], bytes)
            .map_err(io::Error::other)?;
        safetensors::serialize_to_file([("w.weight", view)], None, &directory.join(name))
            .map_err(io::Error::other)?;
    }
    Ok(())
}
