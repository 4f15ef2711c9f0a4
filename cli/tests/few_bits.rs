//! GGUF adapters whose factors have 4 to 8 bits: sizes, honest figures, and what other commands make of them.

mod common;

use common::{json, phlora, succeed, text, tiny_llama, verified_tiny};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// Formats and the bytes of a block of 32.
const FORMATS: [(&str, u64); 6] =
    [("q8_0", 34), ("q5_1", 24), ("q5_0", 22), ("q4_1", 20), ("iq4_nl", 18), ("q4_0", 18)];

fn extract(out: &Path, more: &[&str]) -> Value {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let report = text(&out.with_extension("json"));
    let fixed = ["extract", &base, &tuned, "-o", &text(out), "--quiet", "--report", &report];
    succeed(&[&fixed, more].concat());
    json(&out.with_extension("json"))
}

fn verified(out: &Path) -> f64 {
    verified_tiny(out)["energy"].as_f64().unwrap()
}

/// The kept share of the energy of all modules after rounding, as the report says.
fn reported(report: &Value) -> f64 {
    let number = |module: &Value, field: &str| module[field].as_f64().unwrap();
    let modules = || report["modules"].as_array().unwrap().iter();
    let square = |module: &Value| number(module, "delta_norm").powi(2);
    let kept = |m: &Value| (number(m, "energy") - number(m, "rounding_loss")) * square(m);
    modules().map(kept).sum::<f64>() / modules().map(square).sum::<f64>()
}

#[test]
fn figures_are_those_of_what_is_written() {
    let root = tempfile::tempdir().unwrap();
    let whole = extract(&root.path().join("f16.gguf"), &["--rank", "32"]);
    for (format, block) in FORMATS {
        let out = root.path().join(format!("{format}.gguf"));
        let report = extract(&out, &["--rank", "32", "--dtype", format]);
        let (said, found) = (reported(&report), verified(&out));
        assert!((said - found).abs() < 1e-3, "{format}: {said} reported, {found} found");
        let lost = reported(&whole) - found;
        assert!(lost < 0.02 && lost > -1e-4, "{format}: {lost} lost");
        for module in report["modules"].as_array().unwrap() {
            let side = |at: usize| module["shape"][at].as_u64().unwrap();
            assert_eq!(module["bytes"].as_u64(), Some((side(0) + side(1)) * block), "{format} {module}");
        }
    }
}

#[test]
fn what_rounding_takes_is_said_once() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    for (format, says) in [("q4_0", Some("q4_0 takes 1.2 % of ‖Δ‖²")), ("q8_0", None)] {
        let out = text(&root.path().join(format!("{format}.gguf")));
        let words = ["extract", &base, &tuned, "-o", &out, "--rank", "32", "--dtype", format, "--quiet"];
        let (code, _, stderr) = phlora(&words);
        assert_eq!(code, 0, "{stderr}");
        let said = stderr.lines().filter(|line| line.contains("energies are those before rounding"));
        assert_eq!(said.count(), usize::from(says.is_some()), "{stderr}");
        assert!(says.is_none_or(|says| stderr.contains(says)), "{stderr}");
    }
}

#[test]
fn below_a_block_the_rank_stays_in_halves() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("16.gguf");
    let report = extract(&out, &["--rank", "16", "--dtype", "iq4_nl"]);
    for module in report["modules"].as_array().unwrap() {
        let side = |at: usize| module["shape"][at].as_u64().unwrap();
        assert_eq!(module["bytes"].as_u64(), Some(side(1) / 32 * 18 * 16 + side(0) * 32), "{module}");
    }
    assert!((reported(&report) - verified(&out)).abs() < 1e-3);
    let said = succeed(&["inspect", &text(&out)]);
    assert!(said.contains("IQ4_NL") && said.contains("F16"), "{said}");
}

#[test]
fn conversion_and_pruning_write_few_bits_and_read_them() {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let size = |name: &str| fs::metadata(path(name)).unwrap().len();
    extract(&path("whole"), &["--rank", "64"]);
    let base = tiny_llama("base");
    let (whole, small) = (text(&path("whole")), text(&path("small.gguf")));
    succeed(&["convert", &whole, "-o", &small, "--base", &base, "--dtype", "q4_0", "--quiet"]);
    let (before, after) = (verified(&path("whole")), verified(&path("small.gguf")));
    assert!(after > before - 0.02 && after < before, "{before} {after}");

    // Back in 16 bits nothing is lost but what halves lose.
    let back = text(&path("back"));
    succeed(&["convert", &small, "-o", &back, "--base", &base, "--dtype", "f16", "--quiet"]);
    assert!((verified(&path("back")) - after).abs() < 1e-5);

    let pruned = text(&path("pruned.gguf"));
    succeed(&["prune", &small, "-o", &pruned, "--rank", "32", "--quiet"]);
    assert!(size("pruned.gguf") < size("small.gguf") * 6 / 10);
    extract(&path("direct.gguf"), &["--rank", "32", "--dtype", "q4_0"]);
    let (pruned, direct) = (verified(&path("pruned.gguf")), verified(&path("direct.gguf")));
    assert!(pruned > direct - 0.02, "{pruned} {direct}");

    // PEFT has no such formats.
    let (code, _, stderr) = phlora(&["prune", &whole, "-o", &text(&path("p")), "--dtype", "q4_0"]);
    assert!(code == 2 && stderr.contains("cannot hold Q4_0"), "{code} {stderr}");
}

#[test]
fn a_budget_takes_the_format_that_is_worth_the_most() {
    let root = tempfile::tempdir().unwrap();
    let even = extract(&root.path().join("even.gguf"), &["--rank", "8"]);
    let bytes = even["bytes_out"].as_u64().unwrap();
    let budget = bytes.to_string();
    let chosen = extract(&root.path().join("chosen.gguf"), &["--budget", &budget]);
    let halves = extract(&root.path().join("halves.gguf"), &["--budget", &budget, "--dtype", "f16"]);
    for report in [&chosen, &halves] {
        let used = report["bytes_out"].as_u64().unwrap();
        assert!(used <= bytes && used + 4000 > bytes, "{used} of {bytes}");
    }
    assert_eq!(halves["dtype"], "f16");
    assert!(["q5_0", "iq4_nl"].contains(&chosen["dtype"].as_str().unwrap()), "{}", chosen["dtype"]);
    assert!(verified(&root.path().join("chosen.gguf")) > verified(&root.path().join("halves.gguf")) + 0.1);
}
