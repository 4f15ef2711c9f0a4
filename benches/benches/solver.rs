//! The solvers on one core: `cargo bench -p phlora-benches --bench solver`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use phlora_benches::weights::{Spectrum, Weights};
use phlora_core::{
    Dtype, Kernel, Mode, Options, Plan, Rows, Shape, Sweeps, gram_svd, gram_svd_scratch, jacobi_svd,
};

fn modes(c: &mut Criterion) {
    let shape = Shape { rows: 1024, cols: 1024 };
    let [base, tuned] =
        Weights::new(shape.rows, shape.cols, 5, Spectrum::MIDDLE).pair(shape.rows, Dtype::Bf16);
    let mut group = c.benchmark_group("1024×1024 bf16, rank 32");
    group.sample_size(10);
    for (mode, width) in [(Mode::MultiRead, 8), (Mode::MultiRead, 16), (Mode::StreamOnce, 0)] {
        let plan = Plan::new(shape, &Options { mode, width, ..Options::default() }).expect("valid");
        let mut scratch = vec![0.0; plan.scratch_len()];
        let (mut a, mut b, mut sigma) = (vec![0.0; 32 * 1024], vec![0.0; 32 * 1024], vec![0.0; 32]);
        group.bench_function(BenchmarkId::new(format!("{mode:?}"), width), |bench| {
            bench.iter(|| {
                let mut extractor = plan.start(&mut scratch).expect("scratch fits");
                while extractor.wants_pass() {
                    let rows = |bytes| Rows::new(Dtype::Bf16, bytes);
                    extractor.push(rows(&base), rows(&tuned)).expect("whole rows");
                    extractor.end_pass().expect("finite");
                }
                black_box(extractor.finish(&mut a, &mut b, &mut sigma).expect("done"))
            });
        });
    }
    group.finish();
}

/// The rows of a square matrix of tuned weights.
fn square(size: usize) -> Vec<f32> {
    let weights = Weights::new(size, size, 9, Spectrum::MIDDLE);
    let (mut values, mut base) = (vec![0.0; size * size], vec![0.0; size]);
    for (i, row) in values.chunks_exact_mut(size).enumerate() {
        weights.row(i, size, &mut base, row);
    }
    values
}

fn jacobi(c: &mut Criterion) {
    let mut group = c.benchmark_group("one-sided Jacobi");
    group.sample_size(10);
    for size in [64, 256] {
        let values = square(size);
        group.bench_function(BenchmarkId::new("square", size), |b| {
            let (mut a, mut sigma, mut v) = (values.clone(), vec![0.0; size], vec![0.0; size * size]);
            b.iter(|| {
                a.copy_from_slice(&values);
                jacobi_svd(Kernel::detect(), size, &mut a, &mut sigma, Some(&mut v), Sweeps::default())
                    .expect("finite")
            });
        });
    }
    group.finish();
}

fn gram(c: &mut Criterion) {
    let mut group = c.benchmark_group("Gram matrix");
    group.sample_size(10);
    for (size, vectors) in [(96, 32), (448, 128)] {
        let y = square(size);
        // The Gram matrix of the rows.
        let rows = || y.chunks_exact(size);
        let dot = |(row, other): (&[f32], &[f32])| row.iter().zip(other).map(|(a, b)| a * b).sum();
        let gram: Vec<f32> = rows().flat_map(|row| rows().map(move |other| (row, other))).map(dot).collect();
        group.bench_function(BenchmarkId::new("vectors of", size), |b| {
            let (mut w, mut sigma) = (vec![0.0; size * vectors], vec![0.0; size]);
            let mut scratch = vec![0.0; gram_svd_scratch(size).count().expect("small")];
            b.iter(|| {
                gram_svd(Kernel::detect(), &gram, size, &mut w, &mut sigma, &mut scratch).expect("finite")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, modes, jacobi, gram);
criterion_main!(benches);
