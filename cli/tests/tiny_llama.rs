//! The command on the repository's real pair: extract, verify, inspect.

mod common;

use common::{json, names, phlora, succeed, text, tiny_llama};
use std::fs;
use std::path::Path;

fn extract(out: &Path, more: &[&str]) -> String {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    succeed(&[&["extract", &base, &tuned, "-o", &text(out)], more].concat())
}

#[test]
fn extracts_verifies_and_inspects() {
    let root = tempfile::tempdir().unwrap();
    let (out, report) = (root.path().join("adapter"), root.path().join("report.json"));
    let table = extract(&out, &["--rank", "16", "--report", &text(&report)]);
    assert!(table.contains("model.layers.3.self_attn.q_proj  192 × 192"), "{table}");
    assert!(table.contains("output head        1       42.6 %"), "{table}");
    let hint = "42.6 % is in the output head, which --include lm_head --include layers gives factors";
    assert!(table.contains(hint), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert_eq!(names(root.path()), ["adapter", "report.json"]);
    assert_eq!(names(&out), ["README.md", "adapter_config.json", "adapter_model.safetensors"]);
    // Whoever may read the configuration may read the weights.
    let permissions = |name| fs::metadata(out.join(name)).unwrap().permissions();
    assert_eq!(permissions("adapter_config.json"), permissions("adapter_model.safetensors"));

    // The README of the pair has 0.6131 of the exact truncated SVD at this rank.
    let energy = json(&report)["total"]["energy"].as_f64().unwrap();
    assert!((0.6125..0.6132).contains(&energy), "{energy}");

    let (base, tuned, adapter) = (tiny_llama("base"), tiny_llama("tuned"), text(&out));
    let verified = succeed(&["verify", &base, &tuned, &adapter, "--min-energy", "0.61", "--json"]);
    let verified: serde_json::Value = serde_json::from_str(&verified).unwrap();
    let measured = verified["energy"].as_f64().unwrap();
    assert!((measured - energy).abs() < 1e-4, "reported {energy}, measured {measured}");
    assert_eq!(verified["modules"].as_array().unwrap().len(), 28);
    let (code, stdout, stderr) = phlora(&["verify", &base, &tuned, &adapter, "--min-energy", "0.62"]);
    assert_eq!(code, 1);
    assert!(stdout.contains("61.3 % of ‖Δ‖² kept over 28 modules"), "{stdout}");
    assert!(stderr.contains("% of ‖Δ‖² over its modules, less than 62 %"), "{stderr}");
    succeed(&["verify", &base, &tuned, &adapter, "--min-whole", "34%"]);
    let (code, _, stderr) = phlora(&["verify", &base, &tuned, &adapter, "--min-whole", "35%"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("% of the whole difference, less than 35 %"), "{stderr}");
    let exchanged = succeed(&["verify", &tuned, &base, &adapter]);
    assert!(exchanged.contains("Are base and tuned exchanged"), "{exchanged}");

    assert!(succeed(&["inspect", &adapter]).contains("LoRA adapter, rank 16, alpha 16, scale 1"));
    assert!(succeed(&["inspect", &base]).contains("LlamaForCausalLM (type llama)"));
    assert!(succeed(&["inspect", &text(&report)]).contains("kept over 28 modules"));
}

#[test]
fn the_same_bits_for_any_number_of_threads() {
    let root = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for threads in ["1", "2", "3"] {
        let out = root.path().join(threads);
        extract(&out, &["--rank", "8", "--threads", threads, "--quiet"]);
        written.push(fs::read(out.join("adapter_model.safetensors")).unwrap());
    }
    assert!(written.iter().all(|bytes| *bytes == written[0]));
}

#[test]
fn every_mode_and_dtype() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let mut exact = 0.0;
    for (mode, dtype, least) in
        [("exact", "f32", 1.0), ("multi-read", "f16", 0.999), ("stream-once", "bf16", 0.97)]
    {
        let out = root.path().join(mode);
        extract(&out, &["--rank", "16", "--mode", mode, "--dtype", dtype, "--quiet"]);
        let verified = succeed(&["verify", &base, &tuned, &text(&out), "--json"]);
        let verified: serde_json::Value = serde_json::from_str(&verified).unwrap();
        let energy = verified["energy"].as_f64().unwrap();
        if mode == "exact" {
            exact = energy;
        }
        assert!(energy >= least * exact, "{mode}: {energy} of {exact}");
    }
}

#[test]
fn the_report_has_its_schema() {
    let root = tempfile::tempdir().unwrap();
    let report = root.path().join("r.json");
    extract(&root.path().join("a"), &["--rank", "4", "--report", &text(&report), "--quiet"]);
    let report = json(&report);
    let keys = |value: &serde_json::Value| -> Vec<String> {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(
        keys(&report),
        [
            "bytes_in",
            "bytes_out",
            "curve",
            "dtype",
            "left_out",
            "modules",
            "origin",
            "phlora",
            "policy",
            "seconds",
            "total",
            "version"
        ]
    );
    assert_eq!(keys(&report["origin"]), ["base", "command", "date", "tuned"]);
    assert_eq!(
        (&report["origin"]["base"], &report["origin"]["tuned"]),
        (&tiny_llama("base").into(), &tiny_llama("tuned").into())
    );
    assert_eq!(keys(&report["policy"]), ["goal", "max_rank", "multiple", "uniform", "value"]);
    assert_eq!((&report["policy"]["goal"], &report["dtype"]), (&"rank".into(), &"f16".into()));
    let curve = report["curve"].as_array().unwrap();
    assert_eq!(keys(&curve[0]), ["bytes", "energy"]);
    let number = |point: &serde_json::Value, key: &str| point[key].as_f64().unwrap();
    assert!(curve.is_sorted_by(|a, b| number(a, "bytes") < number(b, "bytes")));
    assert!(curve.is_sorted_by(|a, b| number(a, "energy") <= number(b, "energy")));
    assert_eq!(report["version"], 1);
    assert_eq!(
        keys(&report["total"]),
        ["delta_norm", "energy", "parameters_in", "parameters_out", "whole_energy", "whole_norm"]
    );
    let module = &report["modules"][0];
    assert_eq!(
        keys(module),
        [
            "bytes",
            "converged",
            "delta_norm",
            "energy",
            "further_singular_values",
            "kind",
            "layer",
            "name",
            "noise_floor",
            "noise_rank",
            "rank",
            "reads",
            "rounding_loss",
            "shape",
            "singular_values",
            "weight_norm"
        ]
    );
    assert_eq!(module["name"], "model.layers.0.mlp.down_proj");
    assert_eq!(module["shape"], serde_json::json!([192, 512]));
    assert_eq!((&module["layer"], &module["kind"]), (&"model.layers.0".into(), &"mlp.down_proj".into()));
    assert_eq!(module["bytes"], 2 * 4 * (192 + 512));
    assert!(module["further_singular_values"].as_array().unwrap().len() > 8);
    let sigma: Vec<_> =
        module["singular_values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
    assert_eq!(sigma.len(), 4);
    assert!(sigma.is_sorted_by(|a, b| a >= b));
    let kept: f64 = sigma.iter().map(|s| s * s).sum();
    let norm = module["delta_norm"].as_f64().unwrap();
    assert!((kept / (norm * norm) - module["energy"].as_f64().unwrap()).abs() < 1e-5);
    assert_eq!(report["left_out"].as_array().unwrap().len(), 11);
    assert_eq!(keys(&report["left_out"][0]), ["delta_norm", "name", "reason", "weight_norm"]);
    // 4 × Σ(out + in) over the 28 modules, two bytes each and the headers.
    assert_eq!(report["total"]["parameters_out"], 4 * 13_824);
    assert!(report["bytes_out"].as_u64().unwrap() > 8 * 13_824);
}

#[test]
fn the_output_head_takes_part_when_asked() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("a");
    let table = extract(&out, &["--include", "lm_head", "--include", "q_proj", "--exclude", r"layers\.0\."]);
    assert!(table.contains("4 modules"), "{table}");
    let config = json(&out.join("adapter_config.json"));
    // q_proj alone would also name the one of layer 0.
    let targets = config["target_modules"].as_array().unwrap();
    assert_eq!(targets[0], "lm_head");
    assert_eq!(targets[1], "model.layers.1.self_attn.q_proj");
}
