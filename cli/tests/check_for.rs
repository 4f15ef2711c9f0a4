//! `phlora check --for`: what each program refuses or ignores, and that the repair that is named repairs it.

mod common;

use common::{extract_tiny, json, phlora, succeed, text, tiny_llama};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// Exit code and codes of the findings.
fn check(adapter: &Path, program: &str) -> (i32, Vec<(String, Value)>) {
    let (code, out, stderr) =
        phlora(&["check", &text(adapter), "--base", &tiny_llama("base"), "--for", program, "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{program}: {out}{stderr}"));
    let one = |finding: &Value| (finding["code"].as_str().unwrap().to_owned(), finding["repair"].clone());
    (code, found.as_array().unwrap().iter().map(one).collect())
}

fn has(found: &[(String, Value)], code: &str) -> bool {
    found.iter().any(|(own, _)| own == code)
}

fn change(adapter: &Path, field: &str, value: Value) {
    let path = adapter.join("adapter_config.json");
    let mut config = json(&path);
    config[field] = value;
    fs::write(&path, config.to_string()).unwrap();
}

#[test]
fn a_plain_adapter_passes_where_it_loads() {
    let root = tempfile::tempdir().unwrap();
    let plain = root.path().join("plain");
    extract_tiny(&plain, &["--rank", "8"]);
    for program in ["peft", "vllm", "sglang", "ollama"] {
        let (code, found) = check(&plain, program);
        assert_eq!(code, 0, "{program}: {found:?}");
    }
    // What kohya's files call the modules of a language model is not known.
    for (program, repair) in [("mlx", json!("mlx")), ("diffusers", Value::Null), ("llama.cpp", json!("gguf"))]
    {
        let (code, found) = check(&plain, program);
        assert!(code == 1 && found[0] == ("wrong-format".to_owned(), repair), "{program}: {found:?}");
    }
    let gguf = root.path().join("a.gguf");
    succeed(&["convert", &text(&plain), "-o", &text(&gguf), "--base", &tiny_llama("base"), "-q"]);
    for program in ["ollama", "llama.cpp"] {
        assert_eq!(check(&gguf, program).0, 0, "{program}");
    }
    for program in ["peft", "vllm", "sglang"] {
        let (code, found) = check(&gguf, program);
        assert!(code == 1 && found[0] == ("wrong-format".to_owned(), json!("peft")), "{program}: {found:?}");
    }
}

#[test]
fn a_file_of_another_architecture_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (plain, other) = (root.path().join("plain"), root.path().join("other.gguf"));
    extract_tiny(&plain, &["--rank", "4"]);
    succeed(&["convert", &text(&plain), "-o", &text(&other), "--arch", "qwen2", "-q"]);
    let (code, found) = check(&other, "llama.cpp");
    assert!(code == 1 && has(&found, "wrong-architecture"), "{found:?}");
    let merged = text(&root.path().join("merged"));
    let (code, _, stderr) = phlora(&["merge", &tiny_llama("base"), &text(&other), "-o", &merged]);
    assert!(code == 2 && stderr.contains("its architecture is qwen2"), "{stderr}");
}

#[test]
fn a_scale_of_nothing_is_found() {
    let root = tempfile::tempdir().unwrap();
    let plain = root.path().join("plain");
    extract_tiny(&plain, &["--rank", "4"]);
    change(&plain, "lora_alpha", json!(0));
    assert!(has(&check(&plain, "peft").1, "no-effect"));
}

#[test]
fn what_servers_refuse_or_ignore_is_found() {
    let root = tempfile::tempdir().unwrap();
    let made = |name: &str, more: &[&str]| {
        let path = root.path().join(name);
        extract_tiny(&path, &[&["--rank", "8"], more].concat());
        path
    };
    let field = |name: &str, field: &str, value: Value| {
        let path = made(name, &[]);
        change(&path, field, value);
        path
    };
    for (adapter, program, code, refused) in [
        (made("norms", &["--also", "norms"]), "vllm", "modules-to-save", true),
        (field("dora", "use_dora", json!(true)), "vllm", "dora", true),
        (field("kind", "peft_type", json!("LOHA")), "sglang", "peft-type", true),
        (field("no-r", "r", Value::Null), "vllm", "missing-field", true),
        (field("pattern", "alpha_pattern", json!({"q_proj": 4})), "vllm", "scale-pattern", true),
        (field("regex", "target_modules", json!(".*proj")), "sglang", "target-pattern", true),
        (field("rslora", "use_rslora", json!(true)), "sglang", "rslora", false),
        (field("fraction", "lora_alpha", json!(8.5)), "ollama", "alpha-fraction", true),
        (field("targets", "target_modules", json!(["q_proj"])), "peft", "untargeted", false),
    ] {
        let (exit, found) = check(&adapter, program);
        assert!(
            has(&found, code) && (exit == 1) == refused,
            "{} {program}: {exit} {found:?}",
            adapter.display()
        );
    }
    // One line for all names that nobody reads.
    let renamed = made("renamed", &[]);
    let file = renamed.join("adapter_model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let mut same = bytes;
    for at in 0..same.len() - 6 {
        if &same[at..at + 6] == b"layers" {
            same[at..at + 6].copy_from_slice(b"blocks");
        }
    }
    fs::write(&file, same).unwrap();
    for program in ["peft", "vllm", "sglang"] {
        let (code, found) = check(&renamed, program);
        let unread = found.iter().filter(|(code, _)| code == "unread").count();
        assert!(code == 1 && unread == 1, "{program}: {found:?}");
    }
}

#[test]
fn the_repair_repairs() {
    let root = tempfile::tempdir().unwrap();
    let (mixed, whole) = (root.path().join("mixed"), root.path().join("whole"));
    extract_tiny(&mixed, &["--energy", "0.6"]);
    change(&mixed, "lora_alpha", json!(3));
    let (code, found) = check(&mixed, "vllm");
    let repair = found.iter().find(|(code, _)| code == "scale-pattern").unwrap().1.clone();
    let rank = repair["one-rank"].to_string();
    assert_eq!(code, 1);
    succeed(&["prune", &text(&mixed), "-o", &text(&whole), "--rank", &rank, "--uniform", "-q"]);
    let (code, found) = check(&whole, "vllm");
    assert!(code == 0 && !has(&found, "scale-pattern"), "{found:?}");
}

#[test]
fn a_check_without_a_program_is_that_for_peft() {
    let root = tempfile::tempdir().unwrap();
    let base = tiny_llama("base");
    let made = |name: &str, field: &str, value: Value| {
        let path = root.path().join(name);
        extract_tiny(&path, &["--rank", "4", "--also", "norms"]);
        change(&path, field, value);
        path
    };
    let renamed = made("renamed", "r", json!(4));
    let file = renamed.join("adapter_model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(6).position(|part| part == b"layers").unwrap();
    bytes[at..at + 6].copy_from_slice(b"blocks");
    fs::write(&file, bytes).unwrap();
    for adapter in [
        made("sound", "r", json!(4)),
        made("rank", "r", json!(5)),
        made("kind", "peft_type", Value::Null),
        made("targets", "target_modules", json!(["q_proj"])),
        renamed,
    ] {
        for path in [adapter.clone(), adapter.join("adapter_model.safetensors")] {
            let args = ["check", &text(&path), "--base", &base];
            let (code, stdout, stderr) = phlora(&args);
            // A sound adapter's line names the program that was asked for, or how to ask for one.
            let stdout = stdout.replace("found; --for PROGRAM checks for another program", "found for peft");
            let peft = phlora(&[&args[..], &["--for", "peft"]].concat());
            assert_eq!((code, stdout, stderr), peft, "{}", path.display());
        }
    }
    let missing = text(&root.path().join("sound2"));
    for more in [&[][..], &["--for", "vllm"]] {
        let (code, _, stderr) = phlora(&[&["check", &missing, "--base", &base], more].concat());
        let said = stderr.contains("sound2: no such file or directory; did you mean");
        assert!(code == 2 && said, "{stderr}");
    }
}
