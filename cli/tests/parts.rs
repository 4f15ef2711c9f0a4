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

/// Extracts, and checks by verify that the written adapter keeps all of the modules' difference.
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
    Found {
        keys,
        config: json(&out.join("adapter_config.json")),
        report: json(&report),
        said: stdout + &stderr,
    }
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

/// The keys of the small Llama's matrices, below `prefix`.
fn llama_keys(prefix: &str) -> BTreeSet<String> {
    let parts = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];
    let layers =
        (0..2).flat_map(|layer| parts.map(|part| format!("base_model.model.{prefix}layers.{layer}.{part}")));
    layers.collect()
}

impl Found {
    /// Names of what is left out for `reason`.
    fn left_out(&self, reason: &str) -> Vec<&str> {
        let all = self.report["left_out"].as_array().unwrap().iter();
        let of_reason = all.filter(|tensor| tensor["reason"] == reason);
        of_reason.map(|tensor| tensor["name"].as_str().unwrap()).collect()
    }

    fn assert_said(&self, text: &str) {
        assert!(self.said.contains(text), "expected {text:?} in {}", self.said);
        let notes = self.report["notes"].as_array().unwrap();
        assert!(notes.iter().any(|note| note.as_str().unwrap().contains(text)), "{notes:?}");
    }
}

const VISION: [&str; 3] = [
    "multi_modal_projector.linear_1.weight",
    "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",
    "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight",
];

#[test]
fn a_language_model_within_an_untouched_multimodal_one() {
    let root = tempfile::tempdir().unwrap();
    let found = extract(root.path(), &BASE.llava("base"), &TUNED.llava("tuned"));
    assert_eq!(found.keys, llama_keys("model.language_model."));
    assert_eq!(found.left_out("unchanged"), VISION);
    // A suffix would name the vision tower's q_proj as well.
    let targets = found.config["target_modules"].as_array().unwrap();
    let whole = |target: &Value| target.as_str().unwrap().starts_with("model.language_model.layers.");
    assert!(targets.len() == 12 && targets.iter().all(whole), "{targets:?}");
    assert!(found.config["task_type"].is_null());
    assert!(found.said.contains("unchanged          3"), "{}", found.said);
    // Nothing is said but that so many factors are not small.
    let notes = found.report["notes"].as_array().unwrap();
    assert!(notes.len() == 1 && found.said.matches("phlora:").count() == 1, "{}", found.said);
    found.assert_said("the adapter is larger than what it changes");
}

#[test]
fn a_text_base_and_a_multimodal_tuned_model() {
    let root = tempfile::tempdir().unwrap();
    let found = extract(root.path(), &BASE.llama("base", "LlamaForCausalLM"), &TUNED.llava("tuned"));
    assert_eq!(found.keys, llama_keys("model."));
    assert_eq!(found.config["task_type"], "CAUSAL_LM");
    assert_eq!(found.left_out("only in tuned"), VISION);
    assert_eq!(found.left_out("output head"), ["lm_head.weight"]);
    assert_eq!(found.report["modules"][0]["name"], "model.layers.0.mlp.down_proj");
    found.assert_said("16 weights, below model.language_model.* in one model and below model.* in the other");
    assert!(found.said.contains("only in tuned        3  not comparable"), "{}", found.said);
}

#[test]
fn a_multimodal_base_and_a_text_tuned_model() {
    let root = tempfile::tempdir().unwrap();
    let found = extract(root.path(), &BASE.llava("base"), &TUNED.llama("tuned", "LlamaForCausalLM"));
    assert_eq!(found.keys, llama_keys("model.language_model."));
    assert!(found.config["task_type"].is_null());
    assert_eq!(found.left_out("only in base"), VISION);
    assert_eq!(found.left_out("output head"), ["language_model.lm_head.weight"]);
    assert_eq!(found.report["modules"][0]["name"], "language_model.model.layers.0.mlp.down_proj");
    found.assert_said("16 weights, below model.* in one model and below model.language_model.* in the other");
    assert!(found.said.contains("only in base        3  not comparable"), "{}", found.said);
    // It goes onto the base that it was extracted for.
    let merged = root.path().join("merged");
    let path = |name: &str| text(&root.path().join(name));
    succeed(&["merge", &path("base"), &path("out"), "-o", &text(&merged)]);
    let bytes = std::fs::read(merged.join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let name = "layers.1.mlp.up_proj.weight";
    let values = decoded(&file.tensor(&format!("language_model.model.{name}")).unwrap());
    let bytes = std::fs::read(root.path().join("tuned/model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert!(distance(&values, &decoded(&file.tensor(&format!("model.{name}")).unwrap())) < 1e-5);
}

#[test]
fn a_causal_base_and_a_bare_tuned_model() {
    let root = tempfile::tempdir().unwrap();
    let found =
        extract(root.path(), &BASE.llama("base", "LlamaForCausalLM"), &TUNED.llama("tuned", "LlamaModel"));
    assert_eq!(found.keys, llama_keys(""));
    assert_eq!(found.config["task_type"], "FEATURE_EXTRACTION");
    assert_eq!(found.left_out("only in base"), ["lm_head.weight"]);
    found.assert_said("16 weights, below model.* in one model and without a prefix in the other");
}

#[test]
fn a_bare_base_and_a_causal_tuned_model() {
    let root = tempfile::tempdir().unwrap();
    let bare = BASE.llama("base", "LlamaModel");
    let found = extract(root.path(), &bare, &TUNED.llama("tuned", "LlamaForCausalLM"));
    let mut expected = llama_keys("model.");
    expected.insert("base_model.model.lm_head.weight".to_owned());
    assert_eq!(found.keys, expected);
    assert_eq!(found.config["task_type"], "CAUSAL_LM");
    assert_eq!(found.config["modules_to_save"], json!(["lm_head"]));
    assert!(found.left_out("only in tuned").is_empty());
    found.assert_said("16 weights, without a prefix in one model and below model.* in the other");
    found.assert_said("only the fine-tuned model has lm_head: stored whole");

    // Tied to the embedding it is not stored, by the configuration or by what it holds.
    let mut tied = TUNED.llama("tuned", "LlamaForCausalLM");
    tied.2["tie_word_embeddings"] = json!(true);
    let found = extract(root.path(), &bare, &tied);
    assert_eq!((found.keys, &found.config["modules_to_save"]), (llama_keys("model."), &Value::Null));
    let mut same = TUNED.llama("tuned", "LlamaForCausalLM");
    let embedding = same.1.0[0].3.clone();
    same.1.0.last_mut().unwrap().3 = embedding;
    let found = extract(root.path(), &bare, &same);
    assert_eq!((found.keys, &found.config["modules_to_save"]), (llama_keys("model."), &Value::Null));
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

/// The keys of the encoder's matrices, below `prefix`.
fn bert_keys(prefix: &str) -> BTreeSet<String> {
    let parts = [
        "encoder.layer.0.attention.self.query",
        "encoder.layer.0.attention.output.dense",
        "encoder.layer.0.intermediate.dense",
        "encoder.layer.0.output.dense",
        "pooler.dense",
    ];
    parts.iter().map(|part| format!("base_model.model.{prefix}{part}")).collect()
}

#[test]
fn an_encoder_and_a_classifier() {
    let root = tempfile::tempdir().unwrap();
    let found = extract(root.path(), &bert("base", 0.0, false), &bert("tuned", 0.05, true));
    let mut expected = bert_keys("bert.");
    expected.extend(["weight", "bias"].map(|part| format!("base_model.model.classifier.{part}")));
    assert_eq!(found.keys, expected);
    assert_eq!(found.config["task_type"], "SEQ_CLS");
    assert_eq!(found.config["modules_to_save"], json!(["classifier"]));
    let full = found.report["full"].as_array().unwrap();
    assert!(full.len() == 2 && full.iter().all(|tensor| tensor["is_new"] == true), "{full:?}");
    found.assert_said("8 weights, without a prefix in one model and below bert.* in the other");
    found.assert_said("only the fine-tuned model has classifier: stored whole");
}

#[test]
fn a_classifier_and_an_encoder() {
    let root = tempfile::tempdir().unwrap();
    let found = extract(root.path(), &bert("base", 0.0, true), &bert("tuned", 0.05, false));
    assert_eq!(found.keys, bert_keys(""));
    assert_eq!(found.config["task_type"], "FEATURE_EXTRACTION");
    assert_eq!(found.left_out("only in base"), ["classifier.bias", "classifier.weight"]);
    found.assert_said("8 weights, below bert.* in one model and without a prefix in the other");
}
