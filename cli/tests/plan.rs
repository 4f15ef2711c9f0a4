//! `phlora plan`: the rank that it recommends, and that an extraction then does what it says.

mod common;

use common::{extract_tiny, json, phlora, succeed, text, tiny_llama};
use serde_json::Value;
use std::path::Path;

fn plan(more: &[&str]) -> Value {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    serde_json::from_str(&succeed(&[&["plan", &base, &tuned, "--json"], more].concat())).unwrap()
}

fn number(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or_else(|| panic!("{field}: {row}"))
}

/// Extracts as `row` says and compares the report with it.
fn agrees(row: &Value, out: &Path, more: &[&str]) {
    let report = out.with_extension("json");
    let goal = format!("--{}", row["goal"].as_str().unwrap());
    let value = row["value"].to_string();
    let value = value.trim_end_matches(".0");
    extract_tiny(out, &[&[goal.as_str(), value, "--report", &text(&report)], more].concat());
    let found = json(&report);
    let (energy, total) = (number(row, "energy"), &found["total"]);
    assert!((number(total, "energy") - energy).abs() < 0.01, "{more:?} {row}: {total}");
    assert!((number(total, "whole_energy") - number(row, "whole_energy")).abs() < 0.01, "{row}: {total}");
    assert_eq!(found["dtype"], row["dtype"], "{row}");
    let ratio = number(&found, "bytes_out") / number(row, "bytes");
    assert!((ratio - 1.0).abs() < 0.01, "{row}: {ratio}");
}

#[test]
fn an_extraction_in_the_same_format_does_what_the_plan_says() {
    let root = tempfile::tempdir().unwrap();
    for (format, end, more) in [
        ("gguf", ".gguf", &[][..]),
        ("peft", "", &[]),
        ("gguf", ".gguf", &["--dtype", "q8_0"]),
        ("peft", "", &["--by", "energy"]),
    ] {
        let found = plan(&[&["--format", format], more].concat());
        let plan = &found["plan"];
        assert_eq!(plan["format"], format);
        let budgets = plan["policies"].as_array().unwrap().iter().filter(|row| row["goal"] == "budget");
        // A third of them, which takes the time of few extractions.
        for row in budgets.take(2).chain(plan["by_rank"].as_array().unwrap().iter().skip(4).take(1)) {
            let out = root.path().join(format!("{format}{}-{}{end}", more.concat(), row["value"]));
            let by = if row["goal"] == "rank" && more.first() == Some(&"--by") { &[][..] } else { more };
            agrees(row, &out, by);
        }
    }
}

#[test]
fn it_recommends_a_rank_or_says_that_it_did_not_look_far_enough() {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let said = succeed(&["plan", &base, &tuned]);
    let first = said.lines().next().unwrap();
    assert_eq!(first, "take --rank 64: the smallest of these ranks that keeps 90.0 %", "{said}");
    assert!(said.lines().nth(1).unwrap().contains("it keeps 94.2 % of the modules' ‖Δ‖²"), "{said}");
    let short = succeed(&["plan", &base, &tuned, "--max-rank", "8"]);
    assert!(short.starts_with("take a rank ≥ 8: raise --max-rank, since the search ended there"), "{short}");
    assert!(short.contains("as the search ended at rank 8: raise --max-rank"), "{short}");
    // What directions that have not converged add up to is no bound of ranks and bytes.
    for (policy, ranks) in [("--energy 0.8", "–"), ("--total-energy 0.8", "–"), ("--noise-floor", "≥ ")]
    {
        let row = short.lines().find(|line| line.starts_with(&format!("{policy} "))).unwrap();
        let cell = row[policy.len()..].trim_start();
        assert!(cell.starts_with(ranks), "{row}");
    }
    let row = said.lines().find(|line| line.starts_with("--total-energy 0.8 ")).unwrap();
    assert!(row.contains(" to ") && row.ends_with("kB"), "{row}");
    let (code, _, stderr) = phlora(&["plan", &base, &tuned, "--format", "phlora"]);
    assert!(code == 2 && stderr.contains("invalid value 'phlora'"), "{stderr}");
}
