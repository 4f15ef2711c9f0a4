//! Adapters that cannot be verified, and one that makes it worse.

mod common;

use common::*;
use phlora_core::Dtype::F32;
use std::fs;

#[test]
fn adapters_that_cannot_be_verified() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (b, t) = write_pair(root.path(), &base, &tuned);
    let adapter = root.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    let config = |json: &str| fs::write(adapter.join("adapter_config.json"), json).unwrap();
    config(r#"{"peft_type":"LORA","r":2,"lora_alpha":2}"#);
    let prefix = "base_model.model.layers.0.up_proj";
    let a =
        |values: &[f32]| Tensors::default().add(&format!("{prefix}.lora_A.weight"), &[2, 16], F32, values);
    let good_a = a(&[0.5; 32]);
    let b_name = format!("{prefix}.lora_B.weight");
    let refused = |tensors: &Tensors, expected: &[&str]| {
        tensors.write(&adapter.join("adapter_model.safetensors"));
        let (code, _, stderr) = phlora(&["verify", &b, &t, &text(&adapter)]);
        assert_eq!(code, 2, "{stderr}");
        for part in expected {
            assert!(stderr.contains(part), "expected {part:?} in {stderr}");
        }
    };
    refused(&good_a, &["adapter_model.safetensors", "up_proj.lora_A", "lora_B is missing"]);
    refused(&Tensors::default().add(&b_name, &[24, 2], F32, &[1.0; 48]), &["lora_A is missing"]);
    refused(
        &good_a.clone().add(&b_name, &[24, 3], F32, &[1.0; 72]),
        &["lora_B", "[24, 3]", "expected [out, 2]"],
    );
    refused(&good_a.clone().add(&b_name, &[23, 2], F32, &[1.0; 46]), &[LINEAR, "[24, 16]", "[23, 16]"]);
    refused(
        &a(&[f32::NAN; 32]).add(&b_name, &[24, 2], F32, &[1.0; 48]),
        &["lora_A", "NaN or infinity in row 0"],
    );
    refused(
        &good_a.clone().add("lm_head.weight", &[1], F32, &[1.0]),
        &["lm_head.weight", "not a LoRA factor"],
    );
    refused(&Tensors::default(), &["no LoRA factors"]);
    let stranger = "base_model.model.layers.9.up_proj.lora";
    let stranger = Tensors::default().add(&format!("{stranger}_A.weight"), &[2, 16], F32, &[1.0; 32]).add(
        &format!("{stranger}_B.weight"),
        &[24, 2],
        F32,
        &[1.0; 48],
    );
    refused(
        &stranger,
        &["layers.9.up_proj.lora_A", "base.safetensors has no tensor layers.9.up_proj.weight"],
    );

    // A good one, at another scale than it was made for, keeps less than nothing.
    fs::remove_dir_all(&adapter).unwrap();
    succeed(&["extract", &b, &t, "-o", &text(&adapter), "--rank", "2", "--quiet"]);
    let energy = || {
        let found = succeed(&["verify", &b, &t, &text(&adapter), "--json"]);
        serde_json::from_str::<serde_json::Value>(&found).unwrap()["energy"].as_f64().unwrap()
    };
    assert!(energy() > 0.9999);
    config(r#"{"peft_type":"LORA","r":2,"lora_alpha":6}"#);
    assert!((energy() + 3.0).abs() < 0.01, "1 − (3 − 1)² = −3, not {}", energy());
    fs::remove_file(adapter.join("adapter_config.json")).unwrap();
    let (code, _, stderr) = phlora(&["verify", &b, &t, &text(&adapter)]);
    assert!(code == 2 && stderr.contains("adapter_config.json"), "{stderr}");
}
