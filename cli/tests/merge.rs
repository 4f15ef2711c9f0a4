//! Merging on the command line: against the tuned model, several adapters, what is refused, what is left behind.

mod common;

use common::{command, decoded, json, names, outcome, phlora, succeed, text, tiny_llama};
use std::fs;
use std::path::Path;
use std::process::Command;

fn extract(out: &Path, rank: &str) -> String {
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    succeed(&["extract", &base, &tuned, "-o", &text(out), "--rank", rank, "--dtype", "f32", "--quiet"]);
    text(out)
}

fn tensors(directory: &str) -> Vec<(String, Vec<f32>)> {
    let bytes = fs::read(Path::new(directory).join("model.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.iter().map(|(name, tensor)| (name.to_owned(), decoded(&tensor))).collect();
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    tensors
}

/// ‖a − b‖² over the tensors that `of` picks.
fn squares(a: &str, b: &str, of: impl Fn(&str) -> bool) -> f64 {
    let pairs = tensors(a).into_iter().zip(tensors(b));
    let one = |((name, a), (other, b)): ((String, Vec<f32>), (String, Vec<f32>))| {
        assert_eq!(name, other);
        let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
        if of(&name) { a.iter().zip(&b).map(square).sum::<f64>() } else { 0.0 }
    };
    pairs.map(one).sum()
}

#[test]
fn base_and_adapter_of_full_rank_are_the_tuned_model() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = (tiny_llama("base"), tiny_llama("tuned"));
    let adapter = extract(&root.path().join("adapter"), "1024");
    let out = text(&root.path().join("out"));
    let said = succeed(&["merge", &base, &adapter, "-o", &out]);
    assert!(said.contains("merged 1 adapter into 28 weights") && said.contains("in 1 file to"), "{said}");
    assert_eq!(names(Path::new(&out)), names(Path::new(&base)));
    for name in names(Path::new(&out)).iter().filter(|name| *name != "model.safetensors") {
        let [old, new] = [&base, &out].map(|directory| fs::read(Path::new(directory).join(name)).unwrap());
        assert_eq!(old, new, "{name}");
    }
    let linear = |name: &str| name.contains("_proj");
    let (left, all) = (squares(&out, &tuned, linear), squares(&base, &tuned, linear));
    // What is left is the rounding of the weights' format against a difference that is small.
    assert!(all > 0.0 && left <= 1e-4 * all, "{left} of {all}");
    assert!(squares(&out, &base, |name| !linear(name)) == 0.0);
    let verified = succeed(&["verify", &base, &out, &adapter, "--json"]);
    let energy = serde_json::from_str::<serde_json::Value>(&verified).unwrap()["energy"].as_f64().unwrap();
    assert!(energy > 0.9999, "{energy}");
}

#[test]
fn scales_are_one_for_all_or_one_for_each() {
    let root = tempfile::tempdir().unwrap();
    let base = tiny_llama("base");
    let adapter = extract(&root.path().join("adapter"), "4");
    let merge = |name: &str, more: &[&str]| {
        let out = root.path().join(name);
        succeed(&[&["merge", &base, &adapter, "-o", &text(&out), "--quiet"], more].concat());
        fs::read(out.join("model.safetensors")).unwrap()
    };
    let whole = merge("whole", &[]);
    let untouched = fs::read(Path::new(&base).join("model.safetensors")).unwrap();
    assert!(whole != untouched && untouched == merge("none", &["--scale", "0"]));
    assert!(whole == merge("zero", &[&adapter, "--scale", "1", "--scale", "0"]));
    merge("halves", &[&adapter, "--scale", "0.5"]);
    merge("parts", &[&adapter, "--scale", "1.5", "--scale", "-0.5", "--threads", "3"]);
    let [whole, halves, parts] = ["whole", "halves", "parts"].map(|name| text(&root.path().join(name)));
    let all = squares(&whole, &base, |_| true);
    for split in [halves, parts] {
        // Sums in another order, of which few are rounded the other way.
        let apart = squares(&whole, &split, |_| true);
        assert!(apart <= 1e-4 * all, "{apart} of {all}");
    }
    let out = text(&root.path().join("bad"));
    let three = ["--scale", "1", "--scale", "2", "--scale", "3"];
    let (code, _, said) = phlora(&[&["merge", &base, &adapter, "-o", &out], &three[..]].concat());
    assert!(code == 2 && said.contains("3 scales for 1 adapter"), "{said}");
    let (code, _, said) = phlora(&["merge", &base, &adapter, "-o", &out, "--scale", "inf"]);
    assert!(code == 2 && said.contains("expected a finite number"), "{said}");
}

#[test]
fn only_what_a_merge_wrote_is_replaced() {
    let root = tempfile::tempdir().unwrap();
    let adapter = extract(&root.path().join("adapter"), "2");
    let base = root.path().join("base");
    fs::create_dir(&base).unwrap();
    for name in names(Path::new(&tiny_llama("base"))) {
        fs::copy(Path::new(&tiny_llama("base")).join(&name), base.join(&name)).unwrap();
    }
    fs::create_dir(base.join("templates")).unwrap();
    fs::write(base.join("templates/chat.jinja"), "{{ x }}").unwrap();
    fs::write(base.join("pytorch_model.bin"), "the same weights, not merged").unwrap();
    fs::write(base.join(".hidden"), "").unwrap();
    let (base, out) = (text(&base), root.path().join("out"));
    let run = |more: &[&str]| phlora(&[&["merge", &base, &adapter, "-o", &text(&out)], more].concat());
    assert_eq!(run(&[]).0, 0);
    assert_eq!(fs::read_to_string(out.join("templates/chat.jinja")).unwrap(), "{{ x }}");
    assert!(!out.join("pytorch_model.bin").exists() && !out.join(".hidden").exists());
    assert_eq!(json(&out.join("config.json"))["model_type"], "llama");
    let (code, _, said) = run(&[]);
    assert!(code == 2 && said.contains("--force"), "{said}");
    assert_eq!(run(&["--force"]).0, 0);
    fs::write(out.join("precious.txt"), "").unwrap();
    let (code, _, said) = run(&["--force"]);
    assert!(
        code == 2 && said.contains("holds precious.txt, which does not belong to the merged model"),
        "{said}"
    );
    let (code, _, said) = phlora(&["merge", &base, &adapter, "-o", &base, "--force"]);
    assert!(code == 2 && said.contains("is one of the inputs"), "{said}");
    // One file to one file.
    let single = format!("{base}/model.safetensors");
    let file = root.path().join("single.safetensors");
    succeed(&["merge", &single, &adapter, "-o", &text(&file), "--quiet"]);
    assert!(fs::read(&file).unwrap() == fs::read(out.join("model.safetensors")).unwrap());
    succeed(&["merge", &single, &adapter, "-o", &text(&file), "--quiet", "--force"]);
    fs::write(&file, "no model").unwrap();
    let (code, _, said) = phlora(&["merge", &single, &adapter, "-o", &text(&file), "--force"]);
    assert!(code == 2 && said.contains("is not a model"), "{said}");
    assert_eq!(names(root.path()), ["adapter", "base", "out", "single.safetensors"]);
}

#[test]
fn a_full_disk_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let adapter = extract(&root.path().join("adapter"), "2");
    let base = tiny_llama("base");
    let out = text(&root.path().join("out"));
    // Files of at most 8 blocks of 512 or 1024 bytes stand in for the disk.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_phlora");
    let words = ["-c", script, "sh", program, "merge", &base, &adapter, "-o", &out];
    let (code, stdout, said) = outcome(&Command::new("sh").args(words).output().unwrap());
    assert_eq!((code, stdout.as_str()), (2, ""), "{said}");
    assert!(said.contains(&format!("cannot write {out}")), "{said}");
    assert_eq!(names(root.path()), ["adapter"]);
    let missing = text(&root.path().join("no/such/place"));
    let output = command().args(["merge", &base, &adapter, "-o", &missing]).output().unwrap();
    let (code, _, said) = outcome(&output);
    assert!(code == 2 && said.contains("cannot create"), "{said}");
    assert_eq!(names(root.path()), ["adapter"]);
}
