//! The inner loops, each alone: `cargo bench -p phlora-benches --bench kernels`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use phlora_benches::weights::{Spectrum, Weights};
use phlora_core::{
    Delta, Dtype, Kernel, Rows,
    operations::{LANES, Lines, Operations, Prefetch, STRIP_ROWS, SUM_COLUMNS, Strip, StripMut},
};

const COLS: usize = 4096;

/// Both products of a strip with a packed panel of width `W`.
fn products<const W: usize>(c: &mut Criterion) {
    let mut group = c.benchmark_group(format!("{STRIP_ROWS}×{COLS} times a block of {W}"));
    group.throughput(Throughput::Elements((2 * STRIP_ROWS * COLS * W) as u64));
    let (mut data, x, mut y) =
        (vec![0.5; STRIP_ROWS * COLS], vec![0.25; COLS * W], vec![0.125; STRIP_ROWS * LANES]);
    for kernel in Kernel::available() {
        group.bench_function(BenchmarkId::new("forward", kernel.name()), |b| {
            let strip = Strip { data: &data, rows: STRIP_ROWS, cols: COLS };
            b.iter(|| kernel.forward::<W>(strip, &x, &mut y, &mut Prefetch::default()).unwrap());
        });
        let sides = [5, 6].map(|seed| {
            Weights::new(STRIP_ROWS, COLS, seed, Spectrum::MIDDLE).pair(STRIP_ROWS, Dtype::Bf16)[0].clone()
        });
        group.bench_function(BenchmarkId::new("forward from bf16", kernel.name()), |b| {
            b.iter(|| {
                let strip = StripMut { data: &mut data, rows: STRIP_ROWS, cols: COLS };
                let lines = sides.each_ref().map(|bytes| Lines { dtype: Dtype::Bf16, bytes, row: 2 * COLS });
                kernel.difference_forward::<W>(lines, strip, &x, &mut y, &mut Prefetch::default()).unwrap();
            });
        });
        group.bench_function(BenchmarkId::new("backward", kernel.name()), |b| {
            let (strip, mut z) = (Strip { data: &data, rows: STRIP_ROWS, cols: COLS }, vec![0.0; COLS * W]);
            b.iter(|| kernel.backward::<W>(strip, &y, &mut z, &mut Prefetch::default()).unwrap());
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

/// Block formats, a piece at a time.
fn blocks(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode 256 of");
    group.throughput(Throughput::Elements(SUM_COLUMNS as u64));
    for dtype in Dtype::ALL.iter().copied().filter(|dtype| dtype.is_block()) {
        let bytes: Vec<u8> =
            (0..dtype.row_bytes(SUM_COLUMNS).unwrap_or(0)).map(|i| (i * 37 % 64) as u8).collect();
        for kernel in Kernel::available() {
            group.bench_function(BenchmarkId::new(dtype.name(), kernel.name()), |b| {
                let mut out = vec![0.0; SUM_COLUMNS];
                b.iter(|| kernel.decode(Rows::new(dtype, &bytes), &mut out));
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

criterion_group!(benches, blocks, products::<8>, products::<16>, storage, vectors);
criterion_main!(benches);
