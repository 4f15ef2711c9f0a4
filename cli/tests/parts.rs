//! A model that is part of another, or was saved from another class: what the adapter names, what is reported, and what
//! the terminal says.
#![allow(missing_docs)]

mod common;

use common::small::{BASE, Small, TUNED, below, without};
use common::*;
use phlora_core::Dtype::F32;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// What an extraction of rank 16, which these weights have, leaves.
struct Found {
    /// Modules with factors, by the keys of the file.
    keys: BTreeSet<String>,
    config: Value,
    report: Value,
    said: String,
}

/// A side: its directory, what it holds, its configuration.
type Model<'m> = (&'m str, Tensors, Value);

/// Extracts, checks that verify finds what the report says, and that the adapter merges into its base.
fn extract(root: &Path, base: &Model<'_>, tuned: &Model<'_>) -> Found {
    let write =
        |(name, tensors, config): &Model<'_>| write_model(&root.join(name), tensors, &config.to_string());
    let (b, t) = (write(base), write(tuned));
    let (out, report) = (root.join("out"), root.join("report.json"));
    let args = ["extract", &b, &t, "-o", &text(&out), "--rank", "16", "--dtype", "f32", "--force"];
    let (code, stdout, stderr) = phlora(&[&args[..], &["--report", &text(&report)]].concat());
    assert_eq!(code, 0, "{stderr}");
    let verified = succeed(&["verify", &b, &t, &text(&out), "--json"]);
    let verified: Value = serde_json::from_str(&verified).unwrap();
    assert!(verified["energy"].as_f64().unwrap() > 0.99999, "{verified}");
    let bytes = std::fs::read(out.join("adapter_model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let keys = file.names().iter().map(|name| name.split(".lora_").next().unwrap().to_string()).collect();
    let found = Found {
        keys,
        config: json(&out.join("adapter_config.json")),
        report: json(&report),
        said: stdout + &stderr,
    };
    println!("{:#?}\n{}\n{}\n", found.keys, found.config, found.said);
    println!("{:#?}", found.report["left_out"]);
    found
}

impl Small {
    fn llama(self, name: &'static str, class: &str) -> Model<'static> {
        let mut config = self.config();
        config["architectures"] = json!([class]);
        let tensors = match class {
            "LlamaModel" => below(without(self.tensors(), "lm_head.weight"), "model.", ""),
            _ => self.tensors(),
        };
        (name, tensors, config)
    }

    /// A Llava, its language model this one and its vision tower another.
    fn llava(self, name: &'static str) -> Model<'static> {
        let tensors = below(
            below(self.tensors(), "model.", "language_model.model."),
            "lm_head.",
            "language_model.lm_head.",
        );
        let mut all = tensors;
        for part in ["self_attn.q_proj", "mlp.fc1"] {
            let tensor = format!("vision_tower.vision_model.encoder.layers.0.{part}.weight");
            all = all.add(&tensor, &[8, 8], F32, &noise(9, 64, 1.0));
        }
        all = all.add("multi_modal_projector.linear_1.weight", &[16, 8], F32, &noise(10, 128, 1.0));
        let config = json!({
            "model_type": "llava", "architectures": ["LlavaForConditionalGeneration"],
            "text_config": self.config(), "vision_config": {"model_type": "clip_vision_model"},
        });
        (name, all, config)
    }
}

#[test]
fn a_language_model_within_an_untouched_multimodal_one() {
    let root = tempfile::tempdir().unwrap();
    extract(root.path(), &BASE.llava("base"), &TUNED.llava("tuned"));
}

#[test]
fn a_text_base_and_a_multimodal_tuned_model() {
    let root = tempfile::tempdir().unwrap();
    extract(root.path(), &BASE.llama("base", "LlamaForCausalLM"), &TUNED.llava("tuned"));
}

#[test]
fn a_multimodal_base_and_a_text_tuned_model() {
    let root = tempfile::tempdir().unwrap();
    extract(root.path(), &BASE.llava("base"), &TUNED.llama("tuned", "LlamaForCausalLM"));
}

#[test]
fn a_causal_base_and_a_bare_tuned_model() {
    let root = tempfile::tempdir().unwrap();
    extract(root.path(), &BASE.llama("base", "LlamaForCausalLM"), &TUNED.llama("tuned", "LlamaModel"));
}

#[test]
fn a_bare_base_and_a_causal_tuned_model() {
    let root = tempfile::tempdir().unwrap();
    extract(root.path(), &BASE.llama("base", "LlamaModel"), &TUNED.llama("tuned", "LlamaForCausalLM"));
}

/// An encoder, with the classifier's prefix and head where it is one.
fn bert(name: &'static str, change: f32, classifier: bool) -> Model<'static> {
    let mut tensors = Tensors::default();
    let shapes: [(&str, &[usize]); 8] = [
        ("embeddings.word_embeddings.weight", &[9, 16]),
        ("embeddings.LayerNorm.weight", &[16]),
        ("encoder.layer.0.attention.self.query.weight", &[16, 16]),
        ("encoder.layer.0.attention.self.query.bias", &[16]),
        ("encoder.layer.0.attention.output.dense.weight", &[16, 16]),
        ("encoder.layer.0.intermediate.dense.weight", &[32, 16]),
        ("encoder.layer.0.output.dense.weight", &[16, 32]),
        ("pooler.dense.weight", &[16, 16]),
    ];
    for (seed, (part, shape)) in (1..).zip(shapes) {
        let n = shape.iter().product();
        let more = noise(seed + 100, n, change);
        let values: Vec<_> = noise(seed, n, 1.0).iter().zip(more).map(|(a, b)| a + b).collect();
        tensors = tensors.add(part, shape, F32, &values);
    }
    if classifier {
        tensors = below(tensors, "", "bert.");
        tensors = tensors.add("classifier.weight", &[3, 16], F32, &noise(50, 48, 1.0));
        tensors = tensors.add("classifier.bias", &[3], F32, &noise(51, 3, 1.0));
    }
    let class = if classifier { "BertForSequenceClassification" } else { "BertModel" };
    (name, tensors, json!({"model_type": "bert", "architectures": [class], "hidden_size": 16}))
}

#[test]
fn an_encoder_and_a_classifier() {
    let root = tempfile::tempdir().unwrap();
    extract(root.path(), &bert("base", 0.0, false), &bert("tuned", 0.05, true));
}

#[test]
fn a_classifier_and_an_encoder() {
    let root = tempfile::tempdir().unwrap();
    extract(root.path(), &bert("base", 0.0, true), &bert("tuned", 0.05, false));
}
