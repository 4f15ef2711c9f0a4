//! The command on GGUF files: mixed sides, a deployed base, what `inspect` says, and errors.
#![allow(missing_docs)]

mod common;
#[path = "../../checkpoint/tests/common/gguf.rs"]
mod gguf;
#[path = "../../checkpoint/tests/common/llama.rs"]
mod llama;

use common::{json, phlora, succeed, text};
use gguf::Gguf;
use llama::Llama;
use phlora_core::Dtype;
use std::fs;

#[test]
fn a_deployed_base_is_named_and_verified() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let base = Llama::new(64, 1);
    let tuned = base.plus(&Llama::new(64, 2));
    let b = text(&base.write_checkpoint(&path("base"), "llama"));
    let t = text(&tuned.write_checkpoint(&path("tuned"), "llama"));
    let q = text(&base.write_gguf(&path("q4.gguf"), Dtype::Q4_0));
    let (out, report) = (text(&path("out")), path("report.json"));
    let args =
        ["extract", &b, &t, "--deployed-base", &q, "-o", &out, "--report", &text(&report), "--dtype", "f32"];
    let said = succeed(&args);
    let report = json(&report);
    let total = |field: &str| report["total"][field].as_f64().unwrap();
    let share = total("tuning_norm").powi(2) / (total("tuning_norm").powi(2) + total("repair_norm").powi(2));
    let line =
        format!("{:.1} % of ‖Δ‖² is fine-tuning, {:.1} % repair", 100.0 * share, 100.0 * (1.0 - share));
    assert!(said.contains(&line), "{said}\n{line}");
    for module in report["modules"].as_array().unwrap() {
        assert!(module["repair_norm"].as_f64().unwrap() > 0.0);
        assert!(module["name"].as_str().unwrap().starts_with("model.layers.0."));
    }

    // What it keeps is kept against the file that the device runs.
    let kept = |base: &str| {
        let found: serde_json::Value =
            serde_json::from_str(&succeed(&["verify", base, &t, &out, "--json"])).unwrap();
        found["energy"].as_f64().unwrap()
    };
    assert!((kept(&q) - total("energy")).abs() < 1e-4);
    assert!(kept(&b) < kept(&q));

    // Without it nothing is said of either.
    let plain = succeed(&["extract", &b, &t, "-o", &out, "--force"]);
    assert!(!plain.contains("repair"), "{plain}");
}

#[test]
fn inspect_tells_a_gguf_model() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("m.gguf");
    Llama::new(32, 1)
        .gguf("llama", Dtype::Q8_0, true)
        .add("blk.0.ffn_up_exps.weight", &[4, 2, 32], Dtype::Q4_0, &[0.5; 256])
        .add("rope_freqs.weight", &[8], Dtype::F32, &[1.0; 8])
        .write(&path);
    let said = succeed(&["inspect", &text(&path)]);
    assert!(said.starts_with("GGUF model (version 3), architecture llama\n"), "{said}");
    assert!(said.contains(" in 11 tensors, ") && said.contains("1 file"), "{said}");
    let row = |name: &str| {
        let line = said.lines().find(|line| line.starts_with(name)).expect(name);
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (row("linear"), row("Q8_0"), row("Q4_0"), row("other")),
        ("5".into(), "4".into(), "1".into(), "1".into())
    );

    let hostile = Gguf::model("\x1b[31m\n").add("\x1b[2J.weight", &[1], Dtype::F32, &[1.0]);
    hostile.write(&path);
    let said = succeed(&["inspect", &text(&path)]);
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
}

#[test]
fn inspect_tells_a_gguf_adapter() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let base = Llama::new(64, 1);
    let b = text(&base.write_gguf(&path("base.gguf"), Dtype::F16));
    let t = text(&base.plus(&Llama::new(64, 2)).write_gguf(&path("tuned.gguf"), Dtype::F16));
    let out = text(&path("adapter.gguf"));
    succeed(&["extract", &b, &t, "-o", &out, "--rank", "3", "--dtype", "bf16"]);
    let said = succeed(&["inspect", &out]);
    assert!(said.starts_with("GGUF LoRA adapter, architecture llama, rank 3, alpha 0, scale 1\n"), "{said}");
    let row = |name: &str| said.lines().find(|line| line.starts_with(name)).expect(name);
    assert!(
        said.contains(" modules, ") && row("attn_q").contains(" 2 ") && !said.contains("F16\n"),
        "{said}"
    );
    assert!(row("BF16").split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() >= 2, "{said}");

    // A file of the kind that is no sound adapter is an error, not a model.
    let broken = path("broken.gguf");
    Gguf::model("llama")
        .str("general.type", "adapter")
        .str("adapter.type", "lora")
        .add("blk.0.attn_q.weight.lora_a", &[2, 64], Dtype::F32, &[0.5; 128])
        .write(&broken);
    let (code, _, stderr) = phlora(&["inspect", &text(&broken)]);
    assert!(code == 2 && stderr.contains("blk.0.attn_q"), "{code} {stderr}");
}

#[test]
fn a_dtype_that_the_format_cannot_hold_is_refused_before_anything_is_read() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let b = text(&Llama::new(64, 1).write_checkpoint(&path("base"), "llama"));
    let out = text(&path("out"));
    let (code, _, stderr) = phlora(&["extract", &b, &b, "-o", &out, "--dtype", "q8_0"]);
    assert!(code != 0 && stderr.contains("PEFT adapter cannot hold Q8_0"), "{code} {stderr}");
    assert!(!path("out").exists());
}

#[test]
fn errors_name_file_and_field() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let model = Llama::new(32, 1);
    let checkpoint = text(&model.write_checkpoint(&path("base"), "llama"));
    let file = text(&model.write_gguf(&path("m.gguf"), Dtype::F16));
    let out = text(&path("out"));
    let bad = |name: &str, bytes: &[u8]| {
        fs::write(path(name), bytes).unwrap();
        text(&path(name))
    };
    let whole = fs::read(&file).unwrap();
    let short = bad("short.gguf", &whole[..whole.len() - 64]);
    let version = bad("old.gguf", &[b"GGUF\x01\0\0\0", &whole[8..]].concat());
    let other = text(&path("qwen.gguf"));
    model.gguf("qwen2", Dtype::F16, false).write(&path("qwen.gguf"));
    for (code, args, expected) in [
        (2, vec!["inspect", &short], "leave the file"),
        (2, vec!["inspect", &version], "GGUF version 1"),
        (2, vec!["extract", &checkpoint, &other, "-o", &out], "its type is llama"),
        (2, vec!["extract", &file, &other, "-o", &out], "its architecture is qwen2"),
        (
            2,
            vec!["extract", &checkpoint, &checkpoint, "--deployed-base", &other, "-o", &out],
            "its type is llama",
        ),
        (
            2,
            vec!["extract", &checkpoint, &checkpoint, "--deployed-base", &short, "-o", &out],
            "leave the file",
        ),
        (
            1,
            vec!["extract", &checkpoint, &text(&model.write_gguf(&path("f32.gguf"), Dtype::F32)), "-o", &out],
            "nothing to extract",
        ),
    ] {
        let (found, _, stderr) = phlora(&args);
        assert_eq!(found, code, "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(!path("out").exists());
    }
}

/// More modules than are listed: experts are summed up under the name of their stack.
#[test]
fn many_experts_are_one_line() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let model = |seed: u64| {
        let names = (0..50).map(|e| {
            let name = format!("model.layers.0.block_sparse_moe.experts.{e}.w1.weight");
            (name, (vec![4, 32], llama::noise(seed + e, 128)))
        });
        Llama(names.collect())
    };
    let base = text(&model(1).write_checkpoint(&path("base"), "mixtral"));
    let stack: Vec<f32> = (0..50).flat_map(|e| llama::noise(900 + e, 128)).collect();
    Gguf::model("llama")
        .u32("llama.attention.head_count", 4)
        .u32("llama.attention.head_count_kv", 2)
        .add("blk.0.ffn_gate_exps.weight", &[50, 4, 32], Dtype::Q8_0, &stack)
        .write(&path("t.gguf"));
    let said = succeed(&["extract", &base, &text(&path("t.gguf")), "-o", &text(&path("out")), "--rank", "2"]);
    assert!(said.lines().any(|line| line.starts_with("w1 ") && line.contains(" 50 ")), "{said}");
}
