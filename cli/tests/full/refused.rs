//! What is refused, and what is said about it.

use crate::common::*;
use crate::*;

#[test]
fn what_has_no_place_is_refused_or_said() {
    let models = models(0);
    let (gguf, out) = (models.path("out.gguf"), models.path("out"));
    let single = models.path("out.safetensors");
    let args = ["extract", &models.base, &models.tuned, "-o"];
    for (more, message) in [
        (&[gguf.as_str(), "--also", "norms"][..], "llama.cpp reads nothing but factors"),
        (
            &[single.as_str(), "--format", "kohya", "--prefix", "lora_te", "--also", "tokens"],
            "no place for rows of a vocabulary",
        ),
        (&[out.as_str(), "--also", "everything"], "invalid value"),
        (
            &[out.as_str(), "--also", "biases", "--include", "embed", "--include", "_proj"],
            "no biases beside the factors",
        ),
    ] {
        let (code, _, stderr) = phlora(&[&args[..], more].concat());
        assert!(code != 0 && stderr.contains(message), "{more:?}: {stderr}");
    }
    for server in ["vllm", "lorax", "punica"] {
        let (report, said) = models.extract(server, &[&ALL[..], &["--for", server]].concat());
        assert!(said.contains("no norms, biases or tokens"), "{server}: {said}");
        assert!(report["full"].is_null(), "{server}");
    }
    // A bias without factors beside it, and a path that ends others' paths.
    let (report, _) =
        models.extract("out", &["--also", "biases,norms", "--exclude", "up_proj.*weight|norm$"]);
    assert_eq!(report["full"].as_array().unwrap().len(), 3);
    let (report, _) = models.extract("out", &["--also", "biases", "--exclude", "up_proj"]);
    assert_eq!(reason(&report, "model.layers.0.up_proj.bias"), "excluded");
}

#[test]
fn without_factors_there_is_no_adapter() {
    let root = tempfile::tempdir().unwrap();
    let (up, down) = (noise(1, 24 * DIM, 1.0), noise(2, DIM * 24, 1.0));
    let model = |norm: f32| side(&Side { up: &up, down: &down, norm, bias: 0.5, tokens: (ROWS, 0.0) });
    let (base, tuned) = write_pair(root.path(), &model(1.0), &model(2.0));
    let out = text(&root.path().join("out"));
    let (code, _, stderr) = phlora(&["extract", &base, &tuned, "-o", &out, "--also", "norms"]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("no selected layer differs") && stderr.contains("norm (3)"), "{stderr}");
}

#[test]
fn what_is_no_number_is_refused_by_name_and_row() {
    for (name, row) in [
        ("model.embed_tokens.weight", 7),
        ("lm_head.weight", 1),
        ("model.norm.weight", 0),
        ("model.layers.0.up_proj.bias", 0),
    ] {
        let models = models(2);
        let path = Path::new(&models.tuned).join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let header = usize::try_from(header).unwrap();
        let entries: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
        let start = usize::try_from(entries[name]["data_offsets"][0].as_u64().unwrap()).unwrap();
        let size = if entries[name]["dtype"] == "BF16" { 2 } else { 4 };
        bytes[8 + header + start + row * DIM * size..][..4].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        let out = models.path("out");
        let (code, _, stderr) = phlora(&["extract", &models.base, &models.tuned, "-o", &out, ALL[0], ALL[1]]);
        assert_eq!(code, 2, "{name}: {stderr}");
        assert!(stderr.contains(name) && stderr.contains(&format!("row {row}")), "{name}: {stderr}");
        assert!(!Path::new(&out).exists());
    }
}

#[test]
fn adapters_that_say_what_they_do_not_hold_are_refused() {
    let models = models(2);
    models.extract("out", &ALL);
    let path = models.root.path().join("out/adapter_config.json");
    let sound = json(&path);
    for (field, value, message) in [
        (
            "trainable_token_indices",
            json!({"model.embed_tokens": [2, 6], "lm_head": [2, 6, 7]}),
            "expected [2, dim]",
        ),
        (
            "trainable_token_indices",
            json!({"model.embed_tokens": [2, 6, 6], "lm_head": [2, 6, 7]}),
            "row 6 twice",
        ),
        ("trainable_token_indices", json!({"lm_head": [2, 6, 7]}), "does not say which rows"),
        ("trainable_token_indices", json!("all"), "no lists of rows"),
        ("modules_to_save", json!([]), "not a LoRA factor"),
    ] {
        let mut config = sound.clone();
        config[field] = value;
        std::fs::write(&path, config.to_string()).unwrap();
        let (code, _, stderr) = phlora(&["inspect", &models.path("out")]);
        assert!(code != 0 && stderr.contains(message), "{field} {}: {stderr}", config[field]);
    }
    // Rows in another order are the same adapter.
    let mut config = sound;
    config["trainable_token_indices"]["lm_head"] = json!([7, 2, 6]);
    std::fs::write(&path, config.to_string()).unwrap();
    let found = models.verify("out");
    assert!(
        found["full"][0]["residual_norm"].as_f64().unwrap() > 1.0 && found["full"][1]["residual_norm"] == 0.0
    );
    let (code, _, stderr) = phlora(&["verify", &models.base, &models.base, &models.path("out")]);
    assert!(code != 0 && stderr.contains("holds its row 7"), "{stderr}");
}
