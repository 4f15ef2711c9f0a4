//! For each server: its rule, and the written files held against it.

mod common;

use common::{json, phlora, text, tiny_llama};
use serde_json::Value;
use std::path::Path;

/// Extracts for `server` and gives the configuration and the ranks of all lora_A, with their modules, and what was
/// said.
fn serve(root: &Path, server: &str, more: &[&str]) -> (Value, Vec<(String, usize)>, String) {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let out = root.join(format!("{server}-{}", more.join("")));
    let path = text(&out);
    let args = [&["extract", &base, &tuned, "-o", &path, "--quiet", "--for", server], more].concat();
    let (code, _, stderr) = phlora(&args);
    assert_eq!(code, 0, "{server}: {stderr}");
    let bytes = std::fs::read(out.join("adapter_model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let a = file.tensors().into_iter().filter(|(name, _)| name.ends_with("lora_A.weight"));
    let ranks = a.map(|(name, tensor)| (name, tensor.shape()[0])).collect();
    (json(&out.join("adapter_config.json")), ranks, stderr)
}

/// One rank for all modules, and no pattern.
fn one_rank((config, ranks, _): &(Value, Vec<(String, usize)>, String)) -> usize {
    let rank = ranks[0].1;
    assert!(ranks.iter().all(|(_, other)| *other == rank), "{ranks:?}");
    assert_eq!((config["r"].as_u64(), config["lora_alpha"].as_u64()), (Some(rank as u64), Some(rank as u64)));
    assert!(config["rank_pattern"].as_object().unwrap().is_empty());
    assert!(config["modules_to_save"].is_null() && config["bias"] == "none");
    rank
}

#[test]
fn each_server_gets_what_it_accepts() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    // PEFT: any rank, mixed ones in patterns.
    let (config, ranks, said) = serve(root, "peft", &["--energy", "0.6"]);
    assert!(ranks.iter().any(|(_, rank)| *rank != ranks[0].1) && said.is_empty(), "{said}");
    assert!(!config["rank_pattern"].as_object().unwrap().is_empty());
    // vLLM: one global scale and rank, at most 512.
    let found = serve(root, "vllm", &["--energy", "0.6"]);
    let served = [1, 8, 16, 32, 64, 128, 256, 320, 512];
    assert!(served.iter().any(|&most| one_rank(&found) <= most), "a server can be started for it");
    assert!(found.2.contains("one rank for all modules"), "{}", found.2);
    // LoRAX: 8 or a multiple of 16, for all.
    for (asked, given) in [("5", 8), ("8", 8), ("9", 16), ("20", 32)] {
        let found = serve(root, "lorax", &["--rank", asked]);
        assert_eq!(one_rank(&found), given, "rank {asked}");
    }
    // S-LoRA: q, k, v and o alone, in f16.
    let found = serve(root, "slora", &["--rank", "8", "--dtype", "bf16"]);
    assert_eq!(one_rank(&found), 8);
    let short =
        |name: &str| name.strip_suffix(".lora_A.weight").unwrap().rsplit('.').next().unwrap().to_owned();
    assert!(
        found
            .1
            .iter()
            .all(|(name, _)| ["q_proj", "k_proj", "v_proj", "o_proj"].contains(&short(name).as_str()))
    );
    assert!(found.2.contains("factors in f16"), "{}", found.2);
    // Punica: one rank of 8, 16, 32 or 64, projections alone.
    let found = serve(root, "punica", &["--rank", "20"]);
    assert_eq!(one_rank(&found), 32);
    assert!(found.1.iter().all(|(name, _)| short(name).ends_with("_proj")));
    assert!(found.2.contains("rank 32 in the place of 20"), "{}", found.2);
    assert_eq!(one_rank(&serve(root, "punica", &["--energy", "0.6"])) % 8, 0);
}

#[test]
fn lorax_finds_every_kind_of_module_in_all_layers() {
    let root = tempfile::tempdir().unwrap();
    // Two layers of four without k_proj, and one module whose weight did not change at all.
    let found = serve(root.path(), "lorax", &["--exclude", r"layers\.[01]\.self_attn\.k_proj"]);
    assert_eq!(one_rank(&found), 32);
    // LoRAX drops a kind of module that one of its layers lacks; its loader wants the very rank as well.
    for kind in ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] {
        let layers = found.1.iter().filter(|(name, _)| name.contains(kind)).count();
        assert_eq!(layers, 4, "{kind}: {:?}", found.1);
    }
    let out = root.path().join(r"lorax---excludelayers\.[01]\.self_attn\.k_proj");
    let bytes = std::fs::read(out.join("adapter_model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let zero = |layer: usize, factor: &str| {
        let name = format!("base_model.model.model.layers.{layer}.self_attn.k_proj.lora_{factor}.weight");
        file.tensor(&name).unwrap().data().iter().all(|&byte| byte == 0)
    };
    assert_eq!([0, 1, 2, 3].map(|layer| zero(layer, "B")), [true, true, false, false]);
    // A kind that no layer has stays out.
    let found = serve(root.path(), "lorax", &["--exclude", "k_proj"]);
    assert!(found.1.len() == 24 && found.1.iter().all(|(name, _)| !name.contains("k_proj")));
    // Elsewhere nothing is filled in.
    let found = serve(root.path(), "vllm", &["--exclude", r"layers\.[01]\.self_attn\.k_proj"]);
    assert_eq!(found.1.len(), 26);
}

#[test]
fn llama_cpp_gets_a_gguf_file() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned, out) = (tiny_llama("base"), tiny_llama("tuned"), root.path().join("a"));
    let (code, _, said) = phlora(&[
        "extract",
        &base,
        &tuned,
        "-o",
        &text(&out),
        "--quiet",
        "--for",
        "llama.cpp",
        "--energy",
        "0.5",
    ]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("a GGUF file as the format"), "{said}");
    assert!(std::fs::read(&out).unwrap().starts_with(b"GGUF"));
}
