//! Layers that PEFT takes whole alone: stored where they are small or asked for, said where they are not.

mod common;

use common::*;
use phlora_core::Dtype::{Bf16, F32};
use serde_json::{Value, json};
use std::path::Path;

const CONV: [usize; 3] = [16, 8, 3];
const CONV_LEN: usize = CONV[0] * CONV[1] * CONV[2];
const DIM: usize = 64;
const WHY: &str = "layer that PEFT takes whole: its class reads attributes that PEFT's layer lacks";

/// Two convolutions whose attributes Whisper's encoder reads, one of which never changes, and a linear layer.
fn side(conv: &[f32], bias: f32, linear: &[f32]) -> Tensors {
    Tensors::default()
        .add("model.encoder.conv1.weight", &CONV, Bf16, conv)
        .add("model.encoder.conv1.bias", &[CONV[0]], F32, &[bias; CONV[0]])
        .add("model.encoder.conv2.weight", &CONV, Bf16, &noise(4, CONV_LEN, 1.0))
        .add("model.encoder.conv2.bias", &[CONV[0]], F32, &[0.5; CONV[0]])
        .add("model.encoder.layers.0.fc1.weight", &[DIM, DIM], F32, linear)
}

struct Models {
    root: tempfile::TempDir,
    base: String,
    tuned: String,
}

fn models() -> Models {
    let root = tempfile::tempdir().unwrap();
    let linear = noise(1, DIM * DIM, 1.0);
    let config = r#"{"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]}"#;
    let write = |name: &str, tensors: &Tensors| write_model(&root.path().join(name), tensors, config);
    let base = write("base", &side(&noise(2, CONV_LEN, 1.0), 0.5, &linear));
    let tuned = plus_low_rank(&linear, DIM, DIM, 2, 7);
    let tuned = write("tuned", &side(&noise(3, CONV_LEN, 1.0), 0.75, &tuned));
    Models { root, base, tuned }
}

impl Models {
    /// Extracts with `more` options, and gives the report, PEFT's configuration and what was said.
    fn extract(&self, more: &[&str]) -> (Value, Value, String) {
        let out = self.root.path().join("out");
        let (path, report) = (text(&out), text(&self.root.path().join("report.json")));
        let args = ["extract", &self.base, &self.tuned, "-o", &path, "--report", &report, "--force"];
        let (code, stdout, stderr) = phlora(&[&args[..], more].concat());
        assert_eq!(code, 0, "{stderr}");
        (json(Path::new(&report)), json(&out.join("adapter_config.json")), stdout + &stderr)
    }
}

fn stored(report: &Value) -> Vec<(&str, &str)> {
    let full = report["full"].as_array().map_or(&[][..], Vec::as_slice);

    full.iter().map(|tensor| (tensor["name"].as_str().unwrap(), tensor["kind"].as_str().unwrap())).collect()
}

fn reason<'r>(report: &'r Value, name: &str) -> &'r str {
    let left = report["left_out"].as_array().unwrap().iter().find(|tensor| tensor["name"] == name);
    left.unwrap_or_else(|| panic!("{name} is not left out"))["reason"].as_str().unwrap()
}

const CONV1: [(&str, &str); 2] =
    [("model.encoder.conv1.bias", "layer"), ("model.encoder.conv1.weight", "layer")];

#[test]
fn a_layer_that_needs_no_more_bytes_than_the_factors_is_stored_whole() {
    let models = models();
    let (report, config, said) = models.extract(&["--rank", "16"]);
    assert_eq!(stored(&report), CONV1);
    assert_eq!(config["modules_to_save"], json!(["model.encoder.conv1"]));
    assert_eq!(reason(&report, "model.encoder.conv2.weight"), "unchanged");
    assert!(report["total"]["whole_energy"].as_f64().unwrap() > 0.999, "{report}");
    assert!(!said.contains("--also layers"), "{said}");

    let merged = text(&models.root.path().join("merged"));
    succeed(&["merge", &models.base, &text(&models.root.path().join("out")), "-o", &merged]);
    let values = |model: &str, name: &str| {
        let bytes = std::fs::read(Path::new(model).join("model.safetensors")).unwrap();
        decoded(&safetensors::SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap())
    };
    for (name, _) in CONV1 {
        assert_eq!(values(&merged, name), values(&models.tuned, name), "{name}");
    }
}

#[test]
fn a_larger_one_is_left_out_unless_it_is_asked_for() {
    let models = models();
    let (report, config, said) = models.extract(&["--rank", "2"]);
    assert_eq!(stored(&report), []);
    assert!(config["modules_to_save"].is_null(), "{config}");
    assert_eq!(reason(&report, "model.encoder.conv1.weight"), WHY);
    assert!(said.contains("--also layers stores the layers that PEFT takes whole"), "{said}");

    let (report, ..) = models.extract(&["--rank", "2", "--also", "layers"]);
    assert_eq!(stored(&report), CONV1);
    // Within a budget nothing is stored unasked.
    let (report, ..) = models.extract(&["--budget", "16KB"]);
    assert_eq!(reason(&report, "model.encoder.conv1.weight"), WHY);
}

#[test]
fn exclude_and_include_hold_for_them() {
    let models = models();
    let (report, ..) = models.extract(&["--rank", "16", "--exclude", "conv1"]);
    assert_eq!(reason(&report, "model.encoder.conv1.weight"), "excluded");
    let (report, ..) = models.extract(&["--rank", "16", "--include", "fc1"]);
    assert_eq!(stored(&report), []);
    let (report, ..) = models.extract(&["--rank", "16", "--include", "fc1|conv"]);
    assert_eq!(stored(&report), CONV1);
}

#[test]
fn other_formats_and_names_have_no_place_for_them() {
    let models = models();
    let out = text(&models.root.path().join("out.safetensors"));
    let args = ["extract", &models.base, &models.tuned, "-o", &out, "--also", "layers", "--format", "comfy"];
    let (code, _, stderr) = phlora(&args);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("no place for whole layers"), "{stderr}");
}
