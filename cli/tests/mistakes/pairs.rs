//! Two models that are no pair, or not the one that is meant.

use crate::Row;
use crate::common::small::{BASE, Small, TUNED, below, configure, of_dtype, replace, without};
use crate::common::{Tensors, noise};
use crate::llama::Llama;
use phlora_core::Dtype::{F32, Q4_0};
use serde_json::json;
use std::fs;
use std::path::Path;

const EXTRACT: &str = "extract base tuned -o out";

/// Gives both sides a file beside their weights.
fn beside(root: &Path, name: &str, base: &str, tuned: &str) {
    fs::write(root.join("base").join(name), base).unwrap();
    fs::write(root.join("tuned").join(name), tuned).unwrap();
}

fn vocabulary(words: &[&str]) -> String {
    let ids: serde_json::Map<_, _> = words.iter().enumerate().map(|(i, w)| ((*w).into(), i.into())).collect();
    json!({"model": {"type": "BPE", "vocab": ids}}).to_string()
}

/// Both sides with a weight as an entry of this dtype.
fn spoiled(root: &Path, dtype: &str, bytes: usize) {
    for (name, of, fill) in [("base", BASE, 0), ("tuned", TUNED, 1)] {
        let add =
            |t: Tensors| t.raw("model.layers.0.mlp.gate_proj.weight", &[4, 4], dtype, vec![fill; bytes]);
        replace(root, name, add, of);
    }
}

fn with_value(root: &Path, name: &str, of: Small, value: f32) {
    let set = |mut tensors: Tensors| {
        tensors.0[1].3[..4].copy_from_slice(&value.to_le_bytes());
        tensors
    };
    replace(root, name, set, of);
}

pub const ROWS: &[Row] = &[
    Row {
        mistake: "BASE and TUNED swapped, by the name that the tuned model carries",
        make: |root| configure(root, "tuned", "_name_or_path", json!("org/base")),
        typed: "extract tuned base -o out",
        code: 0,
        says: &["tuned says that it was made from org/base", "are the two swapped?"],
    },
    Row {
        mistake: "BASE and TUNED swapped, by the state of a training beside the weights",
        make: |root| fs::write(root.join("tuned/trainer_state.json"), "{}").unwrap(),
        typed: "extract tuned base -o out",
        code: 0,
        says: &["tuned holds trainer_state.json", "are the two swapped?"],
    },
    Row {
        mistake: "BASE and TUNED swapped, by their dates",
        make: |root| {
            let date = |name: &str, seconds| {
                let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
                let path = root.join(name).join("model.safetensors");
                fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
            };
            date("base", 1_700_000_000);
            date("tuned", 1_750_000_000);
        },
        typed: "extract tuned base -o out",
        code: 0,
        says: &["the files of base are older than those of tuned", "are the two swapped?"],
    },
    Row {
        mistake: "BASE and TUNED swapped, by the card of the tuned model",
        make: |root| {
            let card = "---\nlicense: mit\nbase_model:\n- org/base\n---\n# Tuned\n";
            fs::write(root.join("tuned/README.md"), card).unwrap();
        },
        typed: "plan tuned base",
        code: 0,
        says: &["tuned says that it was made from org/base", "are the two swapped?"],
    },
    Row {
        mistake: "the same directory twice",
        make: |_| (),
        typed: "extract base base -o out",
        code: 1,
        says: &["base is named twice", "name the fine-tuned model second"],
    },
    Row {
        mistake: "the same directory twice, written in two ways",
        make: |_| (),
        typed: "extract base ./tuned/../base -o out",
        code: 1,
        says: &["./tuned/../base", "named twice"],
    },
    Row {
        mistake: "a copy of the base",
        make: |root| BASE.write(root, "tuned"),
        typed: EXTRACT,
        code: 1,
        says: &["nothing to extract", "tensors are the same", "tuned", "base"],
    },
    Row {
        mistake: "weights that have nothing to do with each other",
        make: |root| Small { seed: 5000, ..BASE }.write(root, "tuned"),
        typed: EXTRACT,
        code: 0,
        says: &["% of the base's weights", "are the two models a pair?"],
    },
    Row {
        mistake: "another number of layers",
        make: |root| Small { layers: 3, ..TUNED }.write(root, "tuned"),
        typed: EXTRACT,
        code: 0,
        says: &["tuned has 3 layers, base 2", "not compared"],
    },
    Row {
        mistake: "another number of layers, without a configuration",
        make: |root| {
            Small { layers: 3, ..TUNED }.write(root, "tuned");
            fs::remove_file(root.join("base/config.json")).unwrap();
            fs::remove_file(root.join("tuned/config.json")).unwrap();
        },
        typed: EXTRACT,
        code: 0,
        says: &["tuned has 3 layers, base 2"],
    },
    Row {
        mistake: "another width",
        make: |root| Small { width: 32, ..TUNED }.write(root, "tuned"),
        typed: EXTRACT,
        code: 2,
        says: &["tuned", "hidden_size is 32", "base is 16", "not a fine-tune of this base"],
    },
    Row {
        mistake: "another width, without a configuration",
        make: |root| {
            Small { width: 32, ..TUNED }.write(root, "tuned");
            fs::remove_file(root.join("tuned/config.json")).unwrap();
        },
        typed: EXTRACT,
        code: 2,
        says: &["tuned: it is 32 wide, but base is 16", "not a fine-tune of this base"],
    },
    Row {
        mistake: "another tokenizer of the same size",
        make: |root| {
            beside(root, "tokenizer.json", &vocabulary(&["a", "b", "c"]), &vocabulary(&["b", "a", "c"]));
        },
        typed: EXTRACT,
        code: 0,
        says: &[
            "tuned/tokenizer.json",
            "base/tokenizer.json",
            "2 of 3 numbers",
            "another tokenizer, are the two models a pair?",
        ],
    },
    Row {
        mistake: "another vocabulary in vocab.json",
        make: |root| beside(root, "vocab.json", r#"{"a": 0, "b": 1}"#, r#"{"b": 0, "a": 1}"#),
        typed: EXTRACT,
        code: 0,
        says: &["tuned/vocab.json", "base/vocab.json", "another tokenizer"],
    },
    Row {
        mistake: "another vocabulary in tokenizer.model",
        make: |root| beside(root, "tokenizer.model", "one", "two"),
        typed: EXTRACT,
        code: 0,
        says: &["tuned/tokenizer.model", "base/tokenizer.model", "differ"],
    },
    Row {
        mistake: "tokens that were added",
        make: |root| {
            beside(root, "tokenizer.json", &vocabulary(&["a", "b"]), &vocabulary(&["a", "b", "<tool>"]));
        },
        typed: EXTRACT,
        code: 0,
        says: &["tuned/tokenizer.json", "1 token", "<tool>"],
    },
    Row {
        mistake: "a vocabulary that grew",
        make: |root| Small { rows: 11, ..TUNED }.write(root, "tuned"),
        typed: EXTRACT,
        code: 0,
        says: &["model.embed_tokens.weight", "9 rows in base, 11 in tuned", "--also new-tokens"],
    },
    Row {
        mistake: "a head that the base does not have",
        make: |root| {
            configure(root, "tuned", "architectures", json!(["LlamaForSequenceClassification"]));
            let head =
                |t| without(t, "lm_head.weight").add("score.weight", &[3, 16], F32, &noise(7, 48, 1.0));
            replace(root, "tuned", head, TUNED);
        },
        typed: EXTRACT,
        code: 0,
        says: &["only the fine-tuned model has score: stored whole in the adapter", "beside factors"],
    },
    Row {
        mistake: "a base with its head, and a bare tuned model",
        make: |root| {
            configure(root, "tuned", "architectures", json!(["LlamaModel"]));
            replace(root, "tuned", |t| below(without(t, "lm_head.weight"), "model.", ""), TUNED);
        },
        typed: EXTRACT,
        code: 0,
        says: &["paired by the ends of their names", "below model.*"],
    },
    Row {
        mistake: "a language model, and the multimodal one that it was tuned in",
        make: |root| {
            let all = |t: Tensors| {
                let t =
                    below(below(t, "model.", "language_model.model."), "lm_head.", "language_model.lm_head.");
                t.add("vision_tower.proj.weight", &[8, 8], F32, &noise(9, 64, 1.0))
            };
            replace(root, "tuned", all, TUNED);
            let config = json!({
                "model_type": "llava", "architectures": ["LlavaForConditionalGeneration"],
                "text_config": TUNED.config(), "vision_config": {"model_type": "clip_vision_model"},
            });
            fs::write(root.join("tuned/config.json"), config.to_string()).unwrap();
        },
        typed: EXTRACT,
        code: 0,
        says: &["paired by the ends of their names", "in one model and"],
    },
    Row {
        mistake: "a model of another architecture",
        make: |root| configure(root, "tuned", "model_type", json!("mistral")),
        typed: EXTRACT,
        code: 0,
        says: &["tuned is a mistral model, base a llama model"],
    },
    Row {
        mistake: "GGUF files of two architectures",
        make: |root| {
            Llama::new(32, 1).gguf("llama", F32, true).write(&root.join("base.gguf"));
            Llama::new(32, 1).gguf("qwen2", F32, true).write(&root.join("tuned.gguf"));
        },
        typed: "extract base.gguf tuned.gguf -o out.gguf",
        code: 2,
        says: &["tuned.gguf: its architecture is qwen2", "base.gguf is llama"],
    },
    Row {
        mistake: "no name in common",
        make: |root| {
            replace(root, "tuned", |_| Tensors::default().add("x.y.weight", &[2, 2], F32, &[1.0; 4]), TUNED);
        },
        typed: EXTRACT,
        code: 2,
        says: &["tuned: has no tensor name in common with base", "x.y.weight"],
    },
    Row {
        mistake: "NaN in the tuned weights",
        make: |root| with_value(root, "tuned", TUNED, f32::NAN),
        typed: EXTRACT,
        code: 2,
        says: &[
            "tuned/model.safetensors",
            "layers.0.self_attn.q_proj.weight",
            "NaN in row 0, column 0",
            "--exclude",
        ],
    },
    Row {
        mistake: "infinity in the base",
        make: |root| with_value(root, "base", BASE, f32::INFINITY),
        typed: EXTRACT,
        code: 2,
        says: &[
            "base/model.safetensors",
            "layers.0.self_attn.q_proj.weight",
            "infinity in row 0",
            "--exclude",
        ],
    },
    Row {
        mistake: "a quantised tuned model",
        make: |root| {
            let base = Llama::new(32, 1);
            base.write_checkpoint(&root.join("base"), "llama");
            base.plus(&Llama::new(32, 2)).write_gguf(&root.join("tuned.gguf"), Q4_0);
        },
        typed: "extract base tuned.gguf -o out",
        code: 0,
        says: &["tuned.gguf is quantised (Q4_0) and base is not", "rounding", "from before it"],
    },
    Row {
        mistake: "a tuned model that is a quantised checkpoint",
        make: |root| replace(root, "tuned", |t| of_dtype(t, "F8_E4M3", 4), TUNED),
        typed: EXTRACT,
        code: 0,
        says: &["tuned is quantised (F8_E4M3) and base is not", "from before it"],
    },
    Row {
        mistake: "quantised by a method that is not read",
        make: |root| {
            replace(root, "base", |t| of_dtype(t, "I32", 1), BASE);
            configure(root, "base", "quantization_config", json!({"quant_method": "aqlm"}));
        },
        typed: EXTRACT,
        code: 2,
        says: &[
            "base: its weights are quantised with aqlm",
            "expected FP8",
            "take the checkpoint that it was made from",
        ],
    },
    Row {
        mistake: "a dtype that is not read",
        make: |root| spoiled(root, "F8_E8M0", 16),
        typed: EXTRACT,
        code: 2,
        says: &[
            "base/model.safetensors",
            "layers.0.mlp.gate_proj.weight",
            "F8_E8M0 is not read",
            "expected F32",
            "--exclude",
        ],
    },
    Row {
        mistake: "whole numbers where weights are expected",
        make: |root| spoiled(root, "I32", 64),
        typed: EXTRACT,
        code: 2,
        says: &["base/model.safetensors", "layers.0.mlp.gate_proj.weight", "I32 is not read", "expected F32"],
    },
];
