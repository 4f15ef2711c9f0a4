//! The inner loops, each alone: `cargo bench -p phlora-benches --bench kernels`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use phlora_benches::weights::{Spectrum, Weights};
use phlora_core::{Delta, Dtype, Kernel, Rows, kernel::Strided};

const COLS: usize = 4096;
const ROWS: usize = 24;

fn product(c: &mut Criterion) {
    let a = vec![0.5; ROWS * COLS];
    let x = vec![0.25; COLS * 16];
    let mut group = c.benchmark_group("product of 24×4096 and 4096×W");
    for kernel in Kernel::available() {
        group.throughput(Throughput::Elements((2 * ROWS * COLS * 16) as u64));
        group.bench_function(BenchmarkId::new("W=16", kernel.name()), |b| {
            let mut y = vec![0.0; ROWS * 16];
            b.iter(|| kernel.product::<16>(Strided::row_major(&a, COLS), ROWS, COLS, &x, &mut y));
        });
        group.throughput(Throughput::Elements((2 * ROWS * COLS * 8) as u64));
        group.bench_function(BenchmarkId::new("W=8", kernel.name()), |b| {
            let mut y = vec![0.0; ROWS * 8];
            b.iter(|| kernel.product::<8>(Strided::row_major(&a, COLS), ROWS, COLS, &x, &mut y));
        });
    }
    group.finish();
}

fn storage(c: &mut Criterion) {
    let mut group = c.benchmark_group("difference of a row of 4096");
    group.throughput(Throughput::Elements(COLS as u64));
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        let [base, tuned] = Weights::new(1, COLS, 3, Spectrum::MIDDLE).pair(1, dtype);
        for kernel in Kernel::available() {
            group.bench_function(BenchmarkId::new(dtype.name(), kernel.name()), |b| {
                let mut out = vec![0.0; COLS];
                b.iter(|| kernel.difference(Rows::new(dtype, &base), Rows::new(dtype, &tuned), &mut out));
            });
        }
    }
    group.finish();
}

fn vectors(c: &mut Criterion) {
    let (mut x, mut y) = (vec![0.5_f32; 256], vec![0.25_f32; 256]);
    let mut group = c.benchmark_group("vectors of 256");
    group.throughput(Throughput::Elements(256));
    for kernel in Kernel::available() {
        group.bench_function(BenchmarkId::new("dot", kernel.name()), |b| b.iter(|| kernel.dot(&x, &y)));
        group.bench_function(BenchmarkId::new("rotate", kernel.name()), |b| {
            b.iter(|| kernel.rotate(&mut x, &mut y, 0.8, 0.6));
        });
        group.bench_function(BenchmarkId::new("measure", kernel.name()), |b| {
            let mut delta = Delta::default();
            b.iter(|| kernel.measure(&x, 0, &mut delta));
        });
    }
    group.finish();
}

criterion_group!(benches, product, storage, vectors);
criterion_main!(benches);
