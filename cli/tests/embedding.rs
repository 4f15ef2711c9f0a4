//! Lookup tables: extracted where they are asked for and where the adapter can hold them.

mod common;

use common::{Tensors, json, phlora, succeed, text, tiny_llama, write_model};
use phlora::Dtype::F32;
use std::path::Path;

const INCLUDED: [&str; 4] = ["--include", "embed_tokens", "--include", "_proj"];

fn extract(out: &Path, more: &[&str]) -> (i32, String) {
    let (base, tuned, out) = (tiny_llama("base"), tiny_llama("tuned"), text(out));
    let (code, _, stderr) = phlora(&[&["extract", &base, &tuned, "-o", &out, "--quiet"], more].concat());
    (code, stderr)
}

/// Kept energy of the embedding as the file has it.
fn energy(adapter: &Path) -> f64 {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let found: serde_json::Value =
        serde_json::from_str(&succeed(&["verify", &base, &tuned, &text(adapter), "--json"])).unwrap();
    let of = |m: &&serde_json::Value| {
        let name = m["name"].as_str().unwrap();
        name.ends_with("embed_tokens") || name == "token_embd"
    };
    found["modules"].as_array().unwrap().iter().find(of).unwrap()["energy"].as_f64().unwrap()
}

#[test]
fn both_formats_hold_the_embedding() {
    let root = tempfile::tempdir().unwrap();
    let (peft, gguf) = (root.path().join("peft"), root.path().join("a.gguf"));
    for out in [&peft, &gguf] {
        assert_eq!(extract(out, &[&["--rank", "8"], &INCLUDED[..]].concat()).0, 0);
    }
    let bytes = std::fs::read(peft.join("adapter_model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let shape = |part: &str| {
        file.tensor(&format!("base_model.model.model.embed_tokens.{part}")).unwrap().shape().to_vec()
    };
    // PEFT's own: a column per token, and the width of the model.
    assert_eq!((shape("lora_embedding_A"), shape("lora_embedding_B")), (vec![8, 259], vec![192, 8]));
    let targets = json(&peft.join("adapter_config.json"))["target_modules"].clone();
    assert!(targets.as_array().unwrap().contains(&"embed_tokens".into()), "{targets}");
    let (one, other) = (energy(&peft), energy(&gguf));
    assert!(one > 0.5 && (one - other).abs() < 1e-4, "{one} {other}");
    // Smaller ranks of it, and the model with it.
    let pruned = root.path().join("pruned");
    succeed(&["prune", &text(&peft), "-o", &text(&pruned), "--rank", "4", "--quiet"]);
    assert!(energy(&pruned) < one && energy(&pruned) > 0.2);
    let merged = root.path().join("merged");
    succeed(&["merge", &tiny_llama("base"), &text(&peft), "-o", &text(&merged), "--quiet"]);
    let table = succeed(&["plan", &text(&merged), &tiny_llama("tuned"), "--include", "embed_tokens"]);
    assert!(table.contains("embed_tokens"), "{table}");
    // A budget and the exact mode take it as any other.
    let budget = root.path().join("budget");
    assert_eq!(extract(&budget, &[&["--budget", "200kB"], &INCLUDED[..]].concat()).0, 0);
}

#[test]
fn who_cannot_hold_it_says_so() {
    let root = tempfile::tempdir().unwrap();
    for (more, why) in [
        (&["--for", "vllm"][..], "this server takes none"),
        (&["--format", "kohya", "--prefix", "lora_te"], "this file format has no place"),
    ] {
        let out = root.path().join(if why.contains("server") { "a" } else { "a.safetensors" });
        for included in [&INCLUDED[..], &["--include", "embed_tokens"]] {
            let (code, stderr) = extract(&out, &[more, included].concat());
            assert!(
                code == 2 && stderr.contains(why) && stderr.contains("--include embed_tokens"),
                "{stderr}"
            );
            assert!(!out.exists());
        }
    }
}

#[test]
fn a_tied_table_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let side = |value: f32| {
        let table: Vec<f32> = (0..12).map(|i| value * i as f32).collect();
        Tensors::default().add("embed_tokens.weight", &[4, 3], F32, &table)
    };
    let config = r#"{"tie_word_embeddings": true}"#;
    let base = write_model(&root.path().join("base"), &side(1.0), config);
    let tuned = write_model(&root.path().join("tuned"), &side(1.5), config);
    let out = text(&root.path().join("a"));
    let (code, _, stderr) = phlora(&["extract", &base, &tuned, "-o", &out, "--include", "embed_tokens"]);
    assert!(code == 2 && stderr.contains("tied to the output head"), "{stderr}");
    assert!(!Path::new(&out).exists());
}

#[test]
fn rows_that_take_more_than_factors_are_named_and_fewer_can_be_stored() {
    let root = tempfile::tempdir().unwrap();
    let run = |name: &str, more: &[&str]| {
        let (out, report) = (root.path().join(name), root.path().join(format!("{name}.json")));
        let path = text(&report);
        let words = [&["--also", "tokens", "--report", &path], more].concat();
        let (code, stderr) = extract(&out, &words);
        assert_eq!(code, 0, "{stderr}");
        let full = json(&report)["full"].as_array().unwrap().clone();
        (full.into_iter().find(|tensor| tensor["name"] == "model.embed_tokens.weight").unwrap(), stderr)
    };
    let (all, said) = run("small", &["--rank", "4"]);
    let told = format!(
        "model.embed_tokens.weight: {} rows take {} bytes, factors of rank 4 would take {}: --include",
        all["rows"],
        all["bytes"],
        2 * 4 * (259 + 192)
    );
    assert!(said.contains(&told) && said.contains("--token-energy"), "{said}");
    let (_, said) = run("large", &["--rank", "128"]);
    assert!(!said.contains("rows take"), "{said}");

    let (few, _) = run("few", &["--rank", "4", "--token-energy", "0.9"]);
    let number = |tensor: &serde_json::Value, field: &str| tensor[field].as_f64().unwrap();
    assert!(number(&few, "rows") < number(&all, "rows") && number(&few, "bytes") < number(&all, "bytes"));
    let share = (number(&few, "delta_norm") / number(&all, "delta_norm")).powi(2);
    assert!((0.9..1.0).contains(&share), "{share}");
}
