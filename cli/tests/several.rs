//! Several fine-tunes of one base: the adapter of each is that of its own command, to the bit.

mod common;

use common::*;
use phlora_core::Dtype::{Bf16, F32};
use std::fs;
use std::path::Path;

const CONFIG: &str = r#"{"model_type": "unknown", "tie_word_embeddings": false}"#;

/// Weights of all fine-tunes, the same for the same seed; `None` is the base.
fn tensors(tune: Option<u64>) -> Tensors {
    let mut all = Tensors::default();
    let layers = (0..3).flat_map(|layer| [(layer, "q_proj", [48, 40]), (layer, "o_proj", [40, 48])]);
    for (number, (layer, name, [rows, cols])) in layers.enumerate() {
        let values = noise(number as u64 + 1, rows * cols, 1.0);
        let changed = |tune| plus_low_rank(&values, rows, cols, 1 + number % 3, tune * 100 + number as u64);
        let values = tune.map_or_else(|| values.clone(), changed);
        all = all.add(&format!("model.layers.{layer}.self_attn.{name}.weight"), &[rows, cols], F32, &values);
    }
    let norm = tune.map_or(1.0, |tune| 1.0 + tune as f32 / 4.0);
    all.add("model.norm.weight", &[40], Bf16, &[norm; 40])
}

/// The base, and a fine-tune for each name.
fn models(root: &Path, names: &[&str]) -> (String, Vec<String>) {
    let base = write_model(&root.join("base"), &tensors(None), CONFIG);
    let tuned = names.iter().zip(1..);
    (base, tuned.map(|(name, seed)| write_model(&root.join(name), &tensors(Some(seed)), CONFIG)).collect())
}

fn words<'a>(base: &'a str, tuned: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    ["extract", base]
        .into_iter()
        .chain(tuned.iter().map(String::as_str))
        .chain(more.iter().copied())
        .collect()
}

/// Every file below `path`, by name.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    if path.is_file() {
        return vec![(String::new(), fs::read(path).unwrap())];
    }
    let below = |name: String| {
        let inner = contents(&path.join(&name)).into_iter();
        inner.map(move |(inner, bytes)| (format!("{name}/{inner}"), bytes))
    };
    names(path).into_iter().flat_map(below).collect()
}

#[test]
fn each_adapter_is_that_of_its_own_command() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = models(root.path(), &["chat", "code", "math"]);
    let cases: [(&[&str], &str); 9] = [
        (&["--rank", "2"], ""),
        (&["--energy", "90%", "--also", "norms"], ""),
        (&["--energy", "80%", "--uniform"], ""),
        (&["--noise-floor"], ""),
        (&["--budget", "6kB"], ""),
        (&["--rank", "1,3"], "-r3"),
        (&["--rank", "2", "--format", "kohya", "--prefix", "lora_te1"], ".safetensors"),
        (&["--budget", "6kB", "--format", "phlora"], ".phlora"),
        (&["--rank", "2", "--resume", "--threads", "1"], ""),
    ];
    for (number, (options, end)) in cases.into_iter().enumerate() {
        let out = root.path().join(format!("out-{number}"));
        let said = succeed(&words(&base, &tuned, &[&["-o", &text(&out)], options].concat()));
        assert!(said.ends_with(&format!("\n3 fine-tunes have adapters in {}\n", out.display())), "{said}");
        let alone = root.path().join(format!("alone-{number}"));
        fs::create_dir(&alone).unwrap();
        for (name, tuned) in ["chat", "code", "math"].iter().zip(&tuned) {
            let place = alone.join(format!("{name}{}", if end.starts_with('.') { end } else { "" }));
            let own = std::slice::from_ref(tuned);
            succeed(&words(&base, own, &[&["-o", &text(&place)], options].concat()));
            assert!(out.join(format!("{name}{end}")).exists(), "{options:?} {name}");
        }
        assert_eq!(contents(&out), contents(&alone), "{options:?}");
    }
}

#[test]
fn reports_are_of_one_fine_tune_each() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = models(root.path(), &["chat", "code"]);
    let (out, report) = (text(&root.path().join("out")), text(&root.path().join("r.json")));
    let said = succeed(&words(&base, &tuned, &["-o", &out, "--rank", "2", "--report", &report, "--json"]));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["failed"], serde_json::json!([]));
    for (number, (name, tuned)) in ["chat", "code"].iter().zip(&tuned).enumerate() {
        let (alone, own) = (text(&root.path().join("alone")), text(&root.path().join("own.json")));
        let options = ["-o", &alone, "--rank", "2", "--report", &own, "--force"];
        succeed(&words(&base, std::slice::from_ref(tuned), &options));
        let mut reports = [json(&root.path().join(format!("r-{name}.json"))), json(Path::new(&own))];
        assert_eq!(said["adapters"][number]["report"], reports[0]);
        for report in &mut reports {
            report["seconds"].take();
            report["origin"]["command"].take();
        }
        assert_eq!(reports[0], reports[1]);
    }
}

#[test]
fn a_fine_tune_that_fails_late_does_not_take_the_others_along() {
    let root = tempfile::tempdir().unwrap();
    let (base, mut tuned) = models(root.path(), &["chat", "broken", "code", "same"]);
    let mut broken = tensors(Some(2));
    let (.., bytes) = &mut broken.0[4];
    bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    broken.write(&root.path().join("broken/model.safetensors"));
    tensors(None).write(&root.path().join("same/model.safetensors"));
    for threads in ["1", "3"] {
        let out = root.path().join(format!("out-{threads}"));
        let options = ["-o", &text(&out), "--rank", "2", "--threads", threads];
        let (code, _, said) = phlora(&words(&base, &tuned, &options));
        assert_eq!((code, names(&out)), (2, vec!["chat".to_owned(), "code".to_owned()]), "{said}");
        let lost = |name: &str| format!("phlora: no adapter of {}: ", text(&root.path().join(name)));
        assert!(
            said.contains(&lost("broken")) && said.contains("layers.2.self_attn.q_proj.weight"),
            "{said}"
        );
        assert!(said.contains("NaN in row 0") && said.contains(&lost("same")), "{said}");
        let last = format!("2 of 4 fine-tunes have adapters in {}, 2 have none\n", out.display());
        assert!(said.ends_with(&last), "{said}");
        let options = ["-o", &text(&root.path().join(format!("json-{threads}"))), "--rank", "2", "--json"];
        let (code, said, _) = phlora(&words(&base, &tuned, &options));
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!((code, said["adapters"].as_array().unwrap().len()), (2, 2));
        assert_eq!(said["failed"][0]["tuned"], tuned[1].as_str());
        let alone = root.path().join(format!("alone-{threads}"));
        fs::create_dir(&alone).unwrap();
        for at in [0, 2] {
            let place = alone.join(["chat", "", "code"][at]);
            succeed(&words(&base, &tuned[at..=at], &["-o", &text(&place), "--rank", "2"]));
        }
        assert_eq!(contents(&out), contents(&alone));
    }
    // One that is only the same as the base fails a check.
    tuned.remove(1);
    let (code, ..) = phlora(&words(&base, &tuned, &["-o", &text(&root.path().join("out"))]));
    assert_eq!(code, 1);
}

#[test]
fn what_headers_tell_is_refused_before_any_work() {
    let root = tempfile::tempdir().unwrap();
    let (base, mut tuned) = models(root.path(), &["chat", "code"]);
    let out = root.path().join("out");
    let refused = |tuned: &[String], more: &[&str]| {
        let (code, _, said) = phlora(&words(&base, tuned, &[&["-o", &text(&out)], more].concat()));
        assert_eq!((code, out.exists()), (2, false), "{said}");
        said
    };
    tuned.push(text(&root.path().join("absent")));
    assert!(refused(&tuned, &[]).contains("absent"));
    let other = small_pair().1;
    tuned[2] = write_model(&root.path().join("other"), &other, CONFIG);
    let said = refused(&tuned, &[]);
    assert!(said.contains(&tuned[2]), "{said}");
    tuned.truncate(2);
    tuned.push(tuned[0].clone());
    assert!(refused(&tuned, &[]).contains("cannot be told apart by name"));
    tuned.truncate(2);
    for (more, part) in [
        (&["--shard", "1/2"][..], "a shard is of one extraction"),
        (&["--format", "gguf", "--modelfile", "llama3.2"], "a Modelfile stands beside one adapter"),
        (&["--report", "-"], "standard output takes one output"),
    ] {
        let said = refused(&tuned, more);
        assert!(said.contains(part), "{said}");
    }
    let (code, _, said) = phlora(&words(&base, &tuned, &["-o", &text(&root.path().join("out.gguf"))]));
    assert!(code == 2 && said.contains("names a file; name a directory"), "{said}");
    let said = succeed(&words(&base, &tuned, &["-o", &text(&out), "--dry-run"]));
    assert!(said.contains("out/chat") && said.contains("out/code") && !out.exists(), "{said}");
}
