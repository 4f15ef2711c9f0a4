//! What a user may rely on with files that others made, and with files of his own.
#![allow(missing_docs)]

mod common;

use common::*;
use phlora_core::Dtype::F32;
use std::fs;
use std::path::Path;

/// A pair of one square layer that differs by `entry` everywhere.
fn pair_that_differs_by(root: &Path, entry: f32) -> (String, String) {
    let model = |value: f32| Tensors::default().add(LINEAR, &[64, 64], F32, &[value; 64 * 64]);
    write_pair(root, &model(0.0), &model(entry))
}

/// Extracts at rank 4 in one mode, to `out` and `report.json`.
fn extract(root: &Path, [base, tuned]: [&str; 2], mode: &str, more: &[&str]) -> (i32, String, String) {
    let (out, report) = (text(&root.join("out")), text(&root.join("report.json")));
    let args = ["extract", base, tuned, "-o", &out, "--rank", "4", "--mode", mode, "--report", &report];
    phlora(&[&args[..], more].concat())
}

#[test]
fn a_difference_beyond_f32_is_refused_in_every_mode() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = pair_that_differs_by(root.path(), 1e37);
    let (out, report) = (root.path().join("out"), root.path().join("report.json"));
    for mode in ["exact", "multi-read", "stream-once", "auto"] {
        let (code, _, stderr) = extract(root.path(), [&base, &tuned], mode, &[]);
        assert_eq!(code, 2, "{mode}: {stderr}");
        assert!(stderr.contains(LINEAR) && stderr.contains("range of f32"), "{mode}: {stderr}");
        assert!(!out.exists() && !report.exists(), "{mode}");
    }
}

#[test]
fn what_is_close_to_the_end_of_f32_makes_a_report_that_is_read() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = pair_that_differs_by(root.path(), 5e36);
    let report = root.path().join("report.json");
    for mode in ["exact", "multi-read", "stream-once"] {
        let (code, _, stderr) = extract(root.path(), [&base, &tuned], mode, &["--dtype", "f32", "--force"]);
        assert_eq!(code, 0, "{mode}: {stderr}");
        assert!(json(&report)["modules"][0]["singular_values"][0].is_number(), "{mode}");
        succeed(&["inspect", &text(&report)]);
        succeed(&["report", &text(&report), "-o", &text(&root.path().join("page.html")), "--force"]);
    }
}

#[test]
fn what_an_adapter_names_as_its_base_is_not_opened() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    let adapter = root.path().join("adapter");
    succeed(&["extract", &base, &tuned, "-o", &text(&adapter), "--rank", "2", "--quiet"]);
    let named = root.path().join("named");
    fs::create_dir(&named).unwrap();
    fs::write(named.join("config.json"), r#"{"model_type":"llama","num_attention_heads":4}"#).unwrap();
    let config = adapter.join("adapter_config.json");
    let mut fields = json(&config);
    fields["base_model_name_or_path"] = text(&named).into();
    fs::write(&config, fields.to_string()).unwrap();
    let (code, _, stderr) = phlora(&["convert", &text(&adapter), "-o", &text(&root.path().join("a.gguf"))]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("--base") && stderr.contains("names") && stderr.contains("named"), "{stderr}");
}

#[test]
fn a_single_file_gets_a_name_by_which_it_is_found() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    for format in ["kohya", "comfy"] {
        let out = root.path().join("adapter");
        let args = ["extract", &base, &tuned, "-o", &text(&out), "--format", format, "--rank", "2"];
        let (code, _, stderr) = phlora(&args);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("adapter.safetensors"), "{stderr}");
        assert!(!out.exists());
    }
}

#[test]
fn a_readme_of_the_user_stays() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    let out = root.path().join("out");
    let args = ["extract", &base, &tuned, "-o", &text(&out), "--rank", "2", "--quiet", "--force"];
    succeed(&args);
    fs::write(out.join("README.md"), "mine").unwrap();
    succeed(&args);
    assert_eq!(fs::read_to_string(out.join("README.md")).unwrap(), "mine");
}

#[test]
fn tables_spell_out_what_is_not_seen() {
    let root = tempfile::tempdir().unwrap();
    let name = "h.0.\u{200b}u\u{202e}p\u{2060}\u{feff}.weight";
    let model = |scale: f32| {
        let values: Vec<_> = noise(3, 24 * 16, 1.0).iter().map(|value| value * scale).collect();
        Tensors::default().add(name, &[24, 16], F32, &values)
    };
    let (base, tuned) = write_pair(root.path(), &model(1.0), &model(1.5));
    let out = text(&root.path().join("out"));
    for args in [
        vec!["extract", &base, &tuned, "-o", &out, "--rank", "2", "--modules"],
        vec!["plan", &base, &tuned],
        vec!["inspect", &base],
        vec!["inspect", &out],
        vec!["verify", &base, &tuned, &out],
    ] {
        let printed = succeed(&args);
        let hidden = |c: char| matches!(c, '\u{200b}' | '\u{202e}' | '\u{2060}' | '\u{feff}');
        assert!(!printed.contains(hidden), "{args:?}: {printed:?}");
    }
}
