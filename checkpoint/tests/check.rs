//! Every code of `check`, on an adapter that is wrong in one way.
#![allow(missing_docs)]

mod common;

use common::gguf::{ARRAY, Gguf, I32};
use phlora::{Finding, Model, Monitor, Severity, check};
use phlora_core::Dtype;
use std::fs;
use std::path::{Path, PathBuf};

const UP: &str = "blk.0.ffn_up.weight";
const EXPERTS: &str = "blk.0.ffn_up_exps.weight";
const F32: u32 = 6;
const F64: u32 = 12;

fn base(root: &Path, architecture: &str, tied: bool) -> Model {
    let zeros = |n: usize| vec![0.5; n];
    let mut file = Gguf::model(architecture)
        .add("token_embd.weight", &[50, 32], Dtype::F32, &zeros(1600))
        .add(UP, &[64, 32], Dtype::F32, &zeros(2048))
        .add("blk.0.attn_q.weight", &[32, 32], Dtype::F32, &zeros(1024))
        .add("blk.0.attn_norm.weight", &[32], Dtype::F32, &zeros(32))
        .add(EXPERTS, &[4, 16, 32], Dtype::F32, &zeros(2048));
    if !tied {
        file = file.add("output.weight", &[50, 32], Dtype::F32, &zeros(1600));
    }
    let path = root.join(format!("{architecture}-{tied}.gguf"));
    fs::write(&path, file.bytes()).unwrap();
    Model::open(&path).unwrap()
}

fn adapter() -> Gguf {
    Gguf::model("llama").str("general.type", "adapter").str("adapter.type", "lora").key(
        "adapter.lora.alpha",
        F32,
        &0_f32.to_le_bytes(),
    )
}

fn pair(file: Gguf, name: &str, a: &[usize], b: &[usize]) -> Gguf {
    let ones = |shape: &[usize]| vec![0.25; shape.iter().product()];
    file.add(&format!("{name}.lora_a"), a, Dtype::F32, &ones(a)).add(
        &format!("{name}.lora_b"),
        b,
        Dtype::F32,
        &ones(b),
    )
}

fn good() -> Gguf {
    pair(adapter(), UP, &[8, 32], &[64, 8])
}

/// The same keys with another value for one.
fn keyed(key: &str, kind: u32, value: &[u8]) -> Gguf {
    let mut file = good();
    file.keys.retain(|(name, ..)| name != key.as_bytes());
    file.key(key, kind, value)
}

fn text(key: &str, value: &str) -> Gguf {
    let mut file = good();
    file.keys.retain(|(name, ..)| name != key.as_bytes());
    file.str(key, value)
}

fn findings(root: &Path, bytes: &[u8], base: &Model) -> Vec<Finding> {
    let path: PathBuf = root.join("adapter.gguf");
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).unwrap();
    check(&path, base, &Monitor::default()).unwrap()
}

#[test]
fn every_code_has_its_case() {
    use Severity::{Error, Note, Warning};
    let root = tempfile::tempdir().unwrap();
    let (llama, tied) = (base(root.path(), "llama", false), base(root.path(), "llama", true));
    let moved = |by: u64| {
        let mut file = good();
        file.tensors[1].offset = Some(8 * 32 * 4 + by);
        file
    };
    let filled = |value: f32| {
        let mut values = vec![0.25; 512];
        values[9] = value;
        adapter().add(&format!("{UP}.lora_a"), &[8, 32], Dtype::F32, &[0.25; 256]).add(
            &format!("{UP}.lora_b"),
            &[64, 8],
            Dtype::F32,
            &values,
        )
    };
    let typed = |ggml_type: u32, bytes: usize| {
        adapter().raw(&format!("{UP}.lora_a"), &[8, 32], ggml_type, vec![0; bytes]).add(
            &format!("{UP}.lora_b"),
            &[64, 8],
            Dtype::F32,
            &[0.25; 512],
        )
    };
    let long = format!("blk.0.{}.weight", "x".repeat(51));
    let versioned = |version| Gguf { version, ..good() };
    let mut deepseek = text("general.architecture", "deepseek2");
    deepseek.tensors.clear();
    let deepseek = pair(deepseek, "blk.0.attn_q.weight", &[8, 32], &[32, 8]);
    let cases = [
        ("not-an-adapter", Error, text("general.type", "model")),
        ("adapter-type", Error, text("adapter.type", "dora")),
        ("wrong-architecture", Error, text("general.architecture", "qwen2")),
        ("alpha-type", Error, keyed("adapter.lora.alpha", 4, &8_u32.to_le_bytes())),
        ("alpha-type", Error, keyed("adapter.lora.alpha", F64, &8_f64.to_le_bytes())),
        ("alpha-not-finite", Error, keyed("adapter.lora.alpha", F32, &f32::NAN.to_le_bytes())),
        (
            "alora-type",
            Error,
            keyed(
                "adapter.alora.invocation_tokens",
                ARRAY,
                &[&I32.to_le_bytes()[..], &1_u64.to_le_bytes(), &7_i32.to_le_bytes()].concat(),
            ),
        ),
        ("gguf-version", Error, versioned(1)),
        ("gguf-version", Error, versioned(4)),
        ("gguf-invalid", Error, Gguf { tensor_count: Some(u64::MAX), ..good() }),
        ("bad-offset", Error, moved(32)),
        ("bad-offset", Error, moved(4)),
        ("bad-offset", Error, moved(1 << 40)),
        ("bad-tensor", Error, pair(adapter(), UP, &[0, 32], &[64, 0])),
        ("duplicate-name", Error, pair(good(), UP, &[8, 32], &[64, 8])),
        ("name-too-long", Error, pair(good(), &long, &[8, 32], &[64, 8])),
        ("bad-suffix", Error, good().add(&format!("{UP}.lora_c"), &[8], Dtype::F32, &[0.0; 8])),
        ("norm-ignored", Warning, good().add("blk.0.attn_norm.weight", &[32], Dtype::F32, &[0.0; 32])),
        ("missing-pair", Error, good().add("blk.0.attn_q.weight.lora_a", &[8, 32], Dtype::F32, &[0.0; 256])),
        ("unknown-tensor", Error, pair(good(), "blk.9.ffn_up.weight", &[8, 32], &[64, 8])),
        ("wrong-shape", Error, pair(adapter(), UP, &[8, 16], &[64, 8])),
        ("wrong-shape", Error, pair(adapter(), UP, &[8, 32], &[60, 8])),
        ("wrong-shape", Error, pair(adapter(), "token_embd.weight", &[8, 32], &[50, 8])),
        ("rank-mismatch", Error, pair(adapter(), UP, &[8, 32], &[64, 4])),
        ("rank-too-large", Note, pair(adapter(), UP, &[40, 32], &[64, 40])),
        ("expert-count", Error, pair(adapter(), EXPERTS, &[2, 8, 32], &[2, 16, 8])),
        ("expert-count", Error, pair(adapter(), EXPERTS, &[8, 32], &[16, 8])),
        ("expert-count", Error, pair(adapter(), UP, &[2, 8, 32], &[2, 64, 8])),
        ("more-experts", Warning, pair(adapter(), EXPERTS, &[8, 8, 32], &[8, 16, 8])),
        ("no-effect", Warning, pair(adapter(), "blk.0.attn_norm.weight", &[8, 32], &[1, 8])),
        ("no-effect", Warning, typed(0, 8 * 32 * 4)),
        ("not-finite", Error, filled(f32::NAN)),
        ("not-finite", Error, filled(f32::INFINITY)),
        ("bad-type", Error, typed(28, 8 * 32 * 8)),
        ("bad-type", Error, typed(26, 8 * 32 * 4)),
        ("bad-type", Error, typed(99, 8 * 32 * 4)),
        ("rank-not-in-blocks", Error, adapter().raw(&format!("{UP}.lora_b"), &[64, 20], 8, vec![0; 40 * 34])),
        ("empty", Warning, adapter()),
    ];
    for (code, severity, file) in &cases {
        let found = findings(root.path(), &file.bytes(), &llama);
        let one = found.iter().find(|finding| finding.code == *code);
        assert!(one.is_some_and(|one| one.severity == *severity), "{code}: {found:?}");
        let errors = found.iter().any(|finding| finding.severity == Error);
        assert_eq!(errors, *severity == Error, "{code}: {found:?}");
    }
    for (code, name, a, b) in [
        ("tied-embedding", "token_embd.weight", [50, 8], [32, 8]),
        ("tied-output", "output.weight", [8, 32], [50, 8]),
    ] {
        let found = findings(root.path(), &pair(adapter(), name, &a, &b).bytes(), &tied);
        assert_eq!((found[0].code, found[0].severity), (code, Error), "{found:?}");
        assert!(findings(root.path(), &pair(adapter(), name, &a, &b).bytes(), &llama).is_empty());
    }
    let found = findings(root.path(), &deepseek.bytes(), &base(root.path(), "deepseek2", false));
    assert_eq!((found[0].code, found[0].severity), ("architecture-ignores", Warning), "{found:?}");
}

#[test]
fn what_is_sound_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let llama = base(root.path(), "llama", false);
    let q8 = adapter()
        .raw(&format!("{UP}.lora_a"), &[8, 32], 8, [&[0, 0x3c][..], &[1; 32]].concat().repeat(8))
        .add(&format!("{UP}.lora_b"), &[64, 8], Dtype::F32, &[0.25; 512]);
    for file in [
        good(),
        Gguf { version: 2, ..good() },
        pair(adapter(), EXPERTS, &[4, 8, 32], &[4, 16, 8]),
        pair(adapter(), UP, &[32], &[64, 1]),
        q8,
    ] {
        let found = findings(root.path(), &file.bytes(), &llama);
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn all_is_found_at_once_and_no_cut_panics() {
    let root = tempfile::tempdir().unwrap();
    let llama = base(root.path(), "llama", false);
    let mut file = text("general.architecture", "qwen2");
    file = pair(file, "blk.9.ffn_up.weight", &[8, 32], &[64, 8]);
    file = file.add("blk.0.attn_norm.weight", &[32], Dtype::F32, &[0.0; 32]);
    let codes: Vec<_> = findings(root.path(), &file.bytes(), &llama).iter().map(|f| f.code).collect();
    assert_eq!(codes, ["wrong-architecture", "unknown-tensor", "norm-ignored"]);
    let bytes = good().bytes();
    for length in (4..bytes.len()).step_by(7) {
        findings(root.path(), &bytes[..length], &llama);
    }
}

#[test]
fn a_file_of_another_kind_is_no_gguf_adapter() {
    let root = tempfile::tempdir().unwrap();
    let mut bytes = good().bytes();
    bytes[..4].copy_from_slice(b"GGML");
    let found = findings(root.path(), &bytes, &base(root.path(), "llama", false));
    assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["gguf-invalid"]);
}

#[test]
fn what_is_beside_the_factors_has_no_place_in_llama_cpp() {
    use phlora::{AdapterFormat, Effect, Factor, FullTensor, Lora, LoraModule, Monitor, Naming};
    let root = tempfile::tempdir().unwrap();
    let factor = |shape: [usize; 2], value: f32| {
        let bytes: Vec<u8> = vec![value; shape[0] * shape[1]].iter().flat_map(|v| v.to_le_bytes()).collect();
        Factor::new(Dtype::F32, shape, bytes).unwrap()
    };
    let save = |name: &str, norm: usize, value: f32| {
        let (a, b) = (factor([2, 32], 1.0), factor([64, 2], 1.0));
        let module = LoraModule::new("model.layers.0.mlp.up_proj", a, b);
        let norm = FullTensor {
            name: "model.layers.0.input_layernorm.weight".into(),
            shape: vec![norm],
            values: factor([1, norm], value),
            effect: Effect::Replaces,
            whole: None,
        };
        let lora = Lora { full: vec![norm], ..Lora::new(vec![module], Naming::HuggingFace) };
        let path = root.path().join(name);
        lora.save(&path, AdapterFormat::Peft, false, &Monitor::default()).unwrap();
        path
    };
    let codes = |adapter: &Path, base: &Model| -> Vec<&str> {
        check(adapter, base, &Monitor::default()).unwrap().iter().map(|finding| finding.code).collect()
    };
    let good = save("good", 32, 1.5);
    assert_eq!(
        codes(&good, &base(root.path(), "llama", false)),
        ["no-place", "unknown-tensor", "needs-conversion"]
    );

    // A checkpoint has a place, if it has the tensor.
    let checkpoint = root.path().join("model.safetensors");
    let (up, norm) = (vec![0_u8; 64 * 32 * 4], vec![0_u8; 32 * 4]);
    let view = |shape: &[usize], data| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), data).unwrap()
    };
    let tensors = [
        ("model.layers.0.mlp.up_proj.weight", view(&[64, 32], up.as_slice())),
        ("model.layers.0.input_layernorm.weight", view(&[32], norm.as_slice())),
    ];
    safetensors::serialize_to_file(tensors, None, &checkpoint).unwrap();
    let checkpoint = Model::open(&checkpoint).unwrap();
    assert!(codes(&good, &checkpoint).is_empty());
    assert_eq!(codes(&save("short", 31, 1.5), &checkpoint), ["wrong-shape"]);
}
