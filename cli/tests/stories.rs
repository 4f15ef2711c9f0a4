//! What users of other tools come for, in one line each: mergekit, kohya's scripts, Ollama, mlx-lm, the hub.

mod common;

use common::{
    command, extract_tiny, file, json, names, outcome, phlora, product, succeed, text, tiny_llama,
    verified_tiny,
};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const Q: &str = "model.layers.0.self_attn.q_proj";

fn metadata(path: &Path) -> BTreeMap<String, String> {
    let bytes = fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    header.metadata().clone().unwrap_or_default().into_iter().collect()
}

fn floats(bytes: &[u8], name: &str) -> (Vec<usize>, Vec<f32>) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    (tensor.shape().to_vec(), common::decoded(&tensor))
}

#[test]
fn modules_are_stored_whole_by_name() {
    let root = tempfile::tempdir().unwrap();
    let (plain, saved) = (root.path().join("plain"), root.path().join("saved"));
    extract_tiny(&plain, &["-r", "8"]);
    extract_tiny(&saved, &["-r", "8", "--save-module", "^lm_head$"]);
    assert_eq!(json(&saved.join("adapter_config.json"))["modules_to_save"], serde_json::json!(["lm_head"]));
    let whole = |adapter| verified_tiny(adapter)["whole_energy"].as_f64().unwrap();
    assert!(whole(&saved) > whole(&plain) + 0.3, "{} {}", whole(&saved), whole(&plain));
    let out = text(&root.path().join("none"));
    let (code, _, stderr) = phlora(&[
        "extract",
        &tiny_llama("base"),
        &tiny_llama("tuned"),
        "-o",
        &out,
        "--save-module",
        "lm_haed",
    ]);
    assert_eq!(code, 2);
    assert!(stderr.contains("no module matches lm_haed"), "{stderr}");
}

/// A kohya file of a linear layer and a 3 × 3 convolution of rank 6, with metadata of its trainer.
fn trained(path: &Path) {
    let tensors: [(&str, &[usize]); 6] = [
        ("lora_unet_a_to_q.lora_down.weight", &[6, 16]),
        ("lora_unet_a_to_q.lora_up.weight", &[24, 6]),
        ("lora_unet_a_to_q.alpha", &[]),
        ("lora_unet_a_conv1.lora_down.weight", &[6, 4, 3, 3]),
        ("lora_unet_a_conv1.lora_up.weight", &[8, 6, 1, 1]),
        ("lora_unet_a_conv1.alpha", &[]),
    ];
    let mut header = serde_json::json!({"__metadata__": {
        "modelspec.title": "a style", "ss_training_comment": "mine", "ss_tag_frequency": "{\"x\": 1}",
        "sshs_model_hash": "0123", "ss_network_dim": "6",
    }});
    let mut data = Vec::new();
    for (seed, (name, shape)) in (1..).zip(tensors) {
        let count = shape.iter().product();
        let values = if shape.is_empty() { vec![6.0] } else { common::noise(seed, count, 1.0) };
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header[name] =
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]});
    }
    fs::write(path, file(&header.to_string(), &data)).unwrap();
}

/// The same file without a comment of its trainer.
fn without_comment(from: &Path, to: &Path) {
    let bytes = fs::read(from).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header["__metadata__"].as_object_mut().unwrap().remove("ss_training_comment");
    fs::write(to, file(&header.to_string(), &bytes[8 + length..])).unwrap();
}

#[test]
fn kohya_files_are_resized_and_keep_their_metadata() {
    let root = tempfile::tempdir().unwrap();
    let (from, out) = (root.path().join("style.safetensors"), root.path().join("small.safetensors"));
    trained(&from);
    let (from, to) = (text(&from), text(&out));
    succeed(&["prune", &from, "-o", &to, "-r", "4", "--conv-rank", "2", "-q"]);
    let shape = |name: &str| floats(&fs::read(&out).unwrap(), name).0;
    assert_eq!(shape("lora_unet_a_to_q.lora_down.weight"), [4, 16]);
    assert_eq!(shape("lora_unet_a_conv1.lora_down.weight"), [2, 4, 3, 3]);
    let kept = metadata(&out);
    assert_eq!(kept["modelspec.title"], "a style");
    assert_eq!(kept["ss_tag_frequency"], "{\"x\": 1}");
    assert_eq!(kept["ss_training_comment"], "resized from 6 by phlora; mine");
    assert_eq!(kept["ss_network_dim"], "4");
    assert!(kept["ss_network_args"].contains(r#""conv_dim":"2""#), "{}", kept["ss_network_args"]);
    assert!(!kept.contains_key("sshs_model_hash"));

    // Where there was no comment there is one afterwards, as with kohya's tool.
    let plain = root.path().join("plain.safetensors");
    without_comment(Path::new(&from), &plain);
    let small = text(&root.path().join("small-plain.safetensors"));
    succeed(&["prune", &text(&plain), "-o", &small, "-r", "4", "-q"]);
    assert_eq!(metadata(Path::new(&small))["ss_training_comment"], "resized from 6 by phlora; ");

    let ranks = |rule: &[&str]| {
        let printed = succeed(&[&["prune", &from, "-o", &to, "--force", "--json"], rule].concat());
        let json: Value = serde_json::from_str(&printed).unwrap();
        let modules = json["modules"].as_array().unwrap().clone();
        modules.iter().map(|module| module["rank"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    // The rules and their bounds, against each other: of a share and its square, and of what no rule cuts.
    assert_eq!(ranks(&["--sv-fro", "0.8"]), ranks(&["--energy", "0.64"]));
    assert_eq!(ranks(&["--sv-fro", "100%"]), [6, 6]);
    assert_eq!(ranks(&["--sv-ratio", "1e6"]), [6, 6]);
    assert_eq!(ranks(&["--sv-ratio", "1e6", "--max-rank", "3", "--conv-rank", "1"]), [1, 3]);
    assert_eq!(ranks(&["--sv-cumulative", "0.01"]), [1, 1]);
    assert_eq!(ranks(&["--sv-epsilon", "1e-9"]), [6, 6]);
    let (code, _, stderr) = phlora(&["prune", &from, "-o", &to, "--force", "--sv-fro", "0.9", "--rank", "3"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("cannot be used with"), "{stderr}");
}

#[test]
fn ollama_gets_a_modelfile_that_it_takes() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let run = |args: &[&str]| {
        let args = [&["extract", &base, &tuned, "-q", "-r", "2"], args].concat();
        outcome(&command().args(args).current_dir(root.path()).output().unwrap())
    };
    let modelfile = || fs::read_to_string(root.path().join("Modelfile")).unwrap();
    assert_eq!(run(&["-o", "lora.gguf", "--modelfile", "llama3.2:1b"]).0, 0);
    assert_eq!(modelfile(), "# Written by phlora, for Ollama.\nFROM llama3.2:1b\nADAPTER ./lora.gguf\n");
    fs::write(root.path().join("base.gguf"), "GGUF").unwrap();
    assert_eq!(run(&["-o", "lora.gguf", "--modelfile", "base.gguf", "--force"]).0, 0);
    // Ollama wants FROM once, and paths that are whole or relative to the Modelfile, of GGUF files.
    let text = modelfile();
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 2);
    for (line, instruction) in lines.iter().zip(["FROM ", "ADAPTER "]) {
        let path = line.strip_prefix(instruction).unwrap();
        assert!(fs::read(root.path().join(path)).unwrap().starts_with(b"GGUF"), "{line}");
    }
    fs::write(root.path().join("Modelfile"), "FROM mine\n").unwrap();
    let (code, _, stderr) = run(&["-o", "lora.gguf", "--modelfile", "llama3", "--force"]);
    assert_eq!((code, modelfile().as_str()), (2, "FROM mine\n"), "{stderr}");
    let (code, _, stderr) = run(&["-o", "directory", "--modelfile", "llama3"]);
    assert!(code == 2 && stderr.contains("beside a GGUF adapter"), "{stderr}");
    assert!(!root.path().join("directory").exists());
}

#[test]
fn mlx_adapters_are_written_and_read() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    extract_tiny(&path("peft"), &["-r", "8"]);
    extract_tiny(&path("mlx"), &["-r", "8", "--format", "mlx"]);
    assert_eq!(names(&path("mlx")), ["README.md", "adapter_config.json", "adapters.safetensors"]);
    let config = json(&path("mlx").join("adapter_config.json"));
    assert_eq!(config["fine_tune_type"], "lora");
    let parameters = &config["lora_parameters"];
    assert_eq!((parameters["rank"].as_u64(), parameters["scale"].as_f64()), (Some(8), Some(1.0)));
    assert!(parameters["keys"].as_array().unwrap().contains(&"self_attn.q_proj".into()));
    let bytes = fs::read(path("mlx").join("adapters.safetensors")).unwrap();
    let (a_shape, a) = floats(&bytes, &format!("{Q}.lora_a"));
    let (b_shape, b) = floats(&bytes, &format!("{Q}.lora_b"));
    let (input, rank, out) = (a_shape[0], a_shape[1], b_shape[1]);
    assert_eq!((rank, b_shape[0]), (8, 8));
    let expected = product(&path("peft"), Q);
    for (i, j) in [(0, 0), (3, 7), (out - 1, input - 1)] {
        let found: f32 = (0..rank).map(|k| a[j * rank + k] * b[k * out + i]).sum();
        assert!((found - expected[i * input + j]).abs() <= 1e-6, "{found}");
    }
    // Every command takes it, and what comes back is the same to the bit.
    let energy = |adapter: &str| verified_tiny(&path(adapter))["energy"].as_f64().unwrap();
    assert_eq!(energy("mlx"), energy("peft"));
    let (mlx, base) = (text(&path("mlx")), tiny_llama("base"));
    succeed(&["convert", &mlx, "-o", &text(&path("back")), "--format", "peft", "-q"]);
    succeed(&["convert", &text(&path("back")), "-o", &text(&path("again")), "--format", "mlx", "-q"]);
    let tensors = |name: &str| {
        let bytes = fs::read(path(name).join("adapters.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        file.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(tensors("again"), tensors("mlx"));
    succeed(&["prune", &mlx, "-o", &text(&path("small")), "-r", "3", "-q"]);
    assert_eq!(json(&path("small").join("adapter_config.json"))["lora_parameters"]["rank"], 3);
    for (adapter, merged) in [("mlx", "by-mlx"), ("peft", "by-peft")] {
        succeed(&["merge", &base, &text(&path(adapter)), "-o", &text(&path(merged)), "-q"]);
    }
    let weights = |name: &str| fs::read(path(name).join("model.safetensors")).unwrap();
    assert!(weights("by-mlx") == weights("by-peft"));
    assert_eq!(phlora(&["check", &mlx, "--base", &base]).0, 0);
    assert!(succeed(&["inspect", &mlx]).starts_with("LoRA adapter of mlx-lm, rank 8, alpha 8, scale 1"));
    // A rank for each module becomes the largest for all.
    extract_tiny(&path("energies"), &["--energy", "50%", "--format", "mlx"]);
    let rank =
        json(&path("energies").join("adapter_config.json"))["lora_parameters"]["rank"].as_u64().unwrap();
    let bytes = fs::read(path("energies").join("adapters.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert!(
        file.iter().all(|(name, view)| view.shape()[usize::from(name.ends_with("lora_a"))] as u64 == rank)
    );
}

#[test]
fn mlx_adapters_that_are_none_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("mlx");
    extract_tiny(&directory, &["-r", "2", "--format", "mlx"]);
    let config = directory.join("adapter_config.json");
    let sound = fs::read_to_string(&config).unwrap();
    for (from, to, says) in [
        (r#""fine_tune_type": "lora""#, r#""fine_tune_type": "dora""#, "fine_tune_type is dora"),
        (r#""rank": 2"#, r#""rank": 3"#, "expected [in, rank] of rank 3"),
        (r#""scale": 1.0"#, r#""scale": "x""#, "no scale"),
    ] {
        assert!(sound.contains(from), "{sound}");
        fs::write(&config, sound.replace(from, to)).unwrap();
        let (code, _, stderr) = phlora(&["inspect", &text(&directory)]);
        assert!(code == 2 && stderr.contains(says), "{says}: {stderr}");
    }
}

#[test]
fn an_adapter_explains_itself_without_paths() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path().join("hub/models--org--some-base");
    let snapshot = place.join("snapshots/abc");
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(place.join("refs")).unwrap();
    fs::write(place.join("refs/main"), "abc").unwrap();
    for entry in fs::read_dir(tiny_llama("base")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, snapshot.join(path.file_name().unwrap())).unwrap();
    }
    let (tuned, out) = (tiny_llama("tuned"), root.path().join("adapter"));
    let run = |more: &[&str]| {
        let (base, out) = (text(&snapshot), text(&out));
        let args = [&["extract", &base, &tuned, "-o", &out, "-r", "4", "-q"], more].concat();
        let (code, _, stderr) = phlora(&args);
        assert_eq!(code, 0, "{stderr}");
    };
    run(&[]);
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    for part in [
        "---\nbase_model: org/some-base\nlibrary_name: peft\npipeline_tag: text-generation\ntags:\n- lora\n- phlora\n---\n",
        "# LoRA adapter of `tuned` on `org/some-base`",
        "| output head | 1 | 42.6 % |",
        "phlora extract abc tuned -o ADAPTER --rank 4",
        "AutoModelForCausalLM.from_pretrained(\"org/some-base\")",
        "No licence is stated here",
    ] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert_eq!(json(&out.join("adapter_config.json"))["base_model_name_or_path"], "org/some-base");
    let said = metadata(&out.join("adapter_model.safetensors"));
    assert_eq!((said["format"].as_str(), said["phlora.base"].as_str()), ("pt", "org/some-base"));
    assert_eq!(said["phlora.policy"], "rank 4");
    for name in names(&out) {
        let content = fs::read(out.join(&name)).unwrap();
        let here = text(root.path());
        assert!(!content.windows(here.len()).any(|window| window == here.as_bytes()), "{name}");
    }
    // A card of somebody's stays; a name that is told counts.
    fs::write(out.join("README.md"), "mine").unwrap();
    run(&["--force", "--base-name", "me/other"]);
    assert_eq!(fs::read_to_string(out.join("README.md")).unwrap(), "mine");
    assert_eq!(json(&out.join("adapter_config.json"))["base_model_name_or_path"], "me/other");
    // The file of an adapter says the same, and keeps saying it in another format.
    let gguf = text(&root.path().join("lora.gguf"));
    succeed(&["convert", &text(&out), "-o", &gguf, "--base", &tuned, "-q"]);
    succeed(&["convert", &gguf, "-o", &text(&root.path().join("back")), "--base", &tuned, "-q"]);
    let back = metadata(&root.path().join("back/adapter_model.safetensors"));
    assert_eq!((back["phlora.base"].as_str(), back["phlora.policy"].as_str()), ("me/other", "rank 4"));
    // What was true of the factors is not said of smaller ones.
    succeed(&["prune", &text(&out), "-o", &text(&root.path().join("small")), "-r", "2", "-q"]);
    let small = metadata(&root.path().join("small/adapter_model.safetensors"));
    assert!(small.contains_key("phlora.base") && !small.contains_key("phlora.energy"), "{small:?}");
}

#[test]
fn a_dry_run_says_what_is_written() {
    let root = tempfile::tempdir().unwrap();
    for (name, more) in [
        ("a", &["-r", "8"][..]),
        ("b.gguf", &["-r", "4"]),
        ("c.safetensors", &["-r", "2", "--format", "kohya", "--prefix", "lora_te1"]),
        ("d", &["-r", "300", "--dtype", "bf16", "--format", "mlx"]),
    ] {
        let (base, tuned, out) = (tiny_llama("base"), tiny_llama("tuned"), root.path().join(name));
        let place = text(&out);
        let args = [&["extract", &base, &tuned, "-o", &place, "--json"], more].concat();
        let dry: Value = serde_json::from_str(&succeed(&[&args[..], &["--dry-run"]].concat())).unwrap();
        assert!(!out.exists());
        let done: Value = serde_json::from_str(&succeed(&args)).unwrap();
        let (dry, done) = (&dry["adapters"][0], &done["adapters"][0]["report"]);
        assert_eq!(dry["bytes"], done["bytes_out"], "{name}");
        let ranks = |modules: &Value| {
            let all = modules.as_array().unwrap().iter();
            all.map(|module| (module["name"].clone(), module["rank"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(ranks(&dry["modules"]), ranks(&done["modules"]));
    }
    let (base, tuned, out) = (tiny_llama("base"), tiny_llama("tuned"), text(&root.path().join("e")));
    let said = succeed(&["extract", &base, &tuned, "-o", &out, "--energy", "0.9", "--dry-run"]);
    assert!(said.contains("a size that the spectra decide"), "{said}");
}

#[test]
fn a_rank_that_makes_the_adapter_larger_than_the_model_says_so() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned, out) = (tiny_llama("base"), tiny_llama("tuned"), text(&root.path().join("a")));
    let (code, _, stderr) = phlora(&["extract", &base, &tuned, "-o", &out, "-r", "190", "-q"]);
    assert_eq!(code, 0);
    assert!(stderr.contains("the adapter is larger than what it changes"), "{stderr}");
}

#[test]
fn a_wrong_base_is_one_line() {
    let root = tempfile::tempdir().unwrap();
    common::small::pair(root.path());
    let path = |name: &str| text(&root.path().join(name));
    succeed(&["extract", &path("base"), &path("tuned"), "-o", &path("lora"), "-r", "2", "-q"]);
    common::small::Small { width: 32, ..common::small::BASE }.write(root.path(), "other");
    let (code, stdout, _) = phlora(&["check", &path("lora"), "--base", &path("other")]);
    assert_eq!((code, stdout.lines().count()), (1, 1), "{stdout}");
    assert!(stdout.contains("wrong base") && stdout.contains("the same with 11 others"), "{stdout}");
    let (_, listed, _) = phlora(&["check", &path("lora"), "--base", &path("other"), "--json"]);
    assert_eq!(serde_json::from_str::<Value>(&listed).unwrap().as_array().unwrap().len(), 12);
}
