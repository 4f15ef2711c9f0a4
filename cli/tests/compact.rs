//! phlora's compact form through the command: its size, what it keeps, what other formats and commands make of it.

mod common;

use common::{
    LINEAR, extract_tiny as extract, factor, file, phlora, small_pair, succeed, text, tiny_llama,
    verified_tiny as verified, write_pair,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn energy(out: &Path) -> f64 {
    verified(out)["energy"].as_f64().unwrap()
}

fn convert(adapter: &Path, out: PathBuf, more: &[&str]) -> PathBuf {
    succeed(&[&["convert", &text(adapter), "-o", &text(&out), "--quiet"], more].concat());
    out
}

/// The bytes of the weights after merging.
fn merged(adapter: &Path, out: &Path) -> Vec<u8> {
    succeed(&["merge", &tiny_llama("base"), &text(adapter), "-o", &text(out), "--quiet"]);
    fs::read(out.join("model.safetensors")).unwrap()
}

#[test]
fn a_budget_keeps_more_than_f16_and_is_not_exceeded() {
    let root = tempfile::tempdir().unwrap();
    for (budget, least) in [(221_184, 0.77), (110_592, 0.58)] {
        let (compact, report) = (root.path().join("a.phlora"), root.path().join("a.json"));
        let budget_text = budget.to_string();
        extract(&compact, &["--budget", &budget_text, "--report", &text(&report), "--force"]);
        let size = fs::metadata(&compact).unwrap().len();
        assert!(size <= budget && size > budget - 512, "{size} of {budget}");
        let report = common::json(&report);
        assert_eq!((report["bytes_out"].as_u64(), report["dtype"].as_str()), (Some(size), Some("compact")));
        let found = verified(&compact);
        // What f16 factors of one rank keep in as many bytes without headers is 0.428 and 0.283.
        assert!(found["energy"].as_f64().unwrap() > least, "{found}");
        // The report adds up what single directions lose; what their errors have in common is not in it.
        let said = report["total"]["whole_energy"].as_f64().unwrap();
        let whole = found["whole_energy"].as_f64().unwrap();
        assert!((said - whole).abs() < 0.01, "{said} {whole}");
    }
}

#[test]
fn energies_are_those_after_the_codes_and_nothing_else_is_said() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned, out) = (tiny_llama("base"), tiny_llama("tuned"), text(&root.path().join("a.phlora")));
    let (code, stdout, stderr) = phlora(&["extract", &base, &tuned, "-o", &out, "--budget", "110kB"]);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let found = verified(Path::new(&out))["energy"].as_f64().unwrap();
    let kept = stdout.lines().find_map(|line| line.split_once(" % of ‖Δ‖² kept")).unwrap().0;
    assert!((kept.parse::<f64>().unwrap() / 100.0 - found).abs() < 0.01, "{kept} {found}");
}

#[test]
fn upwards_nothing_is_lost() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    let compact = at("a.phlora");
    extract(&compact, &["--budget", "150kB"]);
    let kept = energy(&compact);
    let half = convert(&compact, at("half"), &["--format", "peft"]);
    let full = convert(&compact, at("full"), &["--format", "peft", "--dtype", "f32"]);
    let gguf = convert(&compact, at("a.gguf"), &["--base", &tiny_llama("base")]);
    assert_eq!((energy(&half), energy(&full)), (kept, kept));
    assert!((energy(&gguf) - kept).abs() < 1e-9);
    let name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight";
    assert_eq!(factor(&half, name), factor(&full, name));
    let expected = merged(&compact, &at("merged"));
    assert!(expected == merged(&half, &at("merged-half")) && expected == merged(&full, &at("merged-full")));
    // The same form again: the same file.
    let again = convert(&compact, at("again.phlora"), &[]);
    assert_eq!(fs::read(&again).unwrap(), fs::read(&compact).unwrap());
}

#[test]
fn a_rank_has_four_bits() {
    let root = tempfile::tempdir().unwrap();
    let (compact, plain) = (root.path().join("a.phlora"), root.path().join("plain"));
    extract(&compact, &["--rank", "16"]);
    extract(&plain, &["--rank", "16"]);
    let (found, best) = (energy(&compact), energy(&plain));
    // A hundredth of each vector is lost.
    assert!(found < best && found > 0.96 * best, "{found} {best}");
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(4 * size(&compact) < 11 * size(&plain.join("adapter_model.safetensors")) / 10);
    let facts = succeed(&["inspect", &text(&compact)]);
    assert!(facts.contains("compact form, rank 16") && facts.contains("28 modules"), "{facts}");
    let (code, out, _) = phlora(&["check", &text(&compact), "--base", &tiny_llama("base")]);
    assert_eq!(code, 0, "{out}");
    // Several ranks of one factorisation.
    let several = root.path().join("b.phlora");
    extract(&several, &["--rank", "8,16"]);
    assert_eq!(fs::read(root.path().join("b-r16.phlora")).unwrap(), fs::read(&compact).unwrap());
}

#[test]
fn prune_makes_it_of_any_adapter() {
    let root = tempfile::tempdir().unwrap();
    let (plain, direct, pruned) =
        (root.path().join("plain"), root.path().join("direct.phlora"), root.path().join("pruned.phlora"));
    extract(&plain, &["--rank", "96"]);
    extract(&direct, &["--budget", "150kB"]);
    succeed(&["prune", &text(&plain), "-o", &text(&pruned), "--budget", "150kB", "--quiet"]);
    assert!(fs::metadata(&pruned).unwrap().len() <= 150_000);
    let (direct, pruned) = (energy(&direct), energy(&pruned));
    assert!((direct - pruned).abs() < 0.03, "{direct} {pruned}");
    let (code, _, problem) = phlora(&["convert", &text(&plain), "-o", &text(&root.path().join("c.phlora"))]);
    assert!(code == 2 && problem.contains("phlora prune"), "{problem}");
}

#[test]
fn what_has_no_bits_or_no_room_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    fs::create_dir(root.path().join("out")).unwrap();
    let out = text(&root.path().join("out/a.phlora"));
    for (options, expected) in [
        (["--budget", "200"], "no room for names, header and a single direction"),
        (["--energy", "0.9"], "by a budget of bytes or a rank"),
        (["--dtype", "f32"], "has bits of its own"),
    ] {
        let (code, _, problem) = phlora(&[&["extract", &base, &tuned, "-o", &out], &options[..]].concat());
        assert!(code == 2 && problem.contains(expected), "{problem}");
    }
    assert!(common::names(&root.path().join("out")).is_empty());
}

#[test]
fn norms_come_along() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (base, tuned) = write_pair(root.path(), &base, &tuned);
    fs::create_dir(root.path().join("out")).unwrap();
    let compact = root.path().join("out/a.phlora");
    succeed(&["extract", &base, &tuned, "-o", &text(&compact), "--rank", "2", "--also", "norms", "--quiet"]);
    let found = succeed(&["verify", &base, &tuned, &text(&compact), "--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(
        (&found["full"][0]["name"], &found["full"][0]["residual_norm"]),
        (&"norm.weight".into(), &0.0.into())
    );
    let peft = convert(&compact, root.path().join("peft"), &[]);
    let again = succeed(&["verify", &base, &tuned, &text(&peft), "--json"]);
    assert_eq!(found, serde_json::from_str::<Value>(&again).unwrap());
}

/// A file whose one tensor holds `bytes`, with levels of one bit, and what opening it says.
fn opened(path: &Path, bytes: &[u8], version: &str) -> String {
    let end = bytes.len();
    let header = serde_json::json!({
        "__metadata__": {"phlora.compact": version},
        LINEAR.trim_end_matches(".weight"): {"dtype": "U8", "shape": [end], "data_offsets": [0, end]},
        "phlora.levels": {"dtype": "F16", "shape": [2], "data_offsets": [end, end + 4]},
    });
    fs::write(path, file(&header.to_string(), &[bytes, &[0, 0xba, 0, 0x3a]].concat())).unwrap();
    let (code, out, problem) = phlora(&["inspect", &text(path)]);
    if code == 0 { out } else { problem }
}

#[test]
fn broken_files_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.phlora");
    let module = |sizes: [u32; 3], rest: &[u8]| [&sizes.map(u32::to_le_bytes).concat(), rest].concat();
    // Out 2, in 3, rank 1: a scale of 1, one bit, a byte for each vector.
    let good = module([2, 3, 1], &[0x80, 0x3f, 1, 5, 2, 0, 0, 0]);
    assert!(opened(&path, &good, "1").contains("rank 1"));
    let name = "layers.0.up_proj";
    for (bytes, expected) in [
        (good[..8].to_vec(), "8 bytes are too few"),
        (good[..16].to_vec(), "16 bytes are too few"),
        (module([2, 3, 0], &[]), "at rank 0"),
        (module([2, 3, u32::MAX], &good[12..]), "too few"),
        (module([u32::MAX, u32::MAX, 1], &good[12..]), "too few"),
        (module([2, 3, 1], &[0x80, 0x3f, 9, 5, 2]), "a direction of 9 bits"),
        (module([2, 3, 1], &[0x80, 0x3f, 2, 5, 2]), "quantisation map"),
        (module([2, 3, 1], &[0x80, 0x7f, 1, 5, 2]), "negative or not finite"),
        ([good.as_slice(), &[0; 8]].concat(), "after its directions"),
    ] {
        let problem = opened(&path, &bytes, "1");
        assert!(problem.contains(expected) && problem.contains(name), "{expected}: {problem}");
    }
    assert!(opened(&path, &good, "2").contains("version 2 of the compact form is not read"));
}
