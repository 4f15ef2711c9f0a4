//! What is named in the place of a model: adapters, pickles, directories without weights, paths with typos.

use crate::Row;
use crate::common::small::{BASE, Small, TUNED, weights_are};
use crate::common::{phlora, text};
use crate::llama::Llama;
use phlora_core::Dtype::F16;
use std::fs;
use std::path::Path;

pub const EXTRACT: &str = "extract base tuned -o out";

/// Writes an adapter of the sound pair.
pub fn adapter(root: &Path, name: &str, more: &[&str]) {
    let path = |name: &str| text(&root.join(name));
    let args = ["extract", &path("base"), &path("tuned"), "-o", &path(name), "--rank", "2", "--quiet"];
    let (code, _, stderr) = phlora(&[&args[..], more].concat());
    assert_eq!(code, 0, "{stderr}");
}

/// A GGUF pair, and an adapter of it.
fn ggufs(root: &Path) {
    let base = Llama::new(32, 1);
    base.write_gguf(&root.join("base.gguf"), F16);
    base.plus(&Llama::new(32, 2)).write_gguf(&root.join("tuned.gguf"), F16);
    let path = |name: &str| text(&root.join(name));
    let args = ["extract", &path("base.gguf"), &path("tuned.gguf"), "-o", &path("lora.gguf"), "--quiet"];
    assert_eq!(phlora(&args).0, 0);
}

fn cache(root: &Path, revision: Option<&str>) {
    let model = root.join("hub/models--org--name");
    fs::create_dir_all(model.join("snapshots")).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    if let Some(revision) = revision {
        fs::write(model.join("refs/main"), revision).unwrap();
        TUNED.write(&model.join("snapshots"), revision);
    }
}

pub const ROWS: &[Row] = &[
    Row {
        mistake: "an adapter is checked against another base: one line, not one for each module",
        make: |root| {
            adapter(root, "lora", &[]);
            Small { width: 32, ..BASE }.write(root, "base");
        },
        typed: "check lora --base base --quiet",
        code: 1,
        says: &[],
    },
    Row {
        mistake: "an adapter is merged that is not there",
        make: |_| (),
        typed: "merge base nothere -o out",
        code: 2,
        says: &["cannot open nothere: no such file or directory"],
    },
    Row {
        mistake: "a model in the place of an adapter",
        make: |_| (),
        typed: "prune base -o out -r 2",
        code: 2,
        says: &["base: a model, not an adapter", "`phlora extract` makes one"],
    },
    Row {
        mistake: "TUNED is a PEFT adapter directory",
        make: |root| adapter(root, "lora", &[]),
        typed: "extract base lora -o out",
        code: 2,
        says: &["lora: a LoRA adapter, not a model", "name the weights of a whole model", "`phlora merge`"],
    },
    Row {
        mistake: "TUNED is the weights of an adapter",
        make: |root| adapter(root, "lora", &[]),
        typed: "extract base lora/adapter_model.safetensors -o out",
        code: 2,
        says: &["lora/adapter_model.safetensors: a LoRA adapter, not a model", "`phlora merge`"],
    },
    Row {
        mistake: "TUNED is a kohya file",
        make: |root| adapter(root, "lora.safetensors", &["--format", "kohya", "--prefix", "lora_te"]),
        typed: "extract base lora.safetensors -o out",
        code: 2,
        says: &["lora.safetensors: a LoRA adapter, not a model", "`phlora merge`"],
    },
    Row {
        mistake: "TUNED is a GGUF adapter",
        make: ggufs,
        typed: "extract base.gguf lora.gguf -o out",
        code: 2,
        says: &["lora.gguf: a LoRA adapter, not a model", "`phlora merge`"],
    },
    Row {
        mistake: "BASE is a GGUF adapter",
        make: ggufs,
        typed: "extract lora.gguf tuned.gguf -o out",
        code: 2,
        says: &["lora.gguf: a LoRA adapter, not a model", "name the weights of a whole model"],
    },
    Row {
        mistake: "BASE is a PEFT adapter directory",
        make: |root| adapter(root, "lora", &[]),
        typed: "extract lora tuned -o out",
        code: 2,
        says: &["lora: a LoRA adapter, not a model", "name the weights of a whole model"],
    },
    Row {
        mistake: "BASE is a pickle file",
        make: |root| fs::write(root.join("pytorch_model.bin"), b"PK\x03\x04 and so on").unwrap(),
        typed: "extract pytorch_model.bin tuned -o out",
        code: 2,
        says: &["pytorch_model.bin: a PyTorch pickle", "convert it", "from_pretrained", "save_pretrained"],
    },
    Row {
        mistake: "BASE is named as a pickle and is none",
        make: |root| fs::write(root.join("pytorch_model.bin"), [7; 64]).unwrap(),
        typed: "extract pytorch_model.bin tuned -o out",
        code: 2,
        says: &["pytorch_model.bin: neither a safetensors file nor a PyTorch pickle"],
    },
    Row {
        mistake: "BASE is a .pth",
        make: |root| fs::write(root.join("consolidated.00.pth"), b"PK\x03\x04 and so on").unwrap(),
        typed: "extract consolidated.00.pth tuned -o out",
        code: 2,
        says: &["consolidated.00.pth: a PyTorch pickle", "convert it", "weights_only=True", "save_file"],
    },
    Row {
        mistake: "TUNED is a directory with a .ckpt alone",
        make: |root| weights_are(root, "tuned", "model.ckpt", b"\x80\x02}q\x00."),
        typed: EXTRACT,
        code: 2,
        says: &["tuned/model.ckpt: a PyTorch pickle", "convert it", "save_file"],
    },
    Row {
        mistake: "TUNED is a directory with sharded pickles and their index",
        make: |root| {
            weights_are(root, "tuned", "pytorch_model-00001-of-00002.bin", b"PK\x03\x04");
            fs::write(root.join("tuned/pytorch_model.bin.index.json"), b"{}").unwrap();
        },
        typed: EXTRACT,
        code: 2,
        says: &["tuned/pytorch_model-00001-of-00002.bin: a PyTorch pickle", "convert it"],
    },
    Row {
        mistake: "TUNED has a configuration alone",
        make: |root| fs::remove_file(root.join("tuned/model.safetensors")).unwrap(),
        typed: EXTRACT,
        code: 2,
        says: &["tuned: a configuration without weights", "expected model.safetensors", "download"],
    },
    Row {
        mistake: "TUNED is an empty directory",
        make: |root| fs::create_dir(root.join("empty")).unwrap(),
        typed: "extract base empty -o out",
        code: 2,
        says: &["empty: ", "empty directory", "expected model.safetensors"],
    },
    Row {
        mistake: "TUNED is the directory above checkpoints of training",
        make: |root| {
            fs::create_dir(root.join("run")).unwrap();
            TUNED.write(&root.join("run"), "checkpoint-100");
            TUNED.write(&root.join("run"), "checkpoint-200");
        },
        typed: "extract base run -o out",
        code: 2,
        says: &["run: no weights here", "name one of them", "checkpoint-100", "checkpoint-200"],
    },
    Row {
        mistake: "TUNED is the directory of a pipeline",
        make: |root| {
            fs::create_dir(root.join("pipeline")).unwrap();
            fs::write(root.join("pipeline/model_index.json"), "{}").unwrap();
            TUNED.write(&root.join("pipeline"), "unet");
            TUNED.write(&root.join("pipeline"), "text_encoder");
        },
        typed: "extract base pipeline -o out",
        code: 2,
        says: &["pipeline: a pipeline of several models", "name one of them: text_encoder, unet"],
    },
    Row {
        mistake: "TUNED is a checkpoint of DeepSpeed",
        make: |root| weights_are(root, "tuned", "zero_to_fp32.py", b"import torch\n"),
        typed: EXTRACT,
        code: 2,
        says: &["tuned: a checkpoint of DeepSpeed", "its zero_to_fp32.py writes them"],
    },
    Row {
        mistake: "TUNED has nothing but the state of a training",
        make: |root| weights_are(root, "tuned", "training_args.bin", b"PK\x03\x04"),
        typed: EXTRACT,
        code: 2,
        says: &["tuned: a configuration without weights", "download the weights as well"],
    },
    Row {
        mistake: "TUNED is a directory of the hub's cache",
        make: |root| cache(root, Some("0a1b")),
        typed: "extract base hub/models--org--name -o out",
        code: 0,
        says: &["of ‖Δ‖² kept"],
    },
    Row {
        mistake: "TUNED is a directory of the hub's cache without a snapshot",
        make: |root| cache(root, None),
        typed: "extract base hub/models--org--name -o out",
        code: 2,
        says: &["hub/models--org--name: ", "without a snapshot", "`hf download org/name`"],
    },
    Row {
        mistake: "TUNED is an id of the hub, in the cache",
        make: |root| cache(root, Some("0a1b")),
        typed: "extract base org/name -o out",
        code: 0,
        says: &["of ‖Δ‖² kept"],
    },
    Row {
        mistake: "TUNED is an id of the hub, not in the cache",
        make: |_| (),
        typed: "extract base org/name -o out",
        code: 2,
        says: &["org/name: no such file or directory", "hub", "`hf download org/name`"],
    },
    Row {
        mistake: "TUNED is a path with a typo",
        make: |_| (),
        typed: "extract base tunde -o out",
        code: 2,
        says: &["cannot open tunde: no such file or directory", "did you mean tuned?"],
    },
    Row {
        mistake: "TUNED is a longer path with a typo",
        make: |root| TUNED.write(&root.join("base"), "fine-tuned"),
        typed: "extract base ./base/fine-tunde -o out",
        code: 2,
        says: &["./base/fine-tunde: no such file or directory", "did you mean ./base/fine-tuned?"],
    },
];
