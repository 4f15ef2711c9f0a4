//! Every linear layer of the real fine-tuned pair, against the exact truncated SVD in f64.

use nalgebra::DMatrix;
use phlora_core::{Dtype, Mode, Options, Rows, Shape, decode};
use phlora_tests::{drive::Pair, matrix::singular_values, tolerance};
use safetensors::SafeTensors;

/// The 28 projections: name and both sides.
fn projections() -> Vec<(String, Pair)> {
    let read = |side: &str| {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/data/tiny-llama");
        std::fs::read(format!("{root}/{side}/model.safetensors")).expect("the pair is part of the repository")
    };
    let (base, tuned) = (read("base"), read("tuned"));
    let (base, tuned) = (SafeTensors::deserialize(&base).unwrap(), SafeTensors::deserialize(&tuned).unwrap());
    let mut names: Vec<_> = base.names().into_iter().filter(|name| name.contains("_proj.")).collect();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let (base, tuned) = (base.tensor(name).unwrap(), tuned.tensor(name).unwrap());
            let shape = Shape { rows: base.shape()[0], cols: base.shape()[1] };
            let [base, tuned] = [base, tuned].map(|view| view.data().to_vec());
            (name.to_owned(), Pair { shape, dtypes: [Dtype::Bf16; 2], base, tuned })
        })
        .collect()
}

fn delta(pair: &Pair) -> DMatrix<f64> {
    let Shape { rows, cols } = pair.shape;
    let values = |bytes: &[u8]| {
        let mut out = vec![0.0; rows * cols];
        decode(Rows::new(pair.dtypes[0], bytes), &mut out).unwrap();
        out
    };
    let (base, tuned) = (values(&pair.base), values(&pair.tuned));
    DMatrix::from_fn(rows, cols, |i, j| f64::from(tuned[i * cols + j]) - f64::from(base[i * cols + j]))
}

#[test]
fn energy_of_every_module_is_near_the_optimum() {
    let projections = projections();
    assert_eq!(projections.len(), 28);
    let mut total = [0.0; 3];
    let mut norm = 0.0;
    for (name, pair) in &projections {
        let spectrum = singular_values(&delta(pair));
        let all: f64 = spectrum.iter().map(|s| s * s).sum();
        norm += all;
        for (total, rank) in total.iter_mut().zip([4, 16, 64]) {
            let best = spectrum.iter().take(rank).map(|s| s * s).sum::<f64>() / all;
            *total += best * all;
            for (mode, max_reads, share) in [
                (Mode::Auto, 32, tolerance::MULTI_READ),
                (Mode::MultiRead, 32, tolerance::MULTI_READ),
                (Mode::StreamOnce, 1, tolerance::STREAM_ONCE),
                (Mode::StreamOnce, 2, tolerance::STREAM_ONCE),
                (Mode::Exact, 1, 1.0 - 1e-6),
            ] {
                let options = Options { rank, mode, max_reads, ..Options::default() };
                let report = pair.extract(&options).unwrap().report;
                let reached = report.energy() / best;
                assert!(reached >= share, "{name}, rank {rank}, {mode:?}: {reached}, {report:?}");
                assert!(reached <= 1.0 + 1e-5, "{name}, rank {rank}, {mode:?}: {reached} is too good");
            }
        }
    }
    // What the pair's README says of the exact decomposition.
    for (total, expected) in total.iter().zip([0.2834, 0.6131, 0.9419]) {
        assert!((total / norm - expected).abs() < 1e-3, "{} against {expected}", total / norm);
    }
}
