//! Peak heap, measured: threads × scratch plus the adapter, whatever the size of the model.
//!
//! A test binary of its own, since the counting allocator sees every thread of the process.
#![allow(missing_docs)]

mod common;

use common::counting::{Counting, peak_of};
use common::write_model;
use phlora_checkpoint::{ExtractOptions, Mode, Model, Monitor, Output, Policy, extract, save};
use std::num::NonZeroUsize;
use std::path::Path;

/// The write buffer of a file, 1 MiB, then headers, names and bookkeeping.
const CONSTANT: usize = (1 << 20) + (256 << 10);

#[global_allocator]
static COUNTING: Counting = Counting;

/// Extracts `layers` layers and gives the peak heap and the bound.
fn peak(root: &Path, layers: usize, side: usize, threads: usize, scratch: usize) -> (usize, usize) {
    let paths = ["base", "tuned"].map(|name| root.join(format!("{name}-{layers}.safetensors")));
    for (path, seed) in paths.iter().zip([11, 77]) {
        write_model(path, layers, side, seed);
    }
    let options = ExtractOptions {
        policy: Policy::fixed(8),
        mode: Mode::MultiRead,
        threads: NonZeroUsize::new(threads).unwrap(),
        scratch: Some(scratch),
        ..ExtractOptions::default()
    };
    let monitor = Monitor::default();
    let output = Output { directory: root.join(format!("out-{layers}")), report: None, force: false };
    let (peak, adapter) = peak_of(|| {
        let (base, tuned) = (Model::open(&paths[0]).unwrap(), Model::open(&paths[1]).unwrap());
        let extraction = extract(&base, &tuned, &options, &monitor).unwrap();
        let report = save(&extraction, &output, &monitor).unwrap();
        assert_eq!(report.modules.len(), layers);
        usize::try_from(report.bytes_out).unwrap()
    });
    (peak, threads * scratch + adapter + CONSTANT)
}

#[test]
fn peak_heap_follows_scratch_and_adapter_not_the_model() {
    let root = tempfile::tempdir().unwrap();
    let (side, scratch) = (1024, 1 << 20);
    // 2 × 8 MiB and 2 × 64 MiB of weights.
    for (layers, threads) in [(4, 2), (32, 2)] {
        let (peak, bound) = peak(root.path(), layers, side, threads, scratch);
        let model = 2 * layers * 2 * side * side;
        println!("{model} bytes of weights, {threads} threads: peak heap {peak}, bound {bound}");
        assert!(peak <= bound, "{layers} layers: peak heap {peak}, bound {bound}");
    }
}
