//! Weights that a model has in memory otherwise than in its checkpoint, and names that would bring them into disorder.
#![allow(missing_docs)]

mod common;

use common::*;
use phlora_core::Dtype::F32;
use serde_json::{Value, json as made};
use std::fs;
use std::path::Path;

const MIXTRAL: &str = r#"{"model_type":"mixtral","architectures":["MixtralForCausalLM"]}"#;
const LLAVA: &str = r#"{"model_type":"llava","architectures":["LlavaForConditionalGeneration"]}"#;
const OUT: usize = 6;
const IN: usize = 8;

/// A model of matrices [`OUT`] × [`IN`]; the tuned one differs by rank 2.
fn model(names: &[String], tuned: bool) -> Tensors {
    names.iter().enumerate().fold(Tensors::default(), |model, (seed, name)| {
        let base = noise(seed as u64 + 1, OUT * IN, 1.0);
        let tuned = if tuned { plus_low_rank(&base, OUT, IN, 2, seed as u64 + 50) } else { base };
        model.add(name, &[OUT, IN], F32, &tuned)
    })
}

fn pair(root: &Path, names: &[String], config: &str) -> (String, String) {
    let base = write_model(&root.join("base"), &model(names, false), config);
    (base, write_model(&root.join("tuned"), &model(names, true), config))
}

fn experts(numbers: &[&str]) -> Vec<String> {
    let of = |number: &&str| {
        ["w1", "w3"].map(|w| format!("model.layers.0.block_sparse_moe.experts.{number}.{w}.weight"))
    };
    numbers.iter().flat_map(of).collect()
}

fn extract(root: &Path, names: &[String], config: &str) -> (Value, Value) {
    let (base, tuned) = pair(root, names, config);
    let (out, report) = (root.join("out"), root.join("report.json"));
    let args = [
        "extract",
        &base,
        &tuned,
        "-o",
        &text(&out),
        "--rank",
        "4",
        "--dtype",
        "f32",
        "--report",
        &text(&report),
    ];
    succeed(&args);
    succeed(&["verify", &base, &tuned, &text(&out), "--min-energy", "0.9999"]);
    (json(&report), json(&out.join("adapter_config.json")))
}

fn reason<'r>(report: &'r Value, name: &str) -> &'r str {
    let tensors = report["left_out"].as_array().unwrap();
    tensors.iter().find(|tensor| tensor["name"] == name).expect(name)["reason"].as_str().unwrap()
}

#[test]
fn experts_are_one_stack_with_gate_and_up_together() {
    let root = tempfile::tempdir().unwrap();
    let (report, config) = extract(root.path(), &experts(&["0", "1", "2"]), MIXTRAL);
    assert_eq!(config["target_parameters"], made!(["model.layers.0.mlp.experts.gate_up_proj"]));
    let stack = "base_model.model.model.layers.0.mlp.experts";
    let (a, _) = factor(&root.path().join("out"), &format!("{stack}.lora_A.weight"));
    let (b, _) = factor(&root.path().join("out"), &format!("{stack}.lora_B.weight"));
    assert_eq!((a, b), (vec![3 * 4, IN], vec![2 * OUT, 3 * 4]));
    let module = &report["modules"][1];
    assert_eq!(module["name"], "model.layers.0.block_sparse_moe.experts.1.w1+w3");
    assert_eq!(module["memory"], "model.layers.0.mlp.experts.gate_up_proj.1");
    assert!(report["total"]["whole_energy"].as_f64().unwrap() > 0.9999);

    // Merged into a copy of the base, it gives the tuned weights; and it survives being pruned.
    let path = |name: &str| text(&root.path().join(name));
    succeed(&["merge", &path("base"), &path("out"), "-o", &path("merged")]);
    succeed(&["prune", &path("out"), "-o", &path("pruned"), "--rank", "4"]);
    succeed(&["verify", &path("base"), &path("tuned"), &path("pruned"), "--min-energy", "0.9999"]);
    let [merged, tuned] = ["merged", "tuned"].map(|name| {
        let bytes = fs::read(root.path().join(name).join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        decoded(&tensors.tensor(&experts(&["2"])[1]).unwrap())
    });
    assert!(distance(&merged, &tuned) < 1e-4);
}

#[test]
fn an_incomplete_stack_is_left_out_and_said() {
    for numbers in [&["0", "2"][..], &["0", "18446744073709551615"], &["1"]] {
        let root = tempfile::tempdir().unwrap();
        let linear = "model.layers.0.self_attn.q_proj.weight".to_owned();
        let names = [vec![linear], experts(numbers)].concat();
        let (report, config) = extract(root.path(), &names, MIXTRAL);
        assert_eq!(report["modules"].as_array().unwrap().len(), 1);
        assert_eq!(config.get("target_parameters"), None);
        assert!(reason(&report, &names[1]).contains("joins with it"), "{numbers:?}");
        assert!(report["total"]["whole_energy"].as_f64().unwrap() < 0.5);
    }
}

#[test]
fn two_spellings_of_one_expert_are_both_accounted_for() {
    let root = tempfile::tempdir().unwrap();
    let names = [experts(&["0", "1"]), experts(&["01"])].concat();
    let (report, _) = extract(root.path(), &names, MIXTRAL);
    let said = |key: &str| report[key].as_array().unwrap().len();
    // Gate and up of two experts are two modules; those of the third name keep it.
    assert_eq!(said("modules") + said("left_out"), 4);
}

#[test]
fn a_tensor_whose_place_is_taken_is_said() {
    let root = tempfile::tempdir().unwrap();
    let old = "language_model.model.layers.0.self_attn.q_proj.weight".to_owned();
    let new = "model.language_model.layers.0.self_attn.q_proj.weight".to_owned();
    let (report, _) = extract(root.path(), &[old, new.clone()], LLAVA);
    assert_eq!(report["modules"].as_array().unwrap().len(), 1);
    assert!(reason(&report, &new).contains("another tensor of the checkpoint"));
}

#[test]
fn a_stack_without_entries_costs_nothing() {
    let root = tempfile::tempdir().unwrap();
    let config = r#"{"model_type":"gpt_oss","architectures":["GptOssForCausalLM"]}"#;
    let linear = ["model.layers.0.self_attn.q_proj.weight".to_owned()];
    let stack = "model.layers.0.mlp.experts.down_proj";
    let write = |side: &str, tuned: bool| {
        let model = model(&linear, tuned).add(stack, &[1 << 40, 0, 3], F32, &[]);
        write_model(&root.path().join(side), &model, config)
    };
    let (base, tuned) = (write("base", false), write("tuned", true));
    succeed(&["extract", &base, &tuned, "-o", &text(&root.path().join("out"))]);
}

#[test]
fn a_stack_of_too_many_experts_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let adapter = root.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    for number in ["9999999", "18446744073709551615"] {
        let module = format!("base_model.model.model.layers.0.block_sparse_moe.experts.{number}.w2");
        Tensors::default()
            .add(&format!("{module}.lora_A.weight"), &[2, 8], F32, &[0.5; 16])
            .add(&format!("{module}.lora_B.weight"), &[6, 2], F32, &[0.5; 12])
            .write(&adapter.join("adapter_model.safetensors"));
        fs::write(adapter.join("adapter_config.json"), r#"{"peft_type":"LORA","r":2,"lora_alpha":2}"#)
            .unwrap();
        let base = write_model(&root.path().join("base"), &model(&experts(&["0"]), false), MIXTRAL);
        let out = text(&root.path().join("out"));
        let args = ["convert", &text(&adapter), "-o", &out, "--base", &base, "--names", "memory"];
        let (code, _, stderr) = phlora(&args);
        assert_eq!(code, 2, "{stderr}");
        assert!(!stderr.contains("panicked") && !root.path().join("out").exists(), "{stderr}");
    }
}

#[test]
fn a_stack_becomes_experts_of_gguf_and_a_stack_again() {
    const QWEN: &str = r#"{"model_type":"qwen3_moe","architectures":["Qwen3MoeForCausalLM"],
        "num_attention_heads":1,"num_key_value_heads":1}"#;
    let root = tempfile::tempdir().unwrap();
    let of = |number: usize| {
        let name = |last: &str| format!("model.layers.0.mlp.experts.{number}.{last}.weight");
        ["gate_proj", "up_proj"].map(name)
    };
    let names: Vec<_> = (0..3).flat_map(of).collect();
    extract(root.path(), &names, QWEN);
    let path = |name: &str| text(&root.path().join(name));
    succeed(&["convert", &path("out"), "--base", &path("base"), "-o", &path("a.gguf")]);
    succeed(&["verify", &path("base"), &path("tuned"), &path("a.gguf"), "--min-energy", "0.9999"]);
    succeed(&["convert", &path("a.gguf"), "--base", &path("base"), "-o", &path("back")]);
    succeed(&["verify", &path("base"), &path("tuned"), &path("back"), "--min-energy", "0.9999"]);
    // gate and up share A in GGUF, so that they take one rank together again.
    let config = json(&root.path().join("back/adapter_config.json"));
    assert_eq!(config["target_parameters"], made!(["model.layers.0.mlp.experts.gate_up_proj"]));
    assert_eq!(config["r"], 4);
}
