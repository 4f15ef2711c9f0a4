//! `phlora diff`: what moved between two models, and what two adapters have in common.

mod common;

use common::{
    Tensors, difference, extract_tiny, noise, phlora, plus_low_rank, small_pair, succeed, text, tiny_llama,
    write_pair,
};
use phlora_core::Dtype::F32;
use serde_json::Value;

fn found(args: &[&str]) -> Value {
    serde_json::from_str(&succeed(&[&["diff", "--json"], args].concat())).unwrap()
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn models_are_measured_tensor_by_tensor() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (b, t) = write_pair(root.path(), &base, &tuned);
    let found = found(&[&b, &t]);
    let tensors = found["diff"]["tensors"].as_array().unwrap();
    let number = |at: usize, field: &str| tensors[at][field].as_f64().unwrap();
    let weight = noise(1, 24 * 16, 1.0);
    let delta = norm(&difference(&plus_low_rank(&weight, 24, 16, 2, 7), &weight));
    let linear = tensors.iter().position(|t| t["name"] == "layers.0.up_proj").unwrap();
    assert!((number(linear, "delta_norm") / delta - 1.0).abs() < 1e-4, "{tensors:?}");
    // All of its rows are looked at.
    assert!((number(linear, "change") - delta / norm(&weight)).abs() < 1e-4, "{tensors:?}");
    let rank = number(linear, "effective_rank");
    assert!((1.0..=2.0001).contains(&rank), "a difference of rank 2: {rank}");
    let other = tensors.iter().position(|t| t["kind"] == "norm").unwrap();
    assert!((number(other, "delta_norm") - 2.0).abs() < 1e-6 && (number(other, "change") - 0.5).abs() < 1e-6);
    assert!((number(linear, "share") + number(other, "share") - 1.0).abs() < 1e-9);
    // What moved most for its size comes first.
    assert!(number(0, "change") >= number(1, "change"));
    let same = succeed(&["diff", &b, &text(&copy(root.path(), &base))]);
    assert!(same.starts_with("the models do not differ"), "{same}");
}

fn copy(root: &std::path::Path, model: &Tensors) -> std::path::PathBuf {
    let path = root.join("copy.safetensors");
    model.write(&path);
    path
}

#[test]
fn a_smaller_rank_lies_within_a_larger_one() {
    let root = tempfile::tempdir().unwrap();
    let (small, large, gguf) =
        (root.path().join("small"), root.path().join("large"), root.path().join("large.gguf"));
    extract_tiny(&small, &["--rank", "4"]);
    extract_tiny(&large, &["--rank", "16"]);
    extract_tiny(&gguf, &["--rank", "16", "--exclude", "k_proj"]);
    let between = found(&[&text(&small), &text(&large)]);
    let total = &between["total"];
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&total["shared"][0]) > 0.999, "{total}");
    let (short, long) = (number(&total["norms"][0]), number(&total["norms"][1]));
    // Of the larger one the smaller one's directions hold their own part.
    assert!((number(&total["shared"][1]) - (short / long).powi(2)).abs() < 2e-3, "{total}");
    assert!((number(&total["cosine"]) - short / long).abs() < 2e-3, "{total}");
    assert!((number(&total["distance"]).powi(2) - (long * long - short * short)).abs() < 0.01 * long * long);
    let module = &between["modules"][0];
    assert_eq!(module["out_angles"].as_array().unwrap().len(), 4);
    assert!(number(&module["out_angles"][3]) < 5.0, "{module}");

    // Formats are related by the base's names; a module of one side alone is said to be so.
    let base = tiny_llama("base");
    let (code, _, stderr) = phlora(&["diff", &text(&large), &text(&gguf)]);
    assert!(code == 2 && stderr.contains("--base"), "{stderr}");
    let across = found(&[&text(&large), &text(&gguf), "--base", &base]);
    assert_eq!(across["only"][0].as_array().unwrap().len(), 4, "{across}");
    for module in across["modules"].as_array().unwrap() {
        assert!(number(&module["cosine"]) > 0.9999, "{module}");
    }
    let (code, _, stderr) = phlora(&["diff", &text(&large), &base]);
    assert!(code == 2 && stderr.contains("phlora verify"), "{stderr}");
}

#[test]
fn adapters_that_have_nothing_in_common_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (one, other) = (root.path().join("one"), root.path().join("other"));
    extract_tiny(&one, &["--rank", "2", "--include", "q_proj"]);
    extract_tiny(&other, &["--rank", "2", "--include", "v_proj"]);
    let (code, _, stderr) = phlora(&["diff", &text(&one), &text(&other)]);
    assert!(code == 2 && stderr.contains("no module in common"), "{stderr}");
}

#[test]
fn weights_are_measured_whole() {
    let root = tempfile::tempdir().unwrap();
    // Rows of very different lengths, of which few tell nothing about the others.
    let base: Vec<f32> =
        noise(1, 100 * 16, 1.0).iter().enumerate().map(|(at, x)| x * (at % 7) as f32).collect();
    let tuned = plus_low_rank(&base, 100, 16, 2, 7);
    let side = |weight: &[f32]| Tensors::default().add("layers.0.up_proj.weight", &[100, 16], F32, weight);
    let (b, t) = write_pair(root.path(), &side(&base), &side(&tuned));
    let found = found(&[&b, &t]);
    let change = found["diff"]["tensors"][0]["change"].as_f64().unwrap();
    let expected = norm(&difference(&tuned, &base)) / norm(&base);
    assert!((change / expected - 1.0).abs() < 1e-5, "{change} {expected}");
}

#[test]
fn what_was_not_looked_at_may_be_above_the_noise_too() {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let noise = |rank: &str| {
        let printed = succeed(&["plan", &base, &tuned, "--max-rank", rank]);
        printed.lines().find(|line| line.starts_with("mlp.up_proj")).unwrap().to_owned()
    };
    // More than these four are above it, and how many is not known.
    assert!(noise("4").contains('≥'), "{}", noise("4"));
    assert!(!noise("190").contains('≥'), "{}", noise("190"));
}

#[test]
fn adapters_are_compared_where_it_is_asked_for_and_become_a_page() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&root.path().join(name));
    extract_tiny(&root.path().join("one"), &["--rank", "2"]);
    extract_tiny(&root.path().join("other"), &["--rank", "4"]);
    let (one, other) = (path("one"), path("other"));
    let all = found(&[&one, &other]);
    let some =
        found(&[&one, &other, "--include", "mlp", "--exclude", "up_proj", "--report", &path("d.json")]);
    let count = |found: &Value| found["modules"].as_array().unwrap().len();
    assert_eq!((count(&all), count(&some)), (28, 8));
    for module in some["modules"].as_array().unwrap() {
        let name = module["name"].as_str().unwrap();
        assert!(name.contains("mlp") && !name.contains("up_proj"), "{name}");
    }
    let (code, _, stderr) = phlora(&["diff", &one, &other, "--include", "norm"]);
    assert!(code == 2 && stderr.contains("see --include and --exclude"), "{stderr}");
    succeed(&["report", &path("d.json"), "-o", &path("d.html")]);
    let page = std::fs::read_to_string(path("d.html")).unwrap();
    assert!(page.contains("is the cosine of the two adapters"));
}
