//! Files of a model that are missing, cut short, or no weights.

use crate::Row;
use crate::common::small::{BASE, weights_are};
use crate::gguf::Gguf;
use crate::llama::Llama;
use crate::model::EXTRACT;
use phlora_core::Dtype::F16;
use std::fs;
use std::path::Path;

/// A GGUF model in two parts.
fn split(root: &Path) {
    let name = |model: &str, part: usize| root.join(format!("{model}-0000{part}-of-00002.gguf"));
    for (model, seed) in [("base", 1), ("tuned", 2)] {
        let whole = Llama::new(32, 1).plus(&Llama::new(32, seed)).gguf("llama", F16, true);
        let (mut first, mut second) = (whole.clone(), Gguf::default());
        second.tensors = first.tensors.split_off(4);
        first.split(0, 2, 9).write(&name(model, 1));
        second.split(1, 2, 9).write(&name(model, 2));
    }
}

fn index(root: &Path, model: &str, map: &str) {
    let directory = root.join(model);
    fs::rename(directory.join("model.safetensors"), directory.join("a.safetensors")).unwrap();
    let index = format!(r#"{{"weight_map": {map}}}"#);
    fs::write(directory.join("model.safetensors.index.json"), index).unwrap();
}

pub const ROWS: &[Row] = &[
    Row {
        mistake: "a shard is missing",
        make: |root| {
            index(root, "tuned", r#"{"x.weight": "a.safetensors", "y.weight": "b.safetensors"}"#);
        },
        typed: EXTRACT,
        code: 2,
        says: &[
            "tuned/model.safetensors.index.json",
            "y.weight",
            "tuned/b.safetensors",
            "missing",
            "download",
        ],
    },
    Row {
        mistake: "an index without shards",
        make: |root| {
            index(root, "tuned", r#"{"x.weight": "a.safetensors"}"#);
            fs::remove_file(root.join("tuned/a.safetensors")).unwrap();
        },
        typed: EXTRACT,
        code: 2,
        says: &[
            "tuned/model.safetensors.index.json",
            "x.weight",
            "tuned/a.safetensors",
            "missing",
            "download",
        ],
    },
    Row {
        mistake: "a download that was cut short",
        make: |root| {
            let path = root.join("tuned/model.safetensors");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        },
        typed: EXTRACT,
        code: 2,
        says: &["tuned/model.safetensors", "tensor model.layers.", "cut short", "download or copy it again"],
    },
    Row {
        mistake: "a download that was cut short in its header",
        make: |root| {
            let path = root.join("tuned/model.safetensors");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..100]).unwrap();
        },
        typed: EXTRACT,
        code: 2,
        says: &["tuned/model.safetensors", "cut short", "download or copy it again"],
    },
    Row {
        mistake: "a pointer of Git LFS",
        make: |root| {
            let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4971563736\n";
            weights_are(root, "tuned", "model.safetensors", pointer);
        },
        typed: EXTRACT,
        code: 2,
        says: &["tuned/model.safetensors", "pointer of Git LFS", "`git lfs pull`"],
    },
    Row {
        mistake: "a pointer of Git LFS in the place of a GGUF file",
        make: |root| {
            let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4971563736\n";
            fs::write(root.join("tuned.gguf"), pointer).unwrap();
        },
        typed: "extract base tuned.gguf -o out",
        code: 2,
        says: &["tuned.gguf", "pointer of Git LFS", "`git lfs pull`"],
    },
    Row {
        mistake: "a web page saved as weights",
        make: |root| weights_are(root, "tuned", "model.safetensors", b"<!doctype html>\n<html><head>\n"),
        typed: EXTRACT,
        code: 2,
        says: &["tuned/model.safetensors", "a web page", "download"],
    },
    Row {
        mistake: "an error of a server saved as weights",
        make: |root| weights_are(root, "tuned", "model.safetensors", br#"{"error": "Access is restricted"}"#),
        typed: EXTRACT,
        code: 2,
        says: &["tuned/model.safetensors", "JSON", "Access is restricted", "download"],
    },
    Row {
        mistake: "an empty file",
        make: |root| weights_are(root, "tuned", "model.safetensors", b""),
        typed: EXTRACT,
        code: 2,
        says: &["tuned/model.safetensors", "empty", "download or copy it again"],
    },
    Row {
        mistake: "a GGUF file of an unknown version",
        make: |root| {
            let mut model = Llama::new(32, 1).gguf("llama", F16, true);
            model.version = 9;
            model.write(&root.join("tuned.gguf"));
        },
        typed: "extract base tuned.gguf -o out",
        code: 2,
        says: &["tuned.gguf", "version is 9", "expected 2 or 3"],
    },
    Row {
        mistake: "a split GGUF model by its second part",
        make: split,
        typed: "extract base-00001-of-00002.gguf tuned-00002-of-00002.gguf -o out",
        code: 0,
        says: &["of ‖Δ‖² kept"],
    },
    Row {
        mistake: "a split GGUF model of which a part is missing",
        make: |root| {
            split(root);
            fs::remove_file(root.join("tuned-00001-of-00002.gguf")).unwrap();
        },
        typed: "extract base-00001-of-00002.gguf tuned-00002-of-00002.gguf -o out",
        code: 2,
        says: &["tuned-00001-of-00002.gguf", "missing", "download"],
    },
    Row {
        mistake: "a directory with several GGUF models",
        make: |root| {
            fs::create_dir(root.join("many")).unwrap();
            for name in ["a.gguf", "b.gguf"] {
                Llama::new(32, 1).write_gguf(&root.join("many").join(name), F16);
            }
        },
        typed: "extract base many -o out",
        code: 2,
        says: &["many: 2 GGUF models", "name one of them: a.gguf, b.gguf"],
    },
    Row {
        mistake: "a single file of another model beside the one that is meant",
        make: |root| BASE.tensors().write(&root.join("tuned/consolidated.safetensors")),
        typed: EXTRACT,
        code: 0,
        says: &["of ‖Δ‖² kept"],
    },
];
