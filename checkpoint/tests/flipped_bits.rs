//! No content of a file makes the reader panic or leave the file: every bit of a header flipped, every length.
#![allow(missing_docs)]

mod common;

use common::write_model;
use phlora::{
    Adapter, AdapterFormat, Dtype, ExtractOptions, Factor, Lora, LoraModule, Model, Monitor, Naming, Output,
    Policy, extract, save,
};
use std::fs;
use std::path::Path;

/// Opens a file of these bytes and, if that works, extracts from it: refused or not, both are right.
fn read(path: &Path, bytes: &[u8], base: &Model) -> bool {
    // A new file each time: this process may still map the old one.
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
    let Ok(model) = Model::open(path) else { return false };
    let mut options = ExtractOptions::default();
    options.policy = Policy::fixed(2);
    let _ = extract(base, &model, &options, &Monitor::default());
    true
}

#[test]
fn no_flipped_bit_and_no_length_panics() {
    let root = tempfile::tempdir().unwrap();
    let (good, bad) = (root.path().join("good.safetensors"), root.path().join("bad.safetensors"));
    write_model(&good, 2, 4, 1);
    let base = Model::open(&good).unwrap();
    let bytes = fs::read(&good).unwrap();
    let header = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    assert!(read(&bad, &bytes, &base));
    for length in 0..bytes.len() {
        assert!(!read(&bad, &bytes[..length], &base), "cut to {length} bytes");
    }
    for bit in 0..8 * header {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        read(&bad, &flipped, &base);
    }
}

#[test]
fn nor_those_of_an_adapter_of_one_file() {
    let root = tempfile::tempdir().unwrap();
    let (good, bad) = (root.path().join("good.safetensors"), root.path().join("bad.safetensors"));
    let factor =
        |shape: [usize; 2]| Factor::new(Dtype::F16, shape, vec![60; 2 * shape[0] * shape[1]]).unwrap();
    let (a, b) = (factor([2, 3 * 9]), factor([5, 2]));
    let module = LoraModule { scale: 0.5, kernel: vec![3, 3], ..LoraModule::new("lora_unet_conv", a, b) };
    let lora = Lora::new(vec![module], Naming::Single);
    lora.save(&good, AdapterFormat::Kohya, false, &Monitor::default()).unwrap();
    let bytes = fs::read(&good).unwrap();
    let header = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let open = |bytes: &[u8]| {
        let _ = fs::remove_file(&bad);
        fs::write(&bad, bytes).unwrap();
        Adapter::open(&bad)
    };
    let adapter = open(&bytes).unwrap();
    assert_eq!(adapter.format(), AdapterFormat::Kohya);
    assert_eq!(adapter.lora().unwrap().modules[0].weight_shape(), [5, 3, 3, 3]);
    for length in 0..bytes.len() {
        assert!(open(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    for bit in 0..8 * header {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(adapter) = open(&flipped) {
            let lora = adapter.lora().unwrap();
            for module in &lora.modules {
                let _ = (module.a.decoded(), module.b.decoded(), module.weight_shape());
            }
        }
    }
}

#[test]
fn nor_those_of_an_adapter_in_the_compact_form() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let (good, bad, monitor) = (at("good.phlora"), at("bad.phlora"), Monitor::default());
    write_model(&at("base.safetensors"), 4, 6, 1);
    write_model(&at("tuned.safetensors"), 4, 6, 2);
    let [base, tuned] = ["base.safetensors", "tuned.safetensors"].map(|name| Model::open(&at(name)).unwrap());
    let format = AdapterFormat::Phlora;
    let mut options = ExtractOptions::default();
    (options.policy, options.format) = (Policy::fixed(2), format);
    let extraction = extract(&base, &tuned, &options, &monitor).unwrap();
    save(&extraction, &Output::new(&good), &monitor).unwrap();
    let bytes = fs::read(&good).unwrap();
    let open = |bytes: &[u8]| {
        let _ = fs::remove_file(&bad);
        fs::write(&bad, bytes).unwrap();
        Adapter::open(&bad)
    };
    assert_eq!(open(&bytes).unwrap().format(), format);
    for length in 0..bytes.len() {
        assert!(open(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    for bit in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(adapter) = open(&flipped) {
            for module in &adapter.lora().unwrap().modules {
                let _ = (module.a.decoded(), module.b.decoded(), module.weight_shape());
            }
        }
    }
}
