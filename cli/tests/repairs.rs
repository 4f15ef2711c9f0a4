//! Every repair that `phlora check` names, done word for word: the finding is gone after it.

mod common;

use common::{
    Tensors, command, extract_tiny, json, noise, outcome, plus_low_rank, succeed, text, write_model,
};
use phlora_core::Dtype::F32;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Broken adapters, each in a directory of its own, with the base beside it.
struct Bench {
    root: tempfile::TempDir,
    /// The codes that were repaired.
    repaired: BTreeSet<String>,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), repaired: BTreeSet::new() }
    }

    /// A directory with tiny Llama as its base.
    fn place(&self, name: &str) -> PathBuf {
        let place = self.root.path().join(name);
        fs::create_dir(&place).unwrap();
        copy(Path::new(&common::tiny_llama("base")), &place.join("base"));
        place
    }

    /// The same with an adapter for it.
    fn extracted(&self, name: &str, more: &[&str]) -> PathBuf {
        let place = self.place(name);
        extract_tiny(&place.join("lora"), &[&["-r", "8"], more].concat());
        place
    }

    /// Does what `check --for program` names for `code`, and looks again.
    fn repair(&mut self, place: &Path, adapter: &str, program: &str, code: &str) {
        let checked = |adapter: &str| {
            let args = ["check", adapter, "--base", "base", "--for", program];
            outcome(&command().args(args).current_dir(place).output().unwrap()).1
        };
        let found = checked(adapter);
        let is = |line: &str, code: &str| line.split([' ', ':']).nth(1) == Some(code);
        let line = found.lines().position(|line| is(line, code));
        let repair = line.and_then(|at| found.lines().nth(at + 1)?.strip_prefix("  repair: "));
        let repair = repair.unwrap_or_else(|| panic!("{program} {code}: no repair in {found}"));
        let directory = Path::new(env!("CARGO_BIN_EXE_phlora")).parent().unwrap();
        let path = format!("{}:{}", text(directory), std::env::var("PATH").unwrap());
        let shell = Command::new("sh").args(["-c", repair]).env("PATH", path).current_dir(place).output();
        let (exit, _, stderr) = outcome(&shell.unwrap());
        assert_eq!(exit, 0, "{program} {code}: {repair}: {stderr}");
        let made = common::names(place).into_iter().find(|name| name.starts_with("repaired")).unwrap();
        let after = checked(&made);
        let gone = |code: &str| !after.lines().any(|line| is(line, code));
        assert!(gone(code) && gone("wrong-format") && gone("adapter-invalid"), "{program} {code}: {after}");
        let made = place.join(made);
        if made.is_dir() {
            fs::remove_dir_all(made).unwrap();
        } else {
            fs::remove_file(made).unwrap();
        }
        self.repaired.insert(code.to_owned());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in common::names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

fn change(place: &Path, file: &str, fields: &[(&str, Value)]) {
    let path = place.join(file);
    let mut config = json(&path);
    for (field, value) in fields {
        config[*field] = value.clone();
    }
    fs::write(&path, config.to_string()).unwrap();
}

const CONFIG: &str = "lora/adapter_config.json";

/// Writes the factors again under other names.
fn respell(place: &Path, name: impl Fn(&str) -> String) {
    let path = place.join("lora/adapter_model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensors: Vec<_> = file.iter().map(|(own, tensor)| (name(own), tensor)).collect();
    safetensors::serialize_to_file(tensors, None, &path).unwrap();
}

/// A PEFT directory of `tensors`.
fn write_adapter(place: &Path, tensors: &Tensors, config: &Value) {
    fs::create_dir(place.join("lora")).unwrap();
    tensors.write(&place.join("lora/adapter_model.safetensors"));
    fs::write(place.join(CONFIG), config.to_string()).unwrap();
}

const QUERY: &str = "base_model.model.model.layers.0.self_attn.q_proj";

#[test]
fn configurations_are_repaired() {
    let mut bench = Bench::new();
    for (program, code, fields) in [
        ("peft", "untargeted", vec![("target_modules", json!(["q_proj"]))]),
        ("vllm", "missing-field", vec![("r", Value::Null), ("lora_alpha", Value::Null)]),
        ("vllm", "missing-field", vec![("target_modules", Value::Null)]),
        ("sglang", "target-pattern", vec![("target_modules", json!(".*proj"))]),
        ("sglang", "rslora", vec![("use_rslora", json!(true))]),
        ("vllm", "rank-above-r", vec![("r", json!(4)), ("rank_pattern", json!({".*": 8}))]),
        ("vllm", "scale-pattern", vec![("alpha_pattern", json!({"q_proj": 4}))]),
        ("sglang", "scale-pattern", vec![("alpha_pattern", json!({"q_proj": 4}))]),
        ("ollama", "scale-pattern", vec![("alpha_pattern", json!({"q_proj": 4}))]),
        ("ollama", "alpha-fraction", vec![("lora_alpha", json!(8.5))]),
    ] {
        let place = bench.extracted(&format!("{program}-{code}-{}", fields[0].0), &[]);
        change(&place, CONFIG, &fields);
        bench.repair(&place, "lora", program, code);
    }
    let mixed = bench.place("mixed");
    extract_tiny(&mixed.join("lora"), &["--energy", "0.6", "--max-rank", "16"]);
    bench.repair(&mixed, "lora", "sglang", "mixed-ranks");
    let place = bench.extracted("architecture", &[]);
    let qwen = [("model_type", json!("qwen2")), ("architectures", json!(["Qwen2ForCausalLM"]))];
    change(&place, "base/config.json", &qwen);
    bench.repair(&place, "lora", "ollama", "architecture");
    bench.documented(&OF_CONFIGURATIONS);
}

#[test]
fn names_and_shapes_are_repaired() {
    let mut bench = Bench::new();
    // Saved by hand from a model in memory.
    let held = bench.extracted("held", &[]);
    respell(&held, |name| name.replace(".weight", ".default.weight"));
    for program in ["peft", "vllm", "ollama"] {
        bench.repair(&held, "lora", program, "adapter-name");
    }
    let without = bench.extracted("without", &[]);
    respell(&without, |name| name.replacen("model.model.model.", "model.model.", 1));
    for program in ["peft", "vllm", "sglang"] {
        bench.repair(&without, "lora", program, "unread");
    }
    let large = bench.place("large");
    let (a, b) = (noise(1, 600 * 192, 0.1), noise(2, 192 * 600, 0.1));
    let tensors = Tensors::default().add(&format!("{QUERY}.lora_A.weight"), &[600, 192], F32, &a).add(
        &format!("{QUERY}.lora_B.weight"),
        &[192, 600],
        F32,
        &b,
    );
    let config = json!({"peft_type": "LORA", "r": 600, "lora_alpha": 600, "target_modules": ["q_proj"]});
    write_adapter(&large, &tensors, &config);
    bench.repair(&large, "lora", "vllm", "rank-too-large");
    let product = bench.place("product");
    let mut tensors = Tensors::default();
    for (at, (part, shape)) in
        [("w1_a", [192, 2]), ("w1_b", [2, 192]), ("w2_a", [192, 2]), ("w2_b", [2, 192])]
            .into_iter()
            .enumerate()
    {
        tensors = tensors.add(&format!("{QUERY}.hada_{part}"), &shape, F32, &noise(at as u64, 384, 0.1));
    }
    let config = json!({"peft_type": "LOHA", "r": 2, "alpha": 2, "target_modules": ["q_proj"]});
    write_adapter(&product, &tensors, &config);
    for program in ["vllm", "sglang"] {
        bench.repair(&product, "lora", program, "peft-type");
    }
    let experts = bench.root.path().join("experts");
    fs::create_dir(&experts).unwrap();
    mixture(&experts);
    let args = ["extract", "base", "tuned", "-o", "lora", "-r", "2", "-q"];
    assert!(command().args(args).current_dir(&experts).status().unwrap().success());
    bench.repair(&experts, "lora", "vllm", "unknown-module");
    bench.documented(&OF_NAMES);
}

/// Both sides of a mixture of two experts, which are stacked in memory.
fn mixture(place: &Path) {
    let config = json!({
        "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "hidden_size": 16, "num_hidden_layers": 1,
        "num_local_experts": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 9,
    });
    for tuned in [false, true] {
        let mut tensors = Tensors::default();
        let mut add = |name: &str, shape: [usize; 2]| {
            let seed = tensors.0.len() as u64 + 1;
            let values = noise(seed, shape[0] * shape[1], 1.0);
            let values =
                if tuned { plus_low_rank(&values, shape[0], shape[1], 2, seed + 50) } else { values };
            tensors = std::mem::take(&mut tensors).add(
                &format!("model.layers.0.{name}.weight"),
                &shape,
                F32,
                &values,
            );
        };
        for expert in 0..2 {
            for (part, shape) in [("w1", [32, 16]), ("w2", [16, 32]), ("w3", [32, 16])] {
                add(&format!("block_sparse_moe.experts.{expert}.{part}"), shape);
            }
        }
        add("self_attn.q_proj", [16, 16]);
        write_model(&place.join(if tuned { "tuned" } else { "base" }), &tensors, &config.to_string());
    }
}

#[test]
fn formats_are_repaired() {
    let mut bench = Bench::new();
    let place = bench.extracted("formats", &[]);
    let at = |name: &str| text(&place.join(name));
    let (lora, base) = (at("lora"), at("base"));
    let convert = |name: &str, more: &[&str]| {
        succeed(&[&["convert", &lora, "-o", &at(name), "--base", &base, "-q"], more].concat());
    };
    convert("lora.gguf", &[]);
    convert("kohya.safetensors", &["--format", "kohya", "--prefix", "lora_te1"]);
    for program in ["peft", "vllm", "sglang", "mlx"] {
        bench.repair(&place, "lora.gguf", program, "wrong-format");
    }
    bench.repair(&place, "kohya.safetensors", "ollama", "wrong-format");
    bench.repair(&place, "lora", "llama.cpp", "wrong-format");
    for (name, fields) in [
        ("dropout", json!({"num_layers": -1, "lora_parameters": {"rank": 8, "scale": 1.0}})),
        (
            "keys",
            json!({"num_layers": -1, "lora_parameters":
            {"rank": 8, "scale": 1.0, "dropout": 0.0, "keys": ["self_attn.q_proj"]}}),
        ),
        ("layers", json!({"num_layers": 1, "lora_parameters": {"rank": 8, "scale": 1.0, "dropout": 0.0}})),
    ] {
        convert(name, &["--format", "mlx"]);
        fs::write(place.join(name).join("adapter_config.json"), fields.to_string()).unwrap();
    }
    bench.repair(&place, "dropout", "mlx", "missing-field");
    bench.repair(&place, "keys", "mlx", "untargeted");
    bench.repair(&place, "layers", "mlx", "untargeted");
    // A part of a pipeline.
    let unet = bench.root.path().join("unet");
    fs::create_dir(&unet).unwrap();
    let values = noise(3, 16 * 16, 1.0);
    for (side, values) in [("base", values.clone()), ("tuned", plus_low_rank(&values, 16, 16, 2, 9))] {
        let tensors = Tensors::default().add("down_blocks.0.attn.to_q.weight", &[16, 16], F32, &values);
        write_model(&unet.join(side), &tensors, &json!({"_class_name": "UNet2DConditionModel"}).to_string());
    }
    let args = ["extract", "base", "tuned", "-o", "lora", "-r", "2", "-q"];
    assert!(command().args(args).current_dir(&unet).status().unwrap().success());
    bench.repair(&unet, "lora", "diffusers", "wrong-format");
    bench.documented(&OF_FORMATS);
}

#[test]
fn no_repair_is_named_where_none_works() {
    let bench = Bench::new();
    // Whose rank is not what its configuration says: what alpha is to be divided by is not known.
    let broken = bench.extracted("broken", &[]);
    change(&broken, CONFIG, &[("r", json!(4)), ("target_modules", json!(["q_proj"]))]);
    // Norms, which GGUF has no place for.
    let norms = bench.extracted("norms", &["--also", "norms"]);
    // DoRA, which needs a rank.
    let dora = bench.extracted("dora", &[]);
    change(&dora, CONFIG, &[("use_dora", json!(true)), ("target_modules", json!(["q_proj"]))]);
    for (place, program, code) in [
        (&broken, "vllm", "rank-above-r"),
        (&norms, "llama.cpp", "no-place"),
        (&norms, "ollama", "no-place"),
        (&dora, "peft", "untargeted"),
    ] {
        let args = ["check", "lora", "--base", "base", "--for", program];
        let (exit, found, stderr) = outcome(&command().args(args).current_dir(place).output().unwrap());
        assert!(found.contains(code) && !found.contains("repair:"), "{program}: {found}{stderr}");
        assert!(exit == 1, "{program}: {found}");
    }
}

impl Bench {
    /// Holds what was repaired against `codes`, and those of all tests together against the documentation.
    fn documented(&self, codes: &[&str]) {
        assert_eq!(self.repaired, codes.iter().map(|code| (*code).to_owned()).collect());
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md");
        let page = fs::read_to_string(path).unwrap();
        let mut listed = BTreeSet::new();
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            if cells.len() == 5 && !cells[4].is_empty() {
                listed.insert(cells[0].trim_matches('`').to_owned());
            }
        }
        let all = [&OF_CONFIGURATIONS[..], &OF_NAMES, &OF_FORMATS].concat();
        assert_eq!(listed, all.into_iter().map(str::to_owned).collect(), "docs/checks.md");
        assert!(codes.iter().all(|code| listed.contains(*code)), "{codes:?}");
    }
}

// All codes with a repair, by the test above that repairs them.
const OF_CONFIGURATIONS: [&str; 9] = [
    "untargeted",
    "missing-field",
    "target-pattern",
    "rslora",
    "rank-above-r",
    "scale-pattern",
    "alpha-fraction",
    "mixed-ranks",
    "architecture",
];
const OF_NAMES: [&str; 5] = ["adapter-name", "unread", "rank-too-large", "peft-type", "unknown-module"];
const OF_FORMATS: [&str; 3] = ["wrong-format", "missing-field", "untargeted"];
