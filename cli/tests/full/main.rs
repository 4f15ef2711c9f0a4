//! Norms, biases and rows of vocabularies beside factors: what is written, read, measured, merged and refused.

#[path = "../common/mod.rs"]
mod common;
mod refused;

use common::*;
use phlora_core::Dtype::{Bf16, F32};
use serde_json::json;
use std::path::Path;

const ROWS: usize = 6;
const DIM: usize = 16;

/// What a side of a pair has.
struct Side<'s> {
    up: &'s [f32],
    down: &'s [f32],
    norm: f32,
    bias: f32,
    /// Number of tokens, and what the third one is.
    tokens: (usize, f32),
}

/// Two linear modules, of which one has a bias; norms of a weight alone and of weight and bias, one of them never
/// changed; running statistics; a vocabulary and an output head.
fn side(of: &Side<'_>) -> Tensors {
    let mut table = noise(5, 12 * DIM, 1.0);
    table.truncate(of.tokens.0 * DIM);
    table[2 * DIM..3 * DIM].fill(of.tokens.1);
    Tensors::default()
        .add("model.embed_tokens.weight", &[of.tokens.0, DIM], Bf16, &table)
        .add("model.layers.0.up_proj.weight", &[24, DIM], F32, of.up)
        .add("model.layers.0.up_proj.bias", &[24], F32, &[of.bias; 24])
        .add("model.layers.0.down_proj.weight", &[DIM, 24], F32, of.down)
        .add("model.layers.0.ln_1.weight", &[DIM], Bf16, &[of.norm; DIM])
        .add("model.layers.0.ln_1.bias", &[DIM], Bf16, &[0.25; DIM])
        .add("model.layers.0.ln_2.weight", &[DIM], Bf16, &[1.0; DIM])
        .add("model.layers.0.batch_norm.weight", &[DIM], F32, &[of.norm; DIM])
        .add("model.layers.0.batch_norm.running_mean", &[DIM], F32, &[of.norm; DIM])
        .add("model.norm.weight", &[DIM], Bf16, &[of.norm; DIM])
        .add("lm_head.weight", &[of.tokens.0, DIM], Bf16, &table)
}

struct Models {
    root: tempfile::TempDir,
    base: String,
    tuned: String,
}

fn models(new_tokens: usize) -> Models {
    let root = tempfile::tempdir().unwrap();
    let (up, down) = (noise(1, 24 * DIM, 1.0), noise(2, DIM * 24, 1.0));
    let mut tuned = (plus_low_rank(&up, 24, DIM, 2, 7), plus_low_rank(&down, DIM, 24, 2, 9));
    // The module without a bias changes the most.
    tuned.1.iter_mut().zip(&down).for_each(|(tuned, base)| *tuned = base + 4.0 * (*tuned - base));
    let base = side(&Side { up: &up, down: &down, norm: 1.0, bias: 0.5, tokens: (ROWS, 0.0) });
    let tuned =
        Side { up: &tuned.0, down: &tuned.1, norm: 1.5, bias: 0.75, tokens: (ROWS + new_tokens, 3.0) };
    let config = r#"{"model_type": "llama", "tie_word_embeddings": false, "num_attention_heads": 4}"#;
    let base = write_model(&root.path().join("base"), &base, config);
    let tuned = write_model(&root.path().join("tuned"), &side(&tuned), config);
    Models { root, base, tuned }
}

impl Models {
    fn path(&self, name: &str) -> String {
        text(&self.root.path().join(name))
    }

    /// Extracts to `out` with a report, and gives it and what was said.
    fn extract(&self, out: &str, more: &[&str]) -> (serde_json::Value, String) {
        let (out, report) = (self.path(out), self.path("report.json"));
        let args =
            ["extract", &self.base, &self.tuned, "-o", &out, "--dtype", "f32", "--rank", "2", "--force"];
        let (code, stdout, stderr) = phlora(&[&args[..], &["--report", &report], more].concat());
        assert_eq!(code, 0, "{stderr}");
        (json(Path::new(&report)), stdout + &stderr)
    }

    /// What `verify` measures of an adapter.
    fn verify(&self, adapter: &str) -> serde_json::Value {
        let found = succeed(&["verify", &self.base, &self.tuned, &self.path(adapter), "--json"]);
        serde_json::from_str(&found).unwrap()
    }

    /// The fine-tuned values of a tensor, and those of the model at `path`.
    fn compared(&self, path: &str, name: &str) -> (Vec<f32>, Vec<f32>) {
        (tensor(&self.tuned, name), tensor(path, name))
    }
}

fn tensor(model: &str, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(Path::new(model).join("model.safetensors")).unwrap();
    decoded(&safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap())
}

fn reason(report: &serde_json::Value, name: &str) -> String {
    let left = report["left_out"].as_array().unwrap().iter().find(|tensor| tensor["name"] == name);
    left.unwrap_or_else(|| panic!("{name} is not left out"))["reason"].as_str().unwrap().to_owned()
}

const ALL: [&str; 2] = ["--also", "norms,biases,tokens"];

#[test]
fn peft_holds_all_of_them() {
    let models = models(2);
    let (report, said) = models.extract("out", &ALL);
    let full: Vec<_> = report["full"].as_array().unwrap().iter().collect();
    let names: Vec<_> = full.iter().map(|tensor| tensor["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "lm_head.weight",
            "model.embed_tokens.weight",
            "model.layers.0.ln_1.bias",
            "model.layers.0.ln_1.weight",
            "model.layers.0.up_proj.bias",
            "model.norm.weight",
        ]
    );
    assert_eq!((&full[0]["rows"], &full[0]["new_rows"]), (&json!(3), &json!(2)));
    assert_eq!(full[1]["delta_norm"], 12.0); // 3 in each of 16
    assert_eq!(full[2]["delta_norm"], 0.0); // a module is stored as a whole
    assert_eq!(full[4]["delta_norm"], (24.0_f64 * 0.0625).sqrt());
    assert_eq!(reason(&report, "model.layers.0.ln_2.weight"), "unchanged");
    assert!(reason(&report, "model.layers.0.batch_norm.weight").starts_with("norm: its module holds more"));
    assert!(said.contains("tokens: 6 rows, 4 of them new"), "{said}");
    assert!(said.contains("1 of its modules have no bias"), "{said}");

    let out = models.root.path().join("out");
    let config = json(&out.join("adapter_config.json"));
    assert_eq!(config["modules_to_save"], json!(["model.layers.0.ln_1", "model.norm"]));
    assert_eq!((&config["bias"], &config["lora_bias"]), (&json!("none"), &json!(true)));
    let rows = json!({"lm_head": [2, 6, 7], "model.embed_tokens": [2, 6, 7]});
    assert_eq!(config["trainable_token_indices"], rows);
    let held = |name: &str| factor(&out, &format!("base_model.model.{name}"));
    assert_eq!(held("model.norm.weight"), (vec![DIM], vec![1.5; DIM]));
    assert_eq!(held("model.layers.0.up_proj.lora_B.bias"), (vec![24], vec![0.25; 24]));
    // PEFT expects one beside every pair of factors.
    assert_eq!(held("model.layers.0.down_proj.lora_B.bias"), (vec![DIM], vec![0.0; DIM]));
    let (shape, values) = held("model.embed_tokens.token_adapter.trainable_tokens_delta");
    assert_eq!((shape, &values[..DIM]), (vec![3, DIM], &[3.0; DIM][..]));
    assert_eq!(values[DIM..], tensor(&models.tuned, "model.embed_tokens.weight")[6 * DIM..]);

    let found = models.verify("out");
    assert_eq!(found["full"].as_array().unwrap().len(), 6);
    for tensor in found["full"].as_array().unwrap() {
        assert_eq!(
            (&tensor["residual_norm"], &tensor["outside_norm"]),
            (&json!(0.0), &json!(0.0)),
            "{tensor}"
        );
    }
    // The norm with running statistics, and these.
    assert_eq!(found["outside"], 2);
    let facts = succeed(&["inspect", &models.path("out")]);
    assert!(facts.contains("in 6 tensors beside the factors"), "{facts}");

    // The base has no room for the new rows.
    let (code, _, stderr) =
        phlora(&["merge", &models.base, &models.path("out"), "-o", &models.path("merged")]);
    assert!(code != 0 && stderr.contains("row 7") && stderr.contains("the vocabulary grew"), "{stderr}");
    assert!(!Path::new(&models.path("merged")).exists());
}

#[test]
fn merged_values_are_those_of_the_tuned_model() {
    let models = models(0);
    models.extract("out", &ALL);
    let merged = models.path("merged");
    let said = succeed(&["merge", &models.base, &models.path("out"), "-o", &merged]);
    assert!(said.contains("2 weights and 6 other tensors"), "{said}");
    for name in
        ["model.norm.weight", "model.layers.0.ln_1.weight", "model.layers.0.up_proj.bias", "lm_head.weight"]
    {
        let (tuned, found) = models.compared(&merged, name);
        assert_eq!(tuned, found, "{name}");
    }
    for name in ["model.layers.0.ln_2.weight", "model.layers.0.batch_norm.weight"] {
        assert_eq!(tensor(&models.base, name), tensor(&merged, name), "{name}");
    }
    // Half of the way, and twice the same adapter.
    succeed(&["merge", &models.base, &models.path("out"), "-o", &merged, "--force", "--scale", "0.5"]);
    assert_eq!(tensor(&merged, "model.norm.weight"), [1.25; DIM]);
    assert_eq!(tensor(&merged, "model.layers.0.up_proj.bias"), [0.625; 24]);
    assert_eq!(tensor(&merged, "model.embed_tokens.weight")[2 * DIM..3 * DIM], [1.5; DIM]);
    let twice = [models.path("out"), models.path("out")];
    succeed(&["merge", &models.base, &twice[0], &twice[1], "-o", &merged, "--force"]);
    assert_eq!(tensor(&merged, "model.norm.weight"), [2.0; DIM]);
}

#[test]
fn new_rows_alone() {
    let models = models(2);
    let (report, _) = models.extract("out", &["--also", "new-tokens"]);
    let full = report["full"].as_array().unwrap();
    assert_eq!((full.len(), &full[0]["rows"], &full[0]["new_rows"]), (2, &json!(2), &json!(2)));
    assert_eq!(reason(&report, "lm_head.weight"), "output head: the rows that the base has");
    let found = models.verify("out");
    assert_eq!(
        (&found["full"][0]["outside_norm"], &found["full"][0]["residual_norm"]),
        (&json!(12.0), &json!(0.0))
    );
}

#[test]
fn single_files_hold_differences() {
    let models = models(0);
    let out = models.path("out.safetensors");
    let comfy = ["--also", "norms,biases", "--format", "comfy", "--prefix", "diffusion_model"];
    let (report, _) = models.extract("out.safetensors", &comfy);
    assert_eq!(report["full"].as_array().unwrap().len(), 4, "also the norm with running statistics");
    let bytes = std::fs::read(&out).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let held = |name: &str| decoded(&file.tensor(&format!("diffusion_model.model.{name}")).unwrap());
    assert_eq!(held("norm.diff"), [0.5; DIM]);
    assert_eq!(held("layers.0.up_proj.diff_b"), [0.25; 24]);
    let found = models.verify("out.safetensors");
    assert!(found["full"].as_array().unwrap().iter().all(|tensor| tensor["residual_norm"] == 0.0), "{found}");

    let (kohya, merged) = (models.path("kohya.safetensors"), models.path("merged"));
    let convert = ["convert", &out, "--base", &models.base, "--prefix", "diffusion_model"];
    succeed(&[&convert[..], &["-o", &kohya, "--format", "kohya"]].concat());
    succeed(&["merge", &models.base, &out, "-o", &merged]);
    for name in ["model.norm.weight", "model.layers.0.up_proj.bias", "model.layers.0.batch_norm.weight"] {
        let (tuned, found) = models.compared(&merged, name);
        assert_eq!(tuned, found, "{name}");
    }
    // PEFT keeps values, for which the base's would be needed; llama.cpp has no place at all.
    for (name, format) in [("peft", "peft"), ("out.gguf", "gguf")] {
        let path = models.path(name);
        let (code, _, stderr) = phlora(&[&convert[..], &["-o", &path, "--format", format]].concat());
        assert!(code != 0 && stderr.contains(".diff"), "{format}: {stderr}");
        assert!(!Path::new(&path).exists());
    }
}

#[test]
fn pruning_leaves_them_as_they_are() {
    let models = models(2);
    models.extract("out", &ALL);
    let pruned = models.path("pruned");
    succeed(&["prune", &models.path("out"), "-o", &pruned, "--rank", "1"]);
    let found = models.verify("pruned");
    assert_eq!(found["full"], models.verify("out")["full"]);
    assert_eq!(found["modules"][0]["rank"], 1);
    // What is added to a bias has its place beside factors, and goes with them.
    succeed(&["prune", &models.path("out"), "-o", &pruned, "--rank", "1", "--drop-below", "0.2", "--force"]);
    let (all, found) = (found, models.verify("pruned"));
    assert_eq!(found["modules"].as_array().unwrap().len(), 1);
    let kept = |found: &serde_json::Value| {
        let names = found["full"].as_array().unwrap().iter().map(|tensor| tensor["name"].clone());
        names.filter(|name| name != "model.layers.0.up_proj.bias").collect::<Vec<_>>()
    };
    assert_eq!((kept(&found), found["full"].as_array().unwrap().len()), (kept(&all), 5));
}
