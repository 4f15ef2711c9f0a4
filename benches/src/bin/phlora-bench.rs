//! Measurements that a comparison with peers needs from phlora's side, as lines of JSON on standard output.

use std::{
    fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Instant,
};

use clap::{Parser, Subcommand, ValueEnum};
use phlora::{ExtractOptions, Model, Monitor, Policy};
use phlora_benches::{
    apply,
    model::Sizes,
    product, spectra,
    weights::{Spectrum, Weights},
};
use phlora_core::{Dtype, Kernel, Options, Sweeps, gram_svd, gram_svd_scratch, jacobi_svd};
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
    /// A budget by energy against one rank for all in f16 and in q8_0, in the same bytes.
    Budget {
        base: PathBuf,
        tuned: PathBuf,
        #[arg(long, value_delimiter = ',', default_value = "4,8,16,32")]
        ranks: Vec<usize>,
        /// Where adapters are written for a moment
        #[arg(long, default_value = ".")]
        directory: PathBuf,
    },
    /// Reads and kept energy per spectrum, shape, mode and width.
    Spectra {
        #[arg(long, default_value_t = 32)]
        rank: usize,
        #[arg(long, default_value_t = 1024)]
        size: usize,
    },
    /// Applying and merging adapters: forward against reading, routed against separate batches, merge against copying.
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
        Command::Kernel { rows, cols } => product::measure(rows, cols)?,
        Command::Svd { file, rows, cols } => svd(&file, rows, cols)?,
        Command::Gram { file, size, vectors } => gram(&file, size, vectors)?,
        Command::Extract { base, tuned, rank, threads, runs, tolerance } => {
            let threads = NonZeroUsize::new(threads).ok_or("threads is 0")?;
            let mut options = ExtractOptions::default();
            options.policy = Policy::fixed(rank);
            options.threads = threads;
            options.tolerance = tolerance;
            extract(&base, &tuned, &options, runs)?;
        }
        Command::Generate { directory, layers, hidden, ffn, kv, vocab, uneven } => {
            let parameters = Sizes { layers, hidden, ffn, kv, vocab, uneven }.write(&directory)?;
            println!("{}", json!({ "parameters": parameters }));
        }
        Command::Budget { base, tuned, ranks, directory } => budget(&base, &tuned, &ranks, &directory)?,
        Command::Spectra { rank, size } => spectra::measure(rank, size)?,
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
        let extraction = phlora::extract(&base, &tuned, options, &Monitor::default())?;
        let seconds = start.elapsed().as_secs_f64();
        println!("{}", json!({ "seconds": seconds, "energy": extraction.total().energy }));
    }
    Ok(())
}

fn budget(base: &Path, tuned: &Path, ranks: &[usize], directory: &Path) -> Result<(), phlora::Error> {
    for row in phlora_benches::budget::compare(base, tuned, ranks, directory)? {
        println!(
            "{}",
            json!({ "rank": row.rank, "bytes": row.bytes, "f16": row.f16, "q8_0": row.q8_0.0, "q8_0_rank": row.q8_0.1,
                    "budget": row.budget, "budget_dtype": row.dtype.name(), "used": row.used })
        );
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
