//! Heap that JSON takes: what nobody asks for is passed over, never kept as values, which take up to thirty times its text.
//!
//! A test binary of its own, since the counting allocator sees every thread of the process.
#![allow(missing_docs)]

mod common;

use common::counting::{Counting, peak_of};
use phlora::{Adapter, Model, read_report};
use std::fs;
use std::path::Path;

#[global_allocator]
static COUNTING: Counting = Counting;

const TENSOR: &str = r#"{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]"#;

/// The heap that `open` takes of a file for each of its bytes.
fn share(path: &Path, text: &[u8], open: impl FnOnce(&Path)) -> f64 {
    fs::write(path, text).unwrap();
    let (peak, ()) = peak_of(|| open(path));
    peak as f64 / text.len() as f64
}

/// A safetensors file of one F32 number.
fn safetensors(header: &str) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 4]].concat()
}

#[test]
fn what_is_passed_over_takes_no_more_than_its_text() {
    let root = tempfile::tempdir().unwrap();
    let junk = [format!("[{}0]", "0,".repeat(1_000_000)), format!("[{}{{}}]", "{},".repeat(600_000))];
    for junk in junk {
        let model = root.path().join("model.safetensors");
        let header = safetensors(&format!(r#"{{"a.weight":{TENSOR},"x":{junk}}}}}"#));
        let mut shares = vec![share(&model, &header, |path| drop(Model::open(path).unwrap()))];

        fs::write(&model, safetensors(&format!(r#"{{"a.weight":{TENSOR}}}}}"#))).unwrap();
        let config = format!(r#"{{"model_type":"llama","x":{junk}}}"#);
        let open = |_: &Path| drop(Model::open(root.path()).unwrap());
        shares.push(share(&root.path().join("config.json"), config.as_bytes(), open));

        let adapter = format!(r#"{{"peft_type":"LORA","r":1,"lora_alpha":1,"x":{junk}}}"#);
        let refused = |_: &Path| assert!(Adapter::open(root.path()).is_err(), "it has no weights");
        shares.push(share(&root.path().join("adapter_config.json"), adapter.as_bytes(), refused));

        let report = format!(r#"{{"phlora":"0.1.0","x":{junk}}}"#);
        let refused = |path: &Path| assert!(read_report(path).is_err(), "fields are missing");
        shares.push(share(&root.path().join("report.json"), report.as_bytes(), refused));
        assert!(shares.iter().all(|&share| share < 2.0), "bytes of heap for each byte of text: {shares:?}");
    }
}
