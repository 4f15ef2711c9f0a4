//! Ranks chosen by energy, budget and noise floor, checked on the written files.

mod common;

use common::{
    Tensors, json, names, noise, phlora, plus_low_rank, size_of_adapter, succeed, text, tiny_llama,
    write_pair,
};
use phlora_core::Dtype::F32;
use serde_json::{Value, json as value};
use std::path::Path;

fn extract(out: &Path, more: &[&str]) -> String {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    succeed(&[&["extract", &base, &tuned, "-o", &text(out)], more].concat())
}

fn verified(out: &Path) -> Value {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    serde_json::from_str(&succeed(&["verify", &base, &tuned, &text(out), "--json"])).unwrap()
}

/// Module by module: name, rank, energy.
fn modules(found: &Value) -> Vec<(String, u64, f64)> {
    let one = |m: &Value| {
        (m["name"].as_str().unwrap().to_owned(), m["rank"].as_u64().unwrap(), m["energy"].as_f64().unwrap())
    };
    found["modules"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn energy_is_met_by_every_module_of_the_written_file() {
    let root = tempfile::tempdir().unwrap();
    // The whole spectra, to know the least ranks.
    let full = root.path().join("full.json");
    extract(
        &root.path().join("full"),
        &["--rank", "192", "--mode", "exact", "--dtype", "f32", "--report", &text(&full), "--quiet"],
    );
    let full = json(&full);
    for (share, dtype) in
        [(0.5, "f16"), (0.9, "f16"), (0.9, "bf16"), (0.99, "f16"), (0.5, "q8_0"), (0.9, "q8_0")]
    {
        let end = if dtype == "q8_0" { ".gguf" } else { "" };
        let out = root.path().join(format!("{share}-{dtype}{end}"));
        extract(&out, &["--energy", &share.to_string(), "--dtype", dtype, "--quiet"]);
        for ((name, rank, energy), exact) in
            modules(&verified(&out)).iter().zip(full["modules"].as_array().unwrap())
        {
            assert!(*energy >= share, "{share} {dtype}: {name} keeps {energy} at rank {rank}");
            assert_eq!(exact["name"], name.as_str());
            let total = exact["delta_norm"].as_f64().unwrap().powi(2);
            let mut kept = 0.0;
            let sigma = exact["singular_values"].as_array().unwrap().iter();
            let least = 1 + sigma
                .take_while(|sigma| {
                    kept += sigma.as_f64().unwrap().powi(2);
                    kept < share * total
                })
                .count();
            let most = least as u64 + 1;
            assert!(*rank <= most, "{share} {dtype}: {name} has rank {rank}, {least} is the least");
        }
    }
}

#[test]
fn uniform_energy_and_multiples() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("uniform");
    extract(&out, &["--energy", "0.5", "--uniform", "--multiple", "8", "--quiet"]);
    let found = modules(&verified(&out));
    let rank = found[0].1;
    assert!(
        rank.is_multiple_of(8) && found.iter().all(|(_, r, energy)| *r == rank && *energy >= 0.5),
        "{found:?}"
    );
    let config = json(&out.join("adapter_config.json"));
    assert_eq!((config["r"].as_u64(), config["rank_pattern"].as_object().unwrap().len()), (Some(rank), 0));

    let out = root.path().join("multiple");
    let table = extract(&out, &["--energy", "0.5", "--multiple", "4", "--max-rank", "12"]);
    let found = modules(&verified(&out));
    assert!(found.iter().all(|(_, r, _)| [4, 8, 12].contains(r)), "{found:?}");
    assert!(found.iter().all(|(_, r, energy)| *energy >= 0.5 || *r == 12), "{found:?}");
    assert!(table.contains("in multiples of 4, chosen by an energy of 50.0 %"), "{table}");
}

#[test]
fn a_budget_by_energy_is_kept_and_beats_every_uniform_rank() {
    let root = tempfile::tempdir().unwrap();
    for rank in [1, 8, 24] {
        let even = root.path().join(format!("even-{rank}"));
        extract(&even, &["--rank", &rank.to_string(), "--quiet"]);
        let bytes = size_of_adapter(&even);
        let out = root.path().join(format!("budget-{rank}"));
        let report = root.path().join(format!("budget-{rank}.json"));
        let budget = bytes.to_string();
        extract(&out, &["--budget", &budget, "--by", "energy", "--report", &text(&report), "--quiet"]);
        let (used, kept) = (size_of_adapter(&out), verified(&out)["energy"].as_f64().unwrap());
        // What is left out for it counts as well.
        let total = json(&report)["total"]["delta_norm"].as_f64().unwrap().powi(2);
        let kept = kept * total / (total + missing(&json(&report)));
        let uniform = verified(&even)["energy"].as_f64().unwrap();
        assert!(used <= bytes && used + 2000 > bytes, "rank {rank}: {used} of {bytes} bytes");
        assert_eq!(json(&report)["bytes_out"].as_u64(), Some(used));
        assert!(kept >= uniform, "rank {rank}: {kept} against {uniform}");
    }
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let small = text(&root.path().join("small"));
    let (code, _, stderr) = phlora(&["extract", &base, &tuned, "-o", &small, "--budget", "900"]);
    assert_eq!(code, 2);
    assert!(stderr.contains("no room for a single direction"), "{stderr}");
    assert!(!Path::new(&small).exists());
}

/// ‖Δ‖² of the modules that the goal left out.
fn missing(report: &Value) -> f64 {
    let left_out = report["left_out"].as_array().unwrap().iter();
    let ours = left_out.filter(|tensor| {
        let reason = tensor["reason"].as_str().unwrap();
        reason.starts_with("budget") || reason.starts_with("total energy")
    });
    ours.map(|tensor| tensor["delta_norm"].as_f64().unwrap().powi(2)).sum()
}

#[test]
fn a_total_energy_is_met_by_all_modules_together() {
    let root = tempfile::tempdir().unwrap();
    for (i, (share, more)) in [
        ("30%", &[][..]),
        ("30%", &["--by", "energy"]),
        ("0.9", &[]),
        ("0.9", &["--uniform"]),
        ("0.6", &["--multiple", "8"]),
        ("0.9", &["--format", "gguf", "--dtype", "q4_0"]),
        ("0.99", &["--max-rank", "8"]),
        ("100%", &[]),
    ]
    .into_iter()
    .enumerate()
    {
        let (out, report) = (root.path().join(format!("{i}")), root.path().join(format!("{i}.json")));
        let table = extract(&out, &[&["--total-energy", share, "--report", &text(&report)], more].concat());
        let (found, report) = (verified(&out), json(&report));
        let asked = report["policy"]["value"].as_f64().unwrap();
        assert_eq!(report["policy"]["goal"], "total energy");
        assert!(table.contains("over all modules"), "{table}");
        let total = report["total"]["delta_norm"].as_f64().unwrap().powi(2);
        let kept = found["energy"].as_f64().unwrap() * total / (total + missing(&report));
        let ranks: Vec<_> = modules(&found).iter().map(|(_, rank, _)| *rank).collect();
        if more.contains(&"--max-rank") {
            assert!(kept < asked && ranks.iter().all(|&rank| rank == 8), "{kept} {ranks:?}");
            continue;
        }
        // What is asked to be all is as much as the format can tell.
        assert!(kept >= asked - if asked == 1.0 { 3e-6 } else { 0.0 }, "{share} {more:?}: {kept}");
        match more {
            ["--uniform"] => assert!(ranks.iter().all(|rank| *rank == ranks[0]), "{ranks:?}"),
            ["--multiple", _] => assert!(ranks.iter().all(|rank| rank.is_multiple_of(8)), "{ranks:?}"),
            _ => {}
        }
        // No module is asked for more than the others' sake needs.
        assert!(asked == 1.0 || kept < asked + 0.05, "{share} {more:?}: {kept}");
    }
    let size = |name: &str| size_of_adapter(&root.path().join(name));
    assert!(size("1") < size("0"), "by energy the same share takes fewer bytes");
}

/// What the ranks of a report are worth: Σ σᵢ²/(i·σ₁·‖W‖₂), each module by its size.
fn worth(report: &Value) -> f64 {
    let number = |value: &Value| value.as_f64().unwrap();
    let one = |module: &Value| {
        let room = number(&module["shape"][0]) + number(&module["shape"][1]);
        let sigma = module["singular_values"].as_array().unwrap();
        let each = sigma.iter().enumerate().map(|(at, sigma)| number(sigma).powi(2) / (at + 1) as f64);
        room * each.sum::<f64>() / (number(&sigma[0]) * number(&module["weight_stretch"]))
    };
    report["modules"].as_array().unwrap().iter().map(one).sum()
}

#[test]
fn a_budget_keeps_what_is_worth_the_most_relative_to_the_weights() {
    let root = tempfile::tempdir().unwrap();
    for rank in [1, 4, 16] {
        let run = |name: &str, options: &[&str]| {
            let (out, report) = (root.path().join(name), root.path().join(format!("{name}.json")));
            extract(&out, &[options, &["--report", &text(&report), "--quiet"]].concat());
            (size_of_adapter(&out), json(&report))
        };
        let (bytes, even) = run(&format!("even-{rank}"), &["--rank", &rank.to_string()]);
        // The metadata of an adapter name its budget with more letters than a rank.
        let bytes = bytes + 64;
        let budget = bytes.to_string();
        let (used, best) = run(&format!("best-{rank}"), &["--budget", &budget]);
        let (_, energy) = run(&format!("energy-{rank}"), &["--budget", &budget, "--by", "energy"]);
        assert!(used <= bytes && used + 2000 > bytes, "rank {rank}: {used} of {bytes} bytes");
        assert_eq!(
            (&best["policy"]["by"], &energy["policy"]["by"]),
            (&value!("relative"), &value!("energy"))
        );
        // Bytes are a matter of ranks alone: the others get the stretches that only a budget measures.
        let measured = |mut other: Value| {
            for module in other["modules"].as_array_mut().unwrap() {
                let mut same = best["modules"].as_array().unwrap().iter();
                let same = same.find(|of_best| of_best["name"] == module["name"]).unwrap();
                module["weight_stretch"] = same["weight_stretch"].clone();
            }
            worth(&other)
        };
        assert!(worth(&best) > measured(even), "rank {rank}");
        assert!(worth(&best) > measured(energy), "rank {rank}");
        // Every kind has factors in every layer: no module is left to others.
        assert_eq!(best["modules"].as_array().unwrap().len(), 28, "rank {rank}");
    }
}

#[test]
fn a_budget_gives_one_rank_for_all_where_its_order_would_lose_much_more() {
    const SIDE: usize = 48;
    let root = tempfile::tempdir().unwrap();
    // By its size the first weight bears anything, so all bytes would go into the noise of the second one.
    let side = |tuned: bool| {
        let (large, small) = (noise(1, SIDE * SIDE, 400.0), noise(2, SIDE * SIDE, 1.0));
        let tune = |weight: &[f32], seed| plus_low_rank(weight, SIDE, SIDE, 2, seed);
        let noisy = small.iter().zip(noise(3, SIDE * SIDE, 0.05)).map(|(weight, noise)| weight + noise);
        let (large, small) =
            if tuned { (tune(&large, 10), tune(&noisy.collect::<Vec<_>>(), 20)) } else { (large, small) };
        Tensors::default().add("mlp.up_proj.weight", &[SIDE, SIDE], F32, &large).add(
            "mlp.down_proj.weight",
            &[SIDE, SIDE],
            F32,
            &small,
        )
    };
    let (base, tuned) = write_pair(root.path(), &side(false), &side(true));
    // The ranks, and the bytes of the file.
    let ranks = |name: &str, more: &[&str]| {
        let (out, report) = (root.path().join(name), root.path().join(format!("{name}.json")));
        let words = ["extract", &base, &tuned, "-o", &text(&out), "--report", &text(&report), "--quiet"];
        succeed(&[&words, more].concat());
        let report = json(&report);
        (modules(&report).iter().map(|one| one.1).collect::<Vec<_>>(), report["bytes_out"].as_u64().unwrap())
    };
    let (even, bytes) = ranks("even", &["--rank", "2"]);
    assert_eq!(even, [2, 2]);
    assert_eq!(ranks("budget", &["--budget", &bytes.to_string()]).0, even);
    // A share of all Σσ² is compared with one rank for all in the bytes that it takes.
    assert_eq!(ranks("shared", &["--total-energy", "0.4"]).0, even);
}

#[test]
fn several_ranks_come_out_of_one_factorisation() {
    let root = tempfile::tempdir().unwrap();
    let (out, report) = (root.path().join("a"), root.path().join("r.json"));
    let table = extract(&out, &["--rank", "4,16,8", "--report", &text(&report)]);
    assert!(table.contains("a-r16"), "{table}");
    assert_eq!(names(root.path()), ["a-r16", "a-r4", "a-r8", "r-r16.json", "r-r4.json", "r-r8.json"]);
    for rank in [4, 8, 16] {
        let many = verified(&root.path().join(format!("a-r{rank}")));
        let one = root.path().join(format!("one-{rank}"));
        extract(&one, &["--rank", &rank.to_string(), "--quiet"]);
        let (many, one) = (many["energy"].as_f64().unwrap(), verified(&one)["energy"].as_f64().unwrap());
        // The larger space knows the leading directions at least as well.
        assert!(many >= one - 1e-5 && many < one + 1e-3, "rank {rank}: {many} {one}");
    }
}

#[test]
fn the_noise_floor_leaves_noise_out() {
    let root = tempfile::tempdir().unwrap();
    let (out, report) = (root.path().join("a"), root.path().join("r.json"));
    extract(&out, &["--noise-floor", "--report", &text(&report), "--quiet"]);
    let report = json(&report);
    for module in report["modules"].as_array().unwrap() {
        let rank = module["rank"].as_u64().unwrap();
        let floor = module["noise_floor"].as_f64().unwrap();
        assert_eq!(module["noise_rank"].as_u64().unwrap(), rank);
        let last = module["singular_values"].as_array().unwrap().last().unwrap().as_f64().unwrap();
        assert!(last > floor);
        let next = module["further_singular_values"][0].as_f64().unwrap();
        assert!(next <= floor, "{module}");
    }
}

#[test]
fn contradictions_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned, out) = (tiny_llama("base"), tiny_llama("tuned"), text(&root.path().join("a")));
    for (more, message) in [
        (&["--rank", "8", "--energy", "0.9"][..], "cannot be used with"),
        (&["--energy", "0"], "an energy of 0"),
        (&["--energy", "1.5"], "from 0 to 1"),
        (&["--rank", "4", "--multiple", "8"], "no multiple of 8"),
        (&["--rank", "4,,8"], "invalid"),
        (&["--rank", "4", "--by", "energy"], "cannot be used with"),
    ] {
        let (code, _, stderr) = phlora(&[&["extract", &base, &tuned, "-o", &out], more].concat());
        assert_eq!(code, 2, "{more:?}");
        assert!(stderr.contains(message), "{more:?}: {stderr}");
    }
    assert!(names(root.path()).is_empty());
}

#[test]
fn a_plan_says_what_an_extraction_then_does() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let report = root.path().join("plan.json");
    let text = succeed(&["plan", &base, &tuned, "--report", &text(&report)]);
    assert_eq!(names(root.path()), ["plan.json"]);
    let row = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    // As the table of the README of the pair has it for rank 16.
    assert!(row("16 ").contains("61.3 %"), "{text}");
    assert!(row("mlp.down_proj").contains('█'), "{text}");

    let out = root.path().join("a");
    extract(&out, &["--energy", "0.9", "--quiet"]);
    let found = modules(&verified(&out));
    let (least, most) = (found.iter().map(|m| m.1).min().unwrap(), found.iter().map(|m| m.1).max().unwrap());
    assert!(row("--energy 0.9 ").contains(&format!("{least} to {most}")), "{least} to {most}: {text}");
    let (code, _, _) = phlora(&["plan", &base, &tuned, "--report", &common::text(&report)]);
    assert_eq!(code, 2);
}

#[test]
fn a_budget_gives_an_output_head_the_rank_of_one_rank_for_all() {
    let root = tempfile::tempdir().unwrap();
    let (even, out) = (root.path().join("even"), root.path().join("out"));
    extract(&even, &["--rank", "8", "--include", "lm_head|_proj", "--quiet"]);
    let size = size_of_adapter(&even).to_string();
    extract(&out, &["--budget", &size, "--include", "lm_head|_proj", "--quiet"]);
    let found = modules(&verified(&out));
    // Ranks of their own for the others, and for the head not 1 or 2, which its one large direction and large weight would give.
    for (name, rank, _) in &found {
        assert!(*rank > 0 && (name != "lm_head" || *rank == 8), "{name}: {rank}");
    }
    assert!(found.len() == 29 && found.iter().any(|(_, rank, _)| *rank > 8), "{found:?}");
}
