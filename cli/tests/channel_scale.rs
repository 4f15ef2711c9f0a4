//! Channel scales: the adapter is the best for the weighed difference, and what is wrong with a file of them is said.

mod common;

use common::{json, names, phlora, succeed, text, tiny_llama};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use std::path::Path;

const MODULES: [(&str, usize); 7] = [
    ("self_attn.q_proj", 192),
    ("self_attn.k_proj", 192),
    ("self_attn.v_proj", 192),
    ("self_attn.o_proj", 192),
    ("mlp.gate_proj", 192),
    ("mlp.up_proj", 192),
    ("mlp.down_proj", 512),
];

fn bytes(values: impl Iterator<Item = f32>) -> Vec<u8> {
    values.flat_map(f32::to_le_bytes).collect()
}

fn write(path: &Path, vectors: &[(String, Vec<usize>, Vec<u8>)]) {
    let views = vectors.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    serialize_to_file(views, None, path).unwrap();
}

/// Scales of two layers of four that differ by a hundred between channels, under names of both kinds.
fn scales(path: &Path) {
    let vectors: Vec<_> = (0..2)
        .flat_map(|layer| MODULES.map(|(module, inputs)| (layer, module, inputs)))
        .map(|(layer, module, inputs)| {
            let end = if layer == 0 { "" } else { ".weight" };
            let name = format!("model.layers.{layer}.{module}{end}");
            (name, vec![inputs], bytes((0..inputs).map(|j| 0.1 * 1.05_f32.powf((j % 95) as f32))))
        })
        .collect();
    write(path, &vectors);
}

/// Weighed energy of every module as verified.
fn energies(adapter: &Path, scales: &Path) -> Vec<(String, f64)> {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let found =
        succeed(&["verify", &base, &tuned, &text(adapter), "--channel-scale", &text(scales), "--json"]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    let one = |m: &serde_json::Value| (m["name"].as_str().unwrap().to_owned(), m["energy"].as_f64().unwrap());
    found["modules"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn the_adapter_is_the_best_for_the_weighed_difference() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let file = root.path().join("scales.safetensors");
    scales(&file);
    let (plain, weighed) = (root.path().join("plain"), root.path().join("weighed"));
    let report = root.path().join("report.json");
    succeed(&["extract", &base, &tuned, "-o", &text(&plain), "--rank", "8", "--quiet"]);
    let more = ["--rank", "8", "--channel-scale", &text(&file), "--report", &text(&report)];
    let said = succeed(&[&["extract", &base, &tuned, "-o", &text(&weighed)][..], &more].concat());
    assert!(said.contains("Δ·diag(s) in 14 modules"), "{said}");
    let report = json(&report);
    let before = energies(&plain, &file);
    for (i, (name, energy)) in energies(&weighed, &file).into_iter().enumerate() {
        let module = &report["modules"][i];
        assert_eq!(module["name"], name.as_str());
        // The report says what the file then holds.
        let said = module["energy"].as_f64().unwrap() - module["rounding_loss"].as_f64().unwrap();
        assert!((said - energy).abs() < 1e-4, "{name}: {said} said, {energy} measured");
        let scaled = name.contains("layers.0.") || name.contains("layers.1.");
        assert_eq!(module["weighed"].as_bool().unwrap_or(false), scaled, "{name}");
        if scaled {
            assert!(energy > before[i].1 + 1e-3, "{name}: {energy} weighed, {} plain", before[i].1);
        } else {
            assert_eq!(energy, before[i].1, "{name}");
        }
    }
}

#[test]
fn a_goal_and_a_plan_are_of_the_weighed_difference() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let (file, out) = (root.path().join("scales.safetensors"), root.path().join("a"));
    scales(&file);
    let scale = ["--channel-scale", &text(&file)];
    succeed(
        &[&["extract", &base, &tuned, "-o", &text(&out), "--energy", "0.8", "--quiet"], &scale[..]].concat(),
    );
    assert!(energies(&out, &file).iter().all(|(_, energy)| *energy >= 0.8));
    let (one, other) = (root.path().join("one.json"), root.path().join("other.json"));
    succeed(&[&["plan", &base, &tuned, "--quiet", "--report", &text(&one)], &scale[..]].concat());
    succeed(&["plan", &base, &tuned, "--quiet", "--report", &text(&other)]);
    assert_ne!(json(&one)["total"]["delta_norm"], json(&other)["total"]["delta_norm"]);
}

#[test]
fn wrong_scales_are_named() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned, out) = (tiny_llama("base"), tiny_llama("tuned"), text(&root.path().join("a")));
    let file = root.path().join("scales.safetensors");
    let q = "model.layers.0.self_attn.q_proj";
    let one = |name: &str, shape: Vec<usize>, values: &[f32]| {
        vec![(name.to_owned(), shape, bytes(values.iter().copied()))]
    };
    let mut bad = [1.0; 192];
    bad[5] = -1.0;
    let mut no_number = [1.0; 192];
    no_number[6] = f32::NAN;
    for (vectors, message) in [
        (one(q, vec![190], &[1.0; 190]), "190 channel scales, but the module has 192"),
        (one(q, vec![2, 96], &[1.0; 192]), "expected a vector"),
        (one(q, vec![192], &bad), "entry 5 is -1, expected a finite scale"),
        (one(q, vec![192], &no_number), "entry 6 is NaN"),
        (one(q, vec![192], &[0.0; 192]), "all scales are 0"),
        (one("blk.0.attn_q", vec![192], &[1.0; 192]), "none of its vectors belongs to a module"),
        (
            [one(q, vec![192], &[1.0; 192]), one(&format!("{q}.weight"), vec![192], &[1.0; 192])].concat(),
            "another vector",
        ),
    ] {
        write(&file, &vectors);
        let (code, _, stderr) =
            phlora(&["extract", &base, &tuned, "-o", &out, "--channel-scale", &text(&file)]);
        assert_eq!(code, 2, "{message}");
        assert!(stderr.contains(message) && stderr.contains("scales.safetensors"), "{message}: {stderr}");
    }
    assert_eq!(names(root.path()), ["scales.safetensors"]);
}
