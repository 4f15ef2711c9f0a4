//! The shapes that checkpoints come in: Conv1D, shards, grown vocabularies, tied heads, mixed formats.

mod common;

use common::*;
use phlora_core::Dtype::{Bf16, F16, F32};
use std::fs;
use std::path::Path;

/// Extracts with a report; gives the report.
fn extract(root: &Path, base: &str, tuned: &str, more: &[&str]) -> serde_json::Value {
    let (out, report) = (text(&root.join("out")), root.join("report.json"));
    let args = ["extract", base, tuned, "-o", &out, "--dtype", "f32", "--force", "--report", &text(&report)];
    succeed(&[&args[..], more].concat());
    json(&report)
}

/// Name → (reason, `delta_norm`) of what was left out.
fn left_out<'r>(report: &'r serde_json::Value, name: &str) -> (&'r str, Option<f64>) {
    let tensors = report["left_out"].as_array().unwrap();
    let tensor = tensors.iter().find(|tensor| tensor["name"] == name).expect(name);
    (tensor["reason"].as_str().unwrap(), tensor["delta_norm"].as_f64())
}

#[test]
fn gpt2_conv1d_is_transposed_and_gets_its_prefix() {
    let root = tempfile::tempdir().unwrap();
    let config = r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}"#;
    let weight = noise(3, 16 * 48, 1.0); // stored [in, out]
    let tuned = plus_low_rank(&weight, 16, 48, 3, 5);
    let side = |weight: &[f32]| {
        Tensors::default()
            .add("h.0.attn.c_attn.weight", &[16, 48], F32, weight)
            .add("h.0.attn.bias", &[1, 1, 4, 4], F32, &[1.0; 16])
            .add("wte.weight", &[9, 16], F32, &noise(4, 9 * 16, 1.0))
    };
    let base_path = write_model(&root.path().join("base"), &side(&weight), config);
    let tuned_path = write_model(&root.path().join("tuned"), &side(&tuned), config);
    let report = extract(root.path(), &base_path, &tuned_path, &["--rank", "3"]);
    assert_eq!(report["modules"][0]["name"], "transformer.h.0.attn.c_attn");
    assert_eq!(report["modules"][0]["shape"], serde_json::json!([48, 16]));

    let out = root.path().join("out");
    let product = product(&out, "transformer.h.0.attn.c_attn"); // [out, in]
    let transposed: Vec<f32> =
        (0..16).flat_map(|i| (0..48).map(move |o| (o, i))).map(|(o, i)| product[o * 16 + i]).collect();
    assert!(distance(&transposed, &difference(&tuned, &weight)) < 1e-4);
    assert_eq!(json(&out.join("adapter_config.json"))["fan_in_fan_out"], true);
    succeed(&["verify", &base_path, &tuned_path, &text(&out), "--min-energy", "0.9999"]);
}

#[test]
fn shards_are_found_through_their_index() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (base_path, _) = write_pair(root.path(), &base, &tuned);
    let directory = root.path().join("tuned");
    fs::create_dir(&directory).unwrap();
    for (shard, tensor) in [("a.safetensors", 0), ("b.safetensors", 1)] {
        Tensors(vec![tuned.0[tensor].clone()]).write(&directory.join(shard));
    }
    let index = serde_json::json!({"weight_map": {LINEAR: "a.safetensors", "norm.weight": "b.safetensors"}});
    fs::write(directory.join("model.safetensors.index.json"), index.to_string()).unwrap();
    let report = extract(root.path(), &base_path, &text(&directory), &["--rank", "2"]);
    assert!(report["total"]["energy"].as_f64().unwrap() > 0.9999);
    assert_eq!(left_out(&report, "norm.weight"), ("norm", Some(2.0)));
    assert!(succeed(&["inspect", &text(&directory)]).contains("2 files"));
}

#[test]
fn a_vocabulary_that_grew_is_left_out_and_measured() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let base = base.add("embed_tokens.weight", &[2, 2], F32, &[0.0; 4]).add(
        "lm_head.weight",
        &[2, 2],
        F32,
        &[1.0; 4],
    );
    let tuned = tuned.add("embed_tokens.weight", &[3, 2], F32, &[0.0, 0.0, 3.0, 4.0, 9.0, 9.0]).add(
        "lm_head.weight",
        &[3, 2],
        F32,
        &[1.0; 6],
    );
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    let report = extract(root.path(), &base, &tuned, &[]);
    let (reason, norm) = left_out(&report, "embed_tokens.weight");
    assert!(reason.starts_with("embedding: 2 rows in base, 3 in tuned"), "{reason}");
    assert_eq!(norm, Some(5.0));
    assert_eq!(left_out(&report, "lm_head.weight").1, Some(0.0));
}

#[test]
fn tied_and_one_sided_tensors() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let tuned = tuned.add("extra.weight", &[2, 2], F32, &[0.0; 4]);
    let base = base.add("lm_head.weight", &[2, 2], F32, &[1.0; 4]);
    let config = r#"{"tie_word_embeddings": true}"#;
    let base = write_model(&root.path().join("base"), &base, config);
    let tuned = write_model(&root.path().join("tuned"), &tuned, config);
    let report = extract(root.path(), &base, &tuned, &[]);
    assert_eq!(left_out(&report, "lm_head.weight"), ("only in base: tied to the embedding", None));
    assert_eq!(left_out(&report, "extra.weight"), ("only in tuned", None));
}

#[test]
fn sides_of_different_formats() {
    let root = tempfile::tempdir().unwrap();
    let base: Vec<f32> = noise(1, 24 * 16, 1.0).iter().map(|v| (v * 64.0).round() / 64.0).collect(); // exact in both
    let tuned: Vec<f32> =
        base.iter().enumerate().map(|(i, v)| if i % 16 == 3 { v + 0.5 } else { *v }).collect();
    let side = |dtype, values: &[f32]| {
        Tensors::default().add(LINEAR, &[24, 16], dtype, values).add(
            "layers.1.up_proj.weight",
            &[24, 16],
            dtype,
            &base,
        )
    };
    let (b, t) = write_pair(root.path(), &side(F16, &base), &side(Bf16, &tuned));
    let report = extract(root.path(), &b, &t, &["--rank", "1"]);
    assert_eq!(report["modules"].as_array().unwrap().len(), 1);
    assert!(report["total"]["energy"].as_f64().unwrap() > 0.99999);
    assert_eq!(left_out(&report, "layers.1.up_proj.weight"), ("unchanged", Some(0.0)));
    // A suffix would name the unchanged module too.
    let config = json(&root.path().join("out/adapter_config.json"));
    assert_eq!(config["target_modules"], serde_json::json!(["layers.0.up_proj"]));
}

#[test]
fn a_rank_above_the_narrower_side_is_capped_and_padded() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (small, changed) = (noise(8, 3 * 16, 1.0), noise(9, 3 * 16, 1.0));
    let base = base.add("layers.0.gate.weight", &[3, 16], F32, &small);
    let tuned = tuned.add("layers.0.gate.weight", &[3, 16], F32, &changed);
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    let out = text(&root.path().join("table"));
    let table = succeed(&["extract", &base, &tuned, "-o", &out, "--rank", "8"]);
    assert!(table.contains("capped at 3"), "{table}");
    assert!(table.contains("rank 8 is above the narrower side of 1 modules"), "{table}");

    let report = extract(root.path(), &base, &tuned, &["--rank", "8"]);
    assert_eq!(report["modules"][0]["rank"], 3);
    let out = root.path().join("out");
    let (shape, a) = factor(&out, "base_model.model.layers.0.gate.lora_A.weight");
    assert_eq!(shape, [8, 16]);
    assert!(a[3 * 16..].iter().all(|v| *v == 0.0));
    assert_eq!(factor(&out, "base_model.model.layers.0.gate.lora_B.weight").0, [3, 8]);
    assert!(distance(&product(&out, "layers.0.gate"), &difference(&changed, &small)) < 1e-5);
    assert_eq!(json(&out.join("adapter_config.json"))["rank_pattern"], serde_json::json!({}));
}

#[test]
fn tensors_that_are_no_weights_do_not_matter() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let ids = |byte| vec![byte; 16];
    let base = base.raw("position_ids", &[2], "I64", ids(0)).raw("table", &[3], "Q9", vec![1, 2]);
    let tuned = tuned.raw("position_ids", &[2], "I64", ids(1)).raw("table", &[3], "Q9", vec![1, 2]);
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    let report = extract(root.path(), &base, &tuned, &[]);
    assert_eq!(left_out(&report, "position_ids"), ("other: dtype I64 is not read", None));
    assert_eq!(left_out(&report, "table"), ("unchanged", Some(0.0)));
}

#[test]
fn help_says_what_a_model_is() {
    for command in ["extract", "verify"] {
        let help = succeed(&[command, "--help"]);
        assert!(help.contains("model.safetensors.index.json") && help.contains("must not change"), "{help}");
    }
}

#[test]
fn a_suffix_that_may_name_another_module_gives_full_paths() {
    let root = tempfile::tempdir().unwrap();
    let (weight, changed) = (noise(1, 24 * 16, 1.0), noise(2, 24 * 16, 1.0));
    // `conv` is also a module that holds others; anything may be the `0` of a list; `proj` is nothing else.
    for (names, expected) in [
        (["a.conv", "b.conv.norm"], "a.conv"),
        (["a.net.0", "b.norm"], "a.net.0"),
        (["a.proj", "b.norm"], "proj"),
    ] {
        let side = |weight: &[f32]| {
            Tensors::default().add(&format!("{}.weight", names[0]), &[24, 16], F32, weight).add(
                &format!("{}.weight", names[1]),
                &[16],
                F32,
                &[1.0; 16],
            )
        };
        let (base, tuned) = write_pair(root.path(), &side(&weight), &side(&changed));
        extract(root.path(), &base, &tuned, &[]);
        let config = json(&root.path().join("out/adapter_config.json"));
        assert_eq!(config["target_modules"], serde_json::json!([expected]));
    }
}
