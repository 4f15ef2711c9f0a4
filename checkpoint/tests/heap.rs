//! Peak heap, measured: threads × scratch plus the adapter, whatever the size of the model.
//!
//! A test binary of its own, since the counting allocator sees every thread of the process.
#![allow(missing_docs)]

mod common;

use common::counting::{Counting, peak_of};
use common::llama::{Llama, noise};
use common::write_model;
use phlora::{ExtractOptions, Mode, Model, Monitor, Output, Policy, extract, save};
use phlora_core::{Dtype, Goal};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The write buffer of a file, 1 MiB, then headers, names and bookkeeping.
const CONSTANT: usize = (1 << 20) + (256 << 10);

/// One test at a time, or one would count the other's memory.
static ALONE: Mutex<()> = Mutex::new(());

#[global_allocator]
static COUNTING: Counting = Counting;

/// Extracts `layers` layers and gives the peak heap and the bound.
fn peak(root: &Path, layers: usize, side: usize, threads: usize, scratch: usize) -> (usize, usize) {
    let paths = ["base", "tuned"].map(|name| root.join(format!("{name}-{layers}.safetensors")));
    for (path, seed) in paths.iter().zip([11, 77]) {
        write_model(path, layers, side, seed);
    }
    let mut options = ExtractOptions::default();
    options.policy = Policy::fixed(8);
    options.mode = Mode::MultiRead;
    options.threads = NonZeroUsize::new(threads).unwrap();
    options.scratch = Some(scratch);
    let monitor = Monitor::default();
    let output = Output::new(root.join(format!("out-{layers}")));
    let (peak, adapter) = peak_of(|| {
        let (base, tuned) = (Model::open(&paths[0]).unwrap(), Model::open(&paths[1]).unwrap());
        let extraction = extract(&base, &tuned, &options, &monitor).unwrap();
        let report = save(&extraction, &output, &monitor).unwrap();
        assert_eq!(report.modules.len(), layers);
        usize::try_from(report.bytes_out).unwrap()
    });
    (peak, threads * scratch + adapter + CONSTANT)
}

/// Rows that GGUF has in another order are gathered in 1 MiB per thread.
#[test]
fn gathered_rows_take_little() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = tempfile::tempdir().unwrap();
    let query = |seed| {
        let weight = (vec![2048, 2048], noise(seed, 2048 * 2048));
        Llama([("model.layers.0.self_attn.q_proj.weight".to_owned(), weight)].into())
    };
    let (base, tuned) = (query(1), query(2));
    let base_path = base.write_checkpoint(&root.path().join("base"), "llama");
    let tuned_path = tuned.write_gguf(&root.path().join("tuned.gguf"), Dtype::F16);
    drop((base, tuned));
    let threads = 2;
    let mut options = ExtractOptions::default();
    options.policy = Policy::fixed(8);
    options.mode = Mode::MultiRead;
    options.threads = NonZeroUsize::new(threads).unwrap();
    options.scratch = Some(2 << 20);
    let (peak, rank) = peak_of(|| {
        let (base, tuned) = (Model::open(&base_path).unwrap(), Model::open(&tuned_path).unwrap());
        extract(&base, &tuned, &options, &Monitor::default()).unwrap().rank()
    });
    let bound = threads * ((2 << 20) + (1 << 20)) + 2 * 2048 * rank * 2 + (256 << 10);
    assert!(peak <= bound, "peak heap {peak}, bound {bound}");
}

#[test]
fn peak_heap_follows_scratch_and_adapter_not_the_model() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
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

/// A goal that needs larger ranks than were tried first takes fewer threads, not more memory.
#[test]
fn larger_ranks_stay_within_all_memory() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = tempfile::tempdir().unwrap();
    let paths = ["base", "tuned"].map(|name| root.path().join(format!("{name}.safetensors")));
    for (path, seed) in paths.iter().zip([11, 77]) {
        write_model(path, 4, 1024, seed);
    }
    let memory = 16 << 20;
    let mut options = ExtractOptions::default();
    options.policy = Policy { goal: Goal::Energy(0.98), max_rank: 256, ..Policy::default() };
    options.mode = Mode::MultiRead;
    options.threads = NonZeroUsize::new(4).unwrap();
    options.memory = Some(memory);
    let (peak, rank) = peak_of(|| {
        let (base, tuned) = (Model::open(&paths[0]).unwrap(), Model::open(&paths[1]).unwrap());
        extract(&base, &tuned, &options, &Monitor::default()).unwrap().rank()
    });
    assert_eq!(rank, 256);
    let bound = memory + 4 * 2 * 1024 * rank * 2 + CONSTANT;
    assert!(peak <= bound, "peak heap {peak}, bound {bound}");
}
