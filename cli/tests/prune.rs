//! Pruning adapters: as good as extracting at the smaller rank, within a budget, by energy.

mod common;

use common::{extract_tiny as extract, json, names, phlora, succeed, text, verified_tiny as verified};
use std::fs;
use std::path::Path;

fn energy(out: &Path) -> f64 {
    verified(out)["energy"].as_f64().unwrap()
}

#[test]
fn pruning_equals_extracting_at_the_smaller_rank() {
    let root = tempfile::tempdir().unwrap();
    let (large, direct, pruned) =
        (root.path().join("64"), root.path().join("16"), root.path().join("pruned"));
    extract(&large, &["--rank", "64"]);
    extract(&direct, &["--rank", "16", "--mode", "exact"]);
    let table = succeed(&["prune", &text(&large), "-o", &text(&pruned), "--rank", "16"]);
    assert!(table.contains("of the adapter kept"), "{table}");
    let (direct, found) = (energy(&direct), energy(&pruned));
    assert!((direct - found).abs() < 1e-4, "{found} pruned, {direct} direct");
    assert_eq!(json(&pruned.join("adapter_config.json"))["r"], 16);
    assert_eq!(names(&pruned), ["adapter_config.json", "adapter_model.safetensors"]);
}

#[test]
fn pruning_by_energy_budget_and_share() {
    let root = tempfile::tempdir().unwrap();
    let large = root.path().join("32");
    extract(&large, &["--rank", "32"]);
    let whole = energy(&large);

    let out = root.path().join("energy");
    succeed(&["prune", &text(&large), "-o", &text(&out), "--energy", "0.9", "--quiet"]);
    // Nine tenths of what the adapter keeps, of every module.
    for (small, large) in verified(&out)["modules"]
        .as_array()
        .unwrap()
        .iter()
        .zip(verified(&large)["modules"].as_array().unwrap())
    {
        let (small_energy, large_energy) =
            (small["energy"].as_f64().unwrap(), large["energy"].as_f64().unwrap());
        assert!(small_energy >= 0.899 * large_energy, "{small} {large}");
        assert!(small["rank"].as_u64().unwrap() < 32, "{small}");
    }

    let out = root.path().join("total");
    succeed(&["prune", &text(&large), "-o", &text(&out), "--total-energy", "0.9", "--quiet"]);
    // Nine tenths of what the adapter keeps, of all modules together.
    let (found, modules) = (energy(&out), verified(&out)["modules"].as_array().unwrap().len());
    assert!(modules == 28 && found >= 0.899 * whole && found < 0.93 * whole, "{found} of {whole}");

    let out = root.path().join("budget");
    succeed(&["prune", &text(&large), "-o", &text(&out), "--budget", "300kB", "--quiet"]);
    let size: u64 = names(&out).iter().map(|name| fs::metadata(out.join(name)).unwrap().len()).sum();
    assert!(size <= 300_000 && size > 297_000, "{size}");

    let out = root.path().join("drop");
    let table = succeed(&["prune", &text(&large), "-o", &text(&out), "--rank", "32", "--drop-below", "0.01"]);
    assert!(table.contains("dropped"), "{table}");
    let kept = verified(&out)["modules"].as_array().unwrap().len();
    assert!((10..28).contains(&kept), "{kept}");
    // Full paths, since a suffix would name what was dropped as well.
    let config = json(&out.join("adapter_config.json"));
    assert_eq!(config["target_modules"].as_array().unwrap().len(), kept);
    assert!(whole > 0.8);
}

#[test]
fn a_share_of_the_whole_counts_what_is_dropped() {
    let root = tempfile::tempdir().unwrap();
    let large = root.path().join("64");
    extract(&large, &["--rank", "64"]);
    for uniform in [&[][..], &["--uniform"]] {
        let out = root.path().join("out");
        let goal = [
            "prune",
            &text(&large),
            "-o",
            &text(&out),
            "--total-energy",
            "0.7",
            "--drop-below",
            "0.03",
            "--json",
        ];
        let found: serde_json::Value =
            serde_json::from_str(&succeed(&[&goal[..], &["--force"], uniform].concat())).unwrap();
        let ranks =
            found["modules"].as_array().unwrap().iter().map(|module| module["rank"].as_u64().unwrap());
        let (dropped, energy) = (ranks.filter(|&rank| rank == 0).count(), found["energy"].as_f64().unwrap());
        assert!(dropped > 0 && (0.699..0.75).contains(&energy), "{dropped} dropped, {energy} kept");
    }
}

#[test]
fn a_gguf_adapter_stays_one() {
    let root = tempfile::tempdir().unwrap();
    let (large, out) = (root.path().join("a.gguf"), root.path().join("b.gguf"));
    extract(&large, &["--rank", "16"]);
    let table = succeed(&["prune", &text(&large), "-o", &text(&out), "--rank", "4"]);
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("blk.")).collect();
    let ranks = |line: &&str| line.split_whitespace().nth(2) == Some("4");
    assert!(rows.len() == 28 && rows.iter().all(ranks), "{table}");
    succeed(&["inspect", &text(&out)]);
    assert!(fs::metadata(&out).unwrap().len() < fs::metadata(&large).unwrap().len() / 3);
}

#[test]
fn what_cannot_be_pruned_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (large, out) = (root.path().join("a"), text(&root.path().join("b")));
    extract(&large, &["--rank", "4"]);
    let large = text(&large);
    for (more, message) in [
        (&["--budget", "100"][..], "no room"),
        (&["--drop-below", "1.0"], "no module is left"),
        (&["--rank", "2,4"], "one rank"),
    ] {
        let (code, _, stderr) = phlora(&[&["prune", &large, "-o", &out], more].concat());
        assert!(code == 2 && stderr.contains(message), "{more:?}: {stderr}");
    }
    assert_eq!(names(root.path()), ["a"]);
}
