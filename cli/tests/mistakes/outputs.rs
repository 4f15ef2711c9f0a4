//! Where the output goes, and what is done with an adapter afterwards.

use crate::Row;
use crate::common::small::{BASE, Small, TUNED, of_dtype, replace};
use crate::common::{json, succeed, text};
use crate::model::adapter;
use std::fs;
use std::path::Path;

fn with_adapter(root: &Path) {
    adapter(root, "lora", &[]);
}

/// An adapter of a wider and deeper model.
fn of_another(root: &Path) {
    Small { width: 32, ..BASE }.write(root, "base");
    Small { width: 32, ..TUNED }.write(root, "tuned");
    adapter(root, "lora", &[]);
    BASE.write(root, "base");
    TUNED.write(root, "tuned");
}

fn deeper(root: &Path) {
    Small { layers: 3, ..BASE }.write(root, "base");
    Small { layers: 3, ..TUNED }.write(root, "tuned");
    adapter(root, "lora", &[]);
    BASE.write(root, "base");
    TUNED.write(root, "tuned");
}

pub const ROWS: &[Row] = &[
    Row {
        mistake: "an output that is there already",
        make: |root| adapter(root, "out", &[]),
        typed: "extract base tuned -o out",
        code: 2,
        says: &["out exists already", "--force"],
    },
    Row {
        mistake: "an output that is something else",
        make: |root| fs::create_dir_all(root.join("out/photos")).unwrap(),
        typed: "extract base tuned -o out --force",
        code: 2,
        says: &["out holds photos", "not replaced"],
    },
    Row {
        mistake: "the output is an input",
        make: |_| (),
        typed: "extract base tuned -o tuned --force",
        code: 2,
        says: &["tuned", "not replaced"],
    },
    Row {
        mistake: "an adapter of one file in a model's directory",
        make: |_| (),
        typed: "extract base tuned -o tuned/adapter.gguf",
        code: 2,
        says: &["tuned/adapter.gguf would lie among the weights of the model tuned", "choose another place"],
    },
    Row {
        mistake: "an adapter's directory in a model's, which does no harm",
        make: |_| (),
        typed: "extract base tuned -o tuned/adapter",
        code: 0,
        says: &["to tuned/adapter"],
    },
    Row {
        mistake: "the merged model lies in the base",
        make: with_adapter,
        typed: "merge base lora -o base/merged",
        code: 2,
        says: &["base/merged would be inside of the model base", "choose another place"],
    },
    Row {
        mistake: "a directory above the output is missing",
        make: |_| (),
        typed: "extract base tuned -o runs/today/out",
        code: 2,
        says: &["runs/today/out", "runs/today", "does not exist", "mkdir -p runs/today"],
    },
    Row {
        mistake: "a place that may not be written, by nobody",
        make: |_| (),
        typed: "extract base tuned -o /sys/phlora-out",
        code: 2,
        says: &["cannot create /sys/phlora-out: "],
    },
    Row {
        mistake: "a file in the place of the output's directory",
        make: |_| (),
        typed: "extract base tuned -o base/config.json/out",
        code: 2,
        says: &["cannot create base/config.json/out: ", "ot a directory"],
    },
    Row {
        mistake: "a safetensors file as the output",
        make: |_| (),
        typed: "extract base tuned -o out.safetensors",
        code: 2,
        says: &["out.safetensors", "--format kohya", "directory"],
    },
    Row {
        mistake: "a report in the adapter",
        make: |_| (),
        typed: "extract base tuned -o out --report out/report.json",
        code: 2,
        says: &["report may not be inside the adapter"],
    },
    Row {
        mistake: "merge: the adapter of a wider model",
        make: of_another,
        typed: "merge base lora -o merged",
        code: 2,
        says: &[
            "lora/adapter_model.safetensors",
            "layers.0.mlp.down_proj",
            "[32, 64]",
            "[16, 32]",
            "of another base",
        ],
    },
    Row {
        mistake: "merge: the adapter of a deeper model",
        make: deeper,
        typed: "merge base lora -o merged",
        code: 2,
        says: &["lora/adapter_model.safetensors", "layers.2", "base has no", "of another base"],
    },
    Row {
        mistake: "verify: the adapter of a wider model",
        make: of_another,
        typed: "verify base tuned lora",
        code: 2,
        says: &[
            "lora/adapter_model.safetensors",
            "layers.0.mlp.down_proj",
            "[32, 64]",
            "[16, 32]",
            "of another base",
        ],
    },
    Row {
        mistake: "verify: the adapter of a deeper model",
        make: deeper,
        typed: "verify base tuned lora",
        code: 2,
        says: &["lora/adapter_model.safetensors", "layers.2", "base has no", "of another base"],
    },
    Row {
        mistake: "merge: a model in the place of the adapter",
        make: |_| (),
        typed: "merge base tuned -o merged",
        code: 2,
        says: &["tuned", "a model, not an adapter", "`phlora extract`"],
    },
    Row {
        mistake: "merge: an adapter in the place of the base",
        make: with_adapter,
        typed: "merge lora lora -o merged",
        code: 2,
        says: &["lora: a LoRA adapter, not a model"],
    },
    Row {
        mistake: "merge: a quantised base",
        make: |root| {
            with_adapter(root);
            replace(root, "base", |t| of_dtype(t, "F8_E4M3", 4), BASE);
        },
        typed: "merge base lora -o merged",
        code: 2,
        says: &[
            "base/model.safetensors",
            "mlp.down_proj.weight",
            "it is quantised: merge into the checkpoint",
        ],
    },
    Row {
        mistake: "merge: a base of whole numbers",
        make: |root| {
            with_adapter(root);
            replace(root, "base", |t| of_dtype(t, "I32", 1), BASE);
        },
        typed: "merge base lora -o merged",
        code: 2,
        says: &["base/model.safetensors", "layers.0.mlp.down_proj.weight", "I32 is not read"],
    },
    Row {
        mistake: "an adapter of another kind",
        make: |root| {
            with_adapter(root);
            let path = root.join("lora/adapter_config.json");
            let mut config = json(&path);
            config["peft_type"] = "IA3".into();
            fs::write(path, config.to_string()).unwrap();
        },
        typed: "merge base lora -o merged",
        code: 2,
        says: &["lora/adapter_config.json", "IA3, expected LORA"],
    },
    Row {
        mistake: "the adapter's configuration is missing",
        make: |root| {
            with_adapter(root);
            fs::remove_file(root.join("lora/adapter_config.json")).unwrap();
        },
        typed: "merge base lora -o merged",
        code: 2,
        says: &["lora/adapter_config.json: it is missing", "copy it as well"],
    },
    Row {
        mistake: "verify: the sides swapped",
        make: with_adapter,
        typed: "verify tuned base lora",
        code: 0,
        says: &["swapped"],
    },
    Row {
        mistake: "inspect: a path that is not there",
        make: |_| (),
        typed: "inspect tunde",
        code: 2,
        says: &["cannot open tunde: no such file or directory; did you mean tuned?"],
    },
    Row {
        mistake: "check: a path that is not there",
        make: |_| (),
        typed: "check lora --base base",
        code: 2,
        says: &["cannot open lora: no such file or directory"],
    },
    Row {
        mistake: "convert: a safetensors file without a format",
        make: with_adapter,
        typed: "convert lora -o small.safetensors",
        code: 2,
        says: &["small.safetensors: one safetensors file is --format kohya or comfy; PEFT's"],
    },
    Row {
        mistake: "convert to the compact form",
        make: with_adapter,
        typed: "convert lora -o small.phlora",
        code: 2,
        says: &["not in phlora's compact form; phlora prune makes it of any adapter"],
    },
    Row {
        mistake: "a Modelfile of a base that is not there",
        make: |_| (),
        typed: "extract base tuned -o lora.gguf --modelfile ./llama.gguf",
        code: 2,
        says: &["--modelfile ./llama.gguf: no such file"],
    },
    Row {
        mistake: "a Modelfile of a base that is no GGUF file",
        make: |_| (),
        typed: "extract base tuned -o lora.gguf --modelfile base/model.safetensors",
        code: 2,
        says: &["--modelfile base/model.safetensors: not a GGUF file"],
    },
    Row {
        mistake: "a Modelfile in the place of another",
        make: |root| fs::write(root.join("Modelfile"), "FROM mine").unwrap(),
        typed: "convert nothere -o lora.gguf --modelfile llama3.2",
        code: 2,
        says: &["Modelfile"],
    },
    Row {
        mistake: "convert: the base is of other shapes",
        make: |root| {
            with_adapter(root);
            Small { width: 32, ..BASE }.write(root, "other");
        },
        typed: "convert lora -o lora.gguf --base other",
        code: 2,
        says: &["other/model.safetensors has [32, 64]", "[16, 32]", "wrong base"],
    },
    Row {
        mistake: "convert: the base has fewer layers",
        make: |root| {
            with_adapter(root);
            Small { layers: 1, ..BASE }.write(root, "other");
        },
        typed: "convert lora -o again --base other",
        code: 2,
        says: &["the base other has no tensor model.layers.1"],
    },
    Row {
        mistake: "verify: an adapter of another architecture",
        make: |root| {
            with_adapter(root);
            let (lora, gguf) = (text(&root.join("lora")), text(&root.join("lora.gguf")));
            succeed(&["convert", &lora, "-o", &gguf, "--arch", "qwen2", "-q"]);
        },
        typed: "verify base tuned lora.gguf",
        code: 2,
        says: &["lora.gguf: its architecture is qwen2"],
    },
];
