//! Heads of tasks: with another number of classes than the base has, and where the base has none.

mod common;

use common::*;
use phlora_core::Dtype::{Bf16, F32};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const DIM: usize = 16;
const LAYERS: usize = 2;
const PARTS: [&str; 2] = ["attention.self.query", "attention.self.key"];

/// Layers of a BERT whose names begin with `prefix`, and a head of `classes` rows, if any.
fn encoder(prefix: &str, tuned: bool, classes: usize) -> Tensors {
    let mut model = Tensors::default();
    for layer in 0..LAYERS {
        for (part, name) in PARTS.iter().enumerate() {
            let seed = (layer * PARTS.len() + part) as u64 + 1;
            let mut weight = noise(seed, DIM * DIM, 1.0);
            if tuned {
                weight = plus_low_rank(&weight, DIM, DIM, 2, 100 * seed);
            }
            let path = format!("{prefix}encoder.layer.{layer}.{name}.weight");
            model = model.add(&path, &[DIM, DIM], F32, &weight);
        }
    }
    if classes > 0 {
        // A head has a format of its own.
        let seed = 50 + classes as u64;
        model = model.add("classifier.weight", &[classes, DIM], Bf16, &noise(seed, classes * DIM, 1.0)).add(
            "classifier.bias",
            &[classes],
            Bf16,
            &noise(seed + 1, classes, 1.0),
        );
    }
    model
}

fn config(class: &str) -> String {
    json!({"model_type": "bert", "architectures": [class], "tie_word_embeddings": true}).to_string()
}

/// All tensors of a model's shards, by name: shape and values.
fn tensors(model: &Path) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let mut all = Vec::new();
    for file in names(model).iter().filter(|name| name.ends_with(".safetensors")) {
        let bytes = fs::read(model.join(file)).unwrap();
        let found = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        all.extend(
            found.iter().map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec(), decoded(&tensor))),
        );
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn value<'t>(all: &'t [(String, Vec<usize>, Vec<f32>)], name: &str) -> &'t [f32] {
    &all.iter().find(|(found, ..)| found == name).unwrap_or_else(|| panic!("no {name}")).2
}

/// Extracts and verifies and merges; gives what each said, and the merged model.
fn round_trip(root: &Path, base: &str, tuned: &str) -> (String, PathBuf) {
    let (adapter, merged) = (text(&root.join("adapter")), root.join("merged"));
    let mut said = String::new();
    for args in [
        &["extract", base, tuned, "-o", &adapter, "--rank", "2", "--dtype", "f32"][..],
        &["verify", base, tuned, &adapter],
        &["check", &adapter, "--base", base],
        &["merge", base, &adapter, "-o", &text(&merged)],
    ] {
        let (code, stdout, stderr) = phlora(args);
        assert_eq!(code, 0, "{args:?}: {stdout}{stderr}");
        said += &(stdout + &stderr);
    }
    (said, merged)
}

/// The tensors of `merged` are those of the fine-tuned model, under the names of a base that begin otherwise.
fn assert_merged(merged: &Path, tuned: &Path, without: &str) {
    let (found, expected) = (tensors(merged), tensors(tuned));
    let names = |all: &[(String, Vec<usize>, Vec<f32>)]| -> Vec<(String, Vec<usize>)> {
        let mut names: Vec<_> = all
            .iter()
            .map(|(name, shape, _)| (name.strip_prefix(without).unwrap_or(name).to_owned(), shape.clone()))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&found), names(&expected));
    for (name, _, values) in &expected {
        let own = name.strip_prefix(without).unwrap_or(name);
        let far = distance(value(&found, own), values);
        assert!(far < if name.starts_with("classifier") { 1e-30 } else { 1e-6 }, "{name}: {far}");
    }
}

#[test]
fn a_base_without_the_head_gets_it_when_it_is_merged() {
    let root = tempfile::tempdir().unwrap();
    let base = write_model(&root.path().join("base"), &encoder("", false, 0), &config("BertModel"));
    let class = config("BertForSequenceClassification");
    let tuned = write_model(&root.path().join("tuned"), &encoder("bert.", true, 3), &class);
    let (said, merged) = round_trip(root.path(), &base, &tuned);
    assert!(said.contains("only the fine-tuned model has classifier: stored whole"), "{said}");
    assert!(said.contains("new-head: classifier.weight: the base has no such head"), "{said}");
    assert!(
        said.contains("4 weights, below bert.* in the adapter and without a prefix in the model"),
        "{said}"
    );
    assert!(
        said.contains("classifier is stored as the adapter has it, with 3 rows: the base lacks it"),
        "{said}"
    );
    assert_merged(&merged, Path::new(&tuned), "bert.");
    let (adapter, copy) = (text(&root.path().join("adapter")), text(&root.path().join("copy")));
    let said = succeed(&["convert", &adapter, "-o", &copy, "--base", &base, "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    let note = said["notes"][0].as_str().unwrap();
    assert!(
        note.contains("4 weights, below bert.* in the adapter and without a prefix in the model"),
        "{note}"
    );
}

#[test]
fn a_head_for_other_classes_takes_the_place_of_that_of_the_base() {
    for with_config in [true, false] {
        let root = tempfile::tempdir().unwrap();
        let class = if with_config { config("BertForSequenceClassification") } else { "{}".to_owned() };
        // More tensors behind the head, which move.
        let more = |model: Tensors| model.add("zero.weight", &[DIM], F32, &[0.5; DIM]);
        let base = write_model(&root.path().join("base"), &more(encoder("bert.", false, 7)), &class);
        let tuned = write_model(&root.path().join("tuned"), &more(encoder("bert.", true, 4)), &class);
        let (said, merged) = round_trip(root.path(), &base, &tuned);
        assert!(said.contains("classifier has another number of classes than in the base"), "{said}");
        assert!(said.contains("with 4 rows: the base has it with 7 rows"), "{said}");
        // Rows of other classes are no difference.
        assert!(said.contains("100.0 % of the whole difference kept, measured"), "{said}");
        assert_merged(&merged, Path::new(&tuned), "");
    }
}

#[test]
fn an_index_of_shards_names_the_new_head() {
    let root = tempfile::tempdir().unwrap();
    let base = root.path().join("base");
    let class = config("BertModel");
    let all = encoder("", false, 0).0;
    let (first, second) = all.split_at(2);
    write_model(&base, &Tensors(first.to_vec()), &class);
    fs::rename(base.join("model.safetensors"), base.join("model-00001-of-00002.safetensors")).unwrap();
    Tensors(second.to_vec()).write(&base.join("model-00002-of-00002.safetensors"));
    let names = all.iter().map(|tensor| tensor.0.clone()).enumerate();
    let shard = |at: usize| json!(format!("model-0000{}-of-00002.safetensors", at / 2 + 1));
    let map: serde_json::Map<_, _> = names.map(|(at, name)| (name, shard(at))).collect();
    let size: usize = all.iter().map(|tensor| tensor.3.len()).sum();
    let index = json!({"metadata": {"total_size": size, "by": "test"}, "weight_map": map});
    fs::write(base.join("model.safetensors.index.json"), index.to_string()).unwrap();
    let class = config("BertForSequenceClassification");
    let tuned = write_model(&root.path().join("tuned"), &encoder("bert.", true, 3), &class);

    let (_, merged) = round_trip(root.path(), &text(&base), &tuned);
    assert_merged(&merged, Path::new(&tuned), "bert.");
    let index = json_of(&merged);
    assert_eq!(index["weight_map"]["classifier.bias"], "model-00002-of-00002.safetensors");
    assert_eq!(index["metadata"]["total_size"], size + (3 * DIM + 3) * 2);
    assert_eq!(index["metadata"]["by"], "test");
    // The index and the shards go together.
    succeed(&["inspect", &text(&merged)]);
}

fn json_of(model: &Path) -> serde_json::Value {
    json(&model.join("model.safetensors.index.json"))
}

#[test]
fn a_format_without_a_place_for_heads_says_so() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = write_pair(root.path(), &encoder("", false, 7), &encoder("", true, 4));
    let (out, report) = (text(&root.path().join("a.safetensors")), root.path().join("report.json"));
    succeed(&["extract", &base, &tuned, "-o", &out, "--format", "kohya", "--report", &text(&report)]);
    let report = json(&report);
    let left = report["left_out"].as_array().unwrap();
    let head = left.iter().find(|tensor| tensor["name"] == "classifier.weight").unwrap();
    let reason = head["reason"].as_str().unwrap();
    assert!(reason.contains("[7, 16] in base, [4, 16] in tuned"), "{reason}");
}

#[test]
fn heads_of_the_same_shape_are_linear_layers() {
    let root = tempfile::tempdir().unwrap();
    // Without a configuration nothing but the name tells what it is.
    let side = |tuned: bool| {
        let head = noise(9, 6 * DIM, 1.0);
        let head = if tuned { plus_low_rank(&head, 6, DIM, 2, 77) } else { head };
        let bias = if tuned { 1.0 } else { 0.0 };
        encoder("", tuned, 0).add("head.weight", &[6, DIM], F32, &head).add(
            "head.bias",
            &[6],
            F32,
            &[bias; 6],
        )
    };
    let (base, tuned) = write_pair(root.path(), &side(false), &side(true));
    let (out, report) = (text(&root.path().join("adapter")), root.path().join("report.json"));
    succeed(&["extract", &base, &tuned, "-o", &out, "--rank", "2", "--report", &text(&report)]);
    let report = json(&report);
    let modules = report["modules"].as_array().unwrap();
    assert!(modules.iter().any(|module| module["name"] == "head"), "{modules:?}");
    let left = report["left_out"].as_array().unwrap();
    assert!(
        left.iter().any(|tensor| tensor["name"] == "head.bias" && tensor["reason"] == "bias"),
        "{left:?}"
    );
}

#[test]
fn two_adapters_cannot_bring_the_same_head() {
    let root = tempfile::tempdir().unwrap();
    let base = write_model(&root.path().join("base"), &encoder("", false, 0), &config("BertModel"));
    let class = config("BertForSequenceClassification");
    let tuned = write_model(&root.path().join("tuned"), &encoder("bert.", true, 3), &class);
    let adapter = text(&root.path().join("adapter"));
    succeed(&["extract", &base, &tuned, "-o", &adapter, "--rank", "2"]);
    let merged = text(&root.path().join("merged"));
    let (code, _, stderr) = phlora(&["merge", &base, &adapter, &adapter, "-o", &merged]);
    assert_eq!(code, 2, "{stderr}");
    assert!(
        stderr.contains("another adapter brings classifier.") && stderr.contains("adapter_model"),
        "{stderr}"
    );
    assert!(!Path::new(&merged).exists());
}
