//! The driver: the same bits however the work is cut, and a cancel that leaves nothing.
#![allow(missing_docs)]

mod common;

use common::write_model;
use phlora::{Error, ExtractOptions, Extraction, Model, Monitor, Output, Policy, extract, save};
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

fn pair(root: &Path, layers: usize, side: usize) -> (Model, Model) {
    let open = |name: &str, seed| {
        let path = root.join(name);
        write_model(&path, layers, side, seed);
        Model::open(&path).unwrap()
    };
    (open("base.safetensors", 5), open("tuned.safetensors", 6))
}

fn written(extraction: &Extraction, directory: &Path) -> Vec<u8> {
    let output = Output::new(directory.to_owned()).force(true);
    save(extraction, &output, &Monitor::default()).unwrap();
    fs::read(directory.join("adapter_model.safetensors")).unwrap()
}

#[test]
fn threads_and_blocks_do_not_change_a_bit() {
    let root = tempfile::tempdir().unwrap();
    // Large enough for parts, and fewer layers than threads, so that idle ones take some.
    let (base, tuned) = pair(root.path(), 2, 1024);
    let mut first = None;
    for (threads, chunk_bytes) in [(1, 1 << 20), (5, 1 << 20), (2, 1), (3, 10_000), (1, usize::MAX)] {
        let mut options = ExtractOptions::default();
        options.policy = Policy::fixed(8);
        options.threads = NonZeroUsize::new(threads).unwrap();
        options.chunk_bytes = chunk_bytes;
        let extraction = extract(&base, &tuned, &options, &Monitor::default()).unwrap();
        let bytes = written(&extraction, &root.path().join("out"));
        let first = first.get_or_insert_with(|| bytes.clone());
        assert!(*first == bytes, "{threads} threads, chunks of {chunk_bytes} bytes");
    }
}

#[test]
fn a_cancelled_job_writes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = pair(root.path(), 2, 64);
    let monitor = Monitor::default();
    let extraction = extract(&base, &tuned, &ExtractOptions::default(), &monitor).unwrap();
    assert_eq!(monitor.done(), monitor.total());
    assert!(monitor.cancel());
    assert!(matches!(extract(&base, &tuned, &ExtractOptions::default(), &monitor), Err(Error::Cancelled)));
    let output = Output::new(root.path().join("out"));
    assert!(matches!(output.check(phlora::AdapterFormat::Peft, &monitor), Err(Error::Cancelled)));
    assert!(matches!(save(&extraction, &output, &monitor), Err(Error::Cancelled)));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}
