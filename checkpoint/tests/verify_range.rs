//! What `verify` says of factors whose product is beyond f32: an error, and no figure that is no number.
#![allow(missing_docs)]

use phlora::{
    Adapter, AdapterFormat, ChannelScales, Dtype, Factor, Lora, LoraModule, Model, Monitor, Naming, verify,
};
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

const NAME: &str = "model.layers.0.self_attn.q_proj";

/// A safetensors file of one module of 4 × 4 in F32.
fn write(path: &Path, value: f32) {
    let header = format!(r#"{{"{NAME}.weight":{{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]}}}}"#);
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend([value; 16].iter().flat_map(|value| value.to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_product_beyond_f32_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    write(&at("base.safetensors"), 0.0);
    write(&at("tuned.safetensors"), 1.0);
    let verified = |size: f32, name: &str| {
        let factor = |shape| Factor::new(Dtype::F32, shape, size.to_le_bytes().repeat(4)).unwrap();
        let lora =
            Lora::new(vec![LoraModule::new(NAME, factor([1, 4]), factor([4, 1]))], Naming::HuggingFace);
        lora.save(&at(name), AdapterFormat::Peft, false, &Monitor::default()).unwrap();
        let open = |name: &str| Model::open(&at(name)).unwrap();
        let (base, tuned) = (open("base.safetensors"), open("tuned.safetensors"));
        let adapter = Adapter::open(&at(name)).unwrap();
        verify(&base, &tuned, &adapter, &ChannelScales::default(), NonZeroUsize::MIN, &Monitor::default())
    };
    assert_eq!(verified(1.0, "exact").unwrap().energy, 1.0);
    let error = verified(1e30, "large").unwrap_err().to_string();
    assert!(error.contains("beyond the range of f32") && error.contains(NAME), "{error}");
}
