//! Adapters of one safetensors file, kohya's and ComfyUI's: names, shapes, alpha, metadata, and bad input.

#[path = "../common/mod.rs"]
mod common;
mod refused;

use common::*;
use phlora_core::Dtype::{Bf16, F16, F32};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

type Shapes = BTreeMap<String, Vec<usize>>;

/// A model of these layers, both sides, `tuned` of rank 2 away.
fn pair(layers: &[(&str, &[usize])]) -> (Tensors, Tensors) {
    let (mut base, mut tuned) = (Tensors::default(), Tensors::default());
    for (seed, (name, shape)) in layers.iter().enumerate() {
        let (rows, cols) = (shape[0], shape[1..].iter().product());
        let weight = noise(seed as u64, rows * cols, 1.0);
        base = base.add(name, shape, F32, &weight);
        tuned = tuned.add(name, shape, F32, &plus_low_rank(&weight, rows, cols, 2, 100 + seed as u64));
    }
    (base, tuned)
}

/// A U-Net under diffusers' names.
const UNET: [(&str, &[usize]); 3] = [
    ("conv_in.weight", &[11, 5, 3, 3]),
    ("down_blocks.0.attentions.0.proj_in.weight", &[11, 11, 1, 1]),
    ("down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight", &[13, 6]),
];

/// Parts of a checkpoint of a whole pipeline.
const PIPELINE: [(&str, &[usize]); 5] = [
    ("model.diffusion_model.input_blocks.0.0.weight", &[11, 5, 3, 3]),
    ("model.diffusion_model.input_blocks.1.1.proj_in.weight", &[11, 11]),
    ("conditioner.embedders.0.transformer.text_model.encoder.layers.0.mlp.fc1.weight", &[12, 7]),
    ("conditioner.embedders.1.model.transformer.resblocks.0.mlp.c_fc.weight", &[12, 7]),
    ("first_stage_model.decoder.conv_in.weight", &[6, 4, 3, 3]),
];

fn header(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    assert_eq!(length % 8, 0);
    serde_json::from_slice(&bytes[8..8 + length]).unwrap()
}

fn shapes(path: &Path) -> Shapes {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec())).collect()
}

/// The tensors of modules of rank `rank`: name, shape of the weight.
fn expected(rank: usize, modules: &[(&str, &[usize])]) -> Shapes {
    let mut shapes = Shapes::new();
    for (name, weight) in modules {
        let ones = vec![1; weight.len() - 2];
        shapes.insert(format!("{name}.lora_down.weight"), [&[rank], &weight[1..]].concat());
        shapes.insert(format!("{name}.lora_up.weight"), [&[weight[0], rank], ones.as_slice()].concat());
        shapes.insert(format!("{name}.alpha"), Vec::new());
    }
    shapes
}

fn alphas(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let scalars = file.iter().filter(|(name, _)| name.rsplit('.').next() == Some("alpha"));
    let by_name: BTreeMap<_, _> = scalars.map(|(name, tensor)| (name.to_owned(), decoded(&tensor))).collect();
    by_name.into_values().flatten().collect()
}

/// Extracts to `out` and gives the report.
fn extract(root: &Path, sides: &(String, String), format: &str, more: &[&str]) -> (String, Value) {
    let (out, report) = (text(&root.join(format!("{format}.safetensors"))), root.join("report.json"));
    let (base, tuned) = sides;
    let args = ["extract", base, tuned, "-o", &out, "--format", format, "--dtype", "f32"];
    succeed(&[&args[..], &["--force", "--report", &text(&report)], more].concat());
    (out, json(&report))
}

/// What is refused, with exit code 2, and why.
fn refused(args: &[&str], why: &str) {
    let (code, _, stderr) = phlora(args);
    assert!(code == 2 && stderr.contains(why), "{args:?}: {code} {stderr}");
}

#[test]
fn a_unet_of_diffusers_becomes_a_kohya_file_and_comes_back() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = pair(&UNET);
    let config = r#"{"_class_name": "UNet2DConditionModel"}"#;
    let sides = (
        write_model(&root.path().join("base"), &base, config),
        write_model(&root.path().join("tuned"), &tuned, config),
    );
    let (out, _) = extract(root.path(), &sides, "kohya", &["--rank", "2"]);
    let prefix = "lora_unet_down_blocks_0_attentions_0_";
    let (proj, to_q) = (format!("{prefix}proj_in"), format!("{prefix}transformer_blocks_0_attn1_to_q"));
    let modules: [(&str, &[usize]); 3] =
        [("lora_unet_conv_in", &[11, 5, 3, 3]), (&proj, &[11, 11, 1, 1]), (&to_q, &[13, 6])];
    assert_eq!(shapes(Path::new(&out)), expected(2, &modules));
    assert_eq!(alphas(Path::new(&out)), [2.0; 3]);
    let metadata = &header(Path::new(&out))["__metadata__"];
    assert_eq!(metadata["ss_network_module"], "networks.lora");
    assert_eq!((&metadata["ss_network_dim"], &metadata["ss_network_alpha"]), (&json!("2"), &json!("2.0")));
    assert_eq!(metadata["ss_sd_model_name"], "base");
    assert_eq!(metadata["ss_network_args"], r#"{"conv_dim":"2","conv_alpha":"2.0"}"#);

    succeed(&["verify", &sides.0, &sides.1, &out, "--min-energy", "0.9999"]);
    assert!(succeed(&["check", &out, "--base", &sides.0]).contains("nothing wrong"));
    let inspected = succeed(&["inspect", &out]);
    assert!(inspected.contains("kohya LoRA adapter, rank 2, alpha 2, scale 1"), "{inspected}");
    assert!(inspected.contains("attn1_to_q"), "{inspected}");

    // To PEFT and back: the same bytes. The names need the base.
    let peft = text(&root.path().join("peft"));
    refused(&["convert", &out, "-o", &peft], "--base");
    assert!(!Path::new(&peft).exists());
    succeed(&["convert", &out, "-o", &peft, "--base", &sides.0]);
    let name = "base_model.model.down_blocks.0.attentions.0.proj_in.lora_A.weight";
    assert_eq!(factor(Path::new(&peft), name).0, [2, 11, 1, 1]);
    succeed(&["verify", &sides.0, &sides.1, &peft, "--min-energy", "0.9999"]);
    let again = text(&root.path().join("again.safetensors"));
    succeed(&["convert", &peft, "-o", &again, "--format", "kohya", "--base", &sides.0]);
    let tensors = |path: &str| {
        let bytes = fs::read(path).unwrap();
        let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
        bytes[8 + length..].to_vec()
    };
    assert_eq!(tensors(&again), tensors(&out));

    // Merged, all formats give the same model.
    let merged = |adapter: &str, name: &str| {
        let path = root.path().join(name);
        succeed(&["merge", &sides.0, adapter, "-o", &text(&path)]);
        fs::read(path.join("model.safetensors")).unwrap()
    };
    assert_eq!(merged(&out, "merged-kohya"), merged(&peft, "merged-peft"));
    // ComfyUI has another name for these with dots.
    refused(
        &[
            "extract",
            &sides.0,
            &sides.1,
            "-o",
            &text(&root.path().join("c.safetensors")),
            "--format",
            "comfy",
        ],
        "--format kohya",
    );
}

#[test]
fn the_parts_of_a_pipeline_have_their_own_prefixes() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = pair(&PIPELINE);
    let sides = write_pair(root.path(), &base, &tuned);
    let encoder = "text_model_encoder_layers_0_mlp_fc1";
    let te = format!("lora_te1_{encoder}");
    let (kohya, report) = extract(root.path(), &sides, "kohya", &["--rank", "2"]);
    let modules: [(&str, &[usize]); 3] = [
        ("lora_unet_input_blocks_0_0", &[11, 5, 3, 3]),
        ("lora_unet_input_blocks_1_1_proj_in", &[11, 11]),
        (&te, &[12, 7]),
    ];
    assert_eq!(shapes(Path::new(&kohya)), expected(2, &modules));
    let unnamed: Vec<_> = report["left_out"].as_array().unwrap().iter().map(|one| &one["reason"]).collect();
    assert_eq!(unnamed, ["no name: the readers of single files have none"; 2]);

    let (comfy, _) = extract(root.path(), &sides, "comfy", &["--rank", "2"]);
    let modules: [(&str, &[usize]); 3] = [
        ("diffusion_model.input_blocks.0.0", &[11, 5, 3, 3]),
        ("diffusion_model.input_blocks.1.1.proj_in", &[11, 11]),
        ("text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1", &[12, 7]),
    ];
    assert_eq!(shapes(Path::new(&comfy)), expected(2, &modules));
    assert!(succeed(&["inspect", &comfy]).contains("ComfyUI LoRA adapter"));
    for file in [&kohya, &comfy] {
        succeed(&["verify", &sides.0, &sides.1, file, "--min-energy", "0.9999"]);
    }
    // Either way, with the base.
    for (from, to, format) in [(&kohya, &comfy, "comfy"), (&comfy, &kohya, "kohya")] {
        let out = text(&root.path().join("converted.safetensors"));
        let args = ["convert", from, "-o", &out, "--format", format, "--base", &sides.0, "--force"];
        succeed(&args);
        assert_eq!(shapes(Path::new(&out)), shapes(Path::new(to)));
    }
    // ComfyUI's names of a diffusion model alone tell its modules without a base.
    let (alone, again) = (root.path().join("alone.safetensors"), root.path().join("again"));
    refused(&["convert", &comfy, "-o", &text(&again)], "--base");
    let (down, up) = ([2, 5, 3, 3], [11, 2, 1, 1]);
    let module = "diffusion_model.input_blocks.0.0";
    Tensors::default()
        .add(&format!("{module}.lora_down.weight"), &down, F32, &noise(3, 90, 1.0))
        .add(&format!("{module}.lora_up.weight"), &up, F32, &noise(4, 22, 1.0))
        .write(&alone);
    succeed(&["convert", &text(&alone), "-o", &text(&again)]);
    assert_eq!(factor(&again, "base_model.model.input_blocks.0.0.lora_A.weight").0, down);
    let flat = root.path().join("flat.safetensors");
    succeed(&["convert", &text(&alone), "-o", &text(&flat), "--format", "kohya"]);
    assert_eq!(shapes(&flat), expected(2, &[("lora_unet_input_blocks_0_0", &[11, 5, 3, 3])]));
    // Pruned, it keeps its format.
    let pruned = root.path().join("pruned.safetensors");
    succeed(&["prune", &kohya, "-o", &text(&pruned), "--rank", "1"]);
    assert_eq!(shapes(&pruned)["lora_unet_input_blocks_0_0.lora_down.weight"], [1, 5, 3, 3]);
    assert_eq!(alphas(&pruned), [1.0; 3]);
    succeed(&["verify", &sides.0, &sides.1, &text(&pruned)]);
}

#[test]
fn text_encoders_are_told_by_their_directory_and_others_by_the_prefix() {
    let root = tempfile::tempdir().unwrap();
    let with = |path: &str| pair(&[(&format!("{path}encoder.layers.0.self_attn.q_proj.weight"), &[8, 8])]);
    let (base, tuned) = with("text_model.");
    let config = r#"{"model_type": "clip_text_model", "architectures": ["CLIPTextModel"]}"#;
    let path = "text_model_encoder_layers_0_self_attn_q_proj";
    let module = |pipeline: &str, directory: &str, prefix: &str, (base, tuned): &(Tensors, Tensors)| {
        let side = |name: &str, tensors: &Tensors| {
            write_model(&root.path().join(pipeline).join(name).join(directory), tensors, config)
        };
        let sides = (side("base", base), side("tuned", tuned));
        let (out, _) = extract(root.path(), &sides, "kohya", &["--rank", "2"]);
        assert_eq!(shapes(Path::new(&out)), expected(2, &[(&format!("{prefix}_{path}"), &[8, 8])]));
        succeed(&["verify", &sides.0, &sides.1, &out, "--min-energy", "0.9999"]);
    };
    let sides = (base, tuned);
    module("sd", "text_encoder", "lora_te", &sides);
    module("sdxl", "text_encoder_2", "lora_te2", &sides);
    module("sdxl", "text_encoder", "lora_te1", &sides);
    // As later versions of transformers save it: readers expect the same names.
    module("late", "text_encoder", "lora_te", &with(""));
    let (base, tuned) = sides;

    let config = r#"{"model_type": "llama"}"#;
    let llama = |name: &str, tensors: &Tensors| write_model(&root.path().join(name), tensors, config);
    let sides = (llama("base", &base), llama("tuned", &tuned));
    let out = text(&root.path().join("out.safetensors"));
    let args = ["extract", &sides.0, &sides.1, "-o", &out, "--format", "kohya"];
    refused(&args, "of a llama is not known; --prefix");
    assert!(!Path::new(&out).exists());
    succeed(&[&args[..], &["--prefix", "lora_te3", "--rank", "2", "--dtype", "f32"]].concat());
    assert_eq!(shapes(Path::new(&out)), expected(2, &[(&format!("lora_te3_{path}"), &[8, 8])]));
    // What stands before the paths is seen where the base is at hand.
    succeed(&["verify", &sides.0, &sides.1, &out, "--min-energy", "0.999"]);
    let merged = text(&root.path().join("merged"));
    succeed(&["merge", &sides.0, &out, "-o", &merged, "--quiet"]);
    let peft = text(&root.path().join("peft"));
    succeed(&["convert", &out, "-o", &peft, "--base", &sides.0]);
    succeed(&["verify", &sides.0, &sides.1, &peft, "--min-energy", "0.9999"]);
    for (format, prefix, why) in [
        ("peft", "lora_te3", "is for the names of kohya"),
        ("kohya", "", "is a name"),
        ("kohya", "a.b", "is a name"),
        ("comfy", ".", "is a name"),
    ] {
        let out = text(&root.path().join("never.safetensors"));
        let args = ["extract", &sides.0, &sides.1, "-o", &out, "--format", format, "--prefix", prefix];
        refused(&args, why);
        assert!(!Path::new(&out).exists());
    }
    // One file is of one of two kinds, which its name does not tell.
    refused(
        &["extract", &sides.0, &sides.1, "-o", &text(&root.path().join("x.safetensors"))],
        "--format kohya",
    );
}

#[test]
fn several_ranks_budgets_and_mixed_ranks() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = pair(&PIPELINE);
    let sides = write_pair(root.path(), &base, &tuned);
    let out = text(&root.path().join("lora.safetensors"));
    succeed(&["extract", &sides.0, &sides.1, "-o", &out, "--format", "kohya", "--rank", "1,2"]);
    for (rank, name) in [(1, "lora-r1.safetensors"), (2, "lora-r2.safetensors")] {
        assert_eq!(alphas(&root.path().join(name)), [rank as f32; 3]);
    }
    let (out, _) = extract(root.path(), &sides, "kohya", &["--budget", "4kB"]);
    assert!(fs::metadata(&out).unwrap().len() <= 4000);
    let (out, _) = extract(root.path(), &sides, "kohya", &["--energy", "0.7"]);
    let found = alphas(Path::new(&out));
    let ranks: Vec<_> = shapes(Path::new(&out))
        .into_iter()
        .filter(|(name, _)| name.ends_with("lora_down.weight"))
        .map(|(_, shape)| shape[0] as f32)
        .collect();
    assert_eq!(found, ranks);
    // The same bytes again, and for any number of threads.
    let bytes = fs::read(&out).unwrap();
    extract(root.path(), &sides, "kohya", &["--energy", "0.7", "--threads", "1"]);
    assert_eq!(fs::read(&out).unwrap(), bytes);
    // Only an adapter is replaced.
    fs::write(&out, b"precious").unwrap();
    let args = ["extract", &sides.0, &sides.1, "-o", &out, "--format", "kohya", "--force"];
    refused(&args, "is not an adapter");
    assert_eq!(fs::read(&out).unwrap(), b"precious");
}
