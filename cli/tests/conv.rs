//! Convolutions: extracted as the matrix [out, in·kernel], written with the kernel's axes, and put back.

mod common;

use common::*;
use phlora_core::Dtype::F32;
use std::fs;
use std::path::Path;

const CONV: &str = "blocks.0.conv1.weight";

/// A 3 × 3, a 1 × 1 and a linear layer of odd sizes, and what is no plain convolution; `tuned` of rank 2 away.
fn pair() -> (Tensors, Tensors) {
    let (mut base, mut tuned) = (Tensors::default(), Tensors::default());
    let layers: [(&str, &[usize]); 6] = [
        (CONV, &[11, 5, 3, 3]),
        ("blocks.0.shortcut.weight", &[7, 9, 1, 1]),
        ("blocks.0.to_q.weight", &[13, 6]),
        ("blocks.0.depthwise.weight", &[11, 1, 3, 3]),
        ("blocks.0.stack.weight", &[4, 7, 5]),
        ("blocks.0.patch.weight", &[6, 3, 2, 2, 2]),
    ];
    for (seed, (name, shape)) in layers.into_iter().enumerate() {
        let (rows, cols) = (shape[0], shape[1..].iter().product());
        let weight = noise(seed as u64, rows * cols, 1.0);
        let changed = plus_low_rank(&weight, rows, cols, 2, 100 + seed as u64);
        base = base.add(name, shape, F32, &weight);
        tuned = tuned.add(name, shape, F32, &changed);
    }
    (base, tuned)
}

/// The values of one tensor of a model.
fn values(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    (tensor.shape().to_vec(), decoded(&tensor))
}

fn extracted(root: &Path, more: &[&str]) -> (String, String, String, serde_json::Value) {
    let (base, tuned) = pair();
    let (base, tuned) = write_pair(root, &base, &tuned);
    let (out, report) = (text(&root.join("out")), root.join("report.json"));
    let args =
        ["extract", &base, &tuned, "-o", &out, "--dtype", "f32", "--force", "--report", &text(&report)];
    succeed(&[&args[..], more].concat());
    (base, tuned, out, json(&report))
}

fn names(report: &serde_json::Value) -> Vec<&str> {
    report["modules"].as_array().unwrap().iter().map(|module| module["name"].as_str().unwrap()).collect()
}

#[test]
fn factors_have_the_kernel_and_merge_into_the_tuned_weights() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned, out, report) = extracted(root.path(), &["--rank", "2"]);
    let expected = ["blocks.0.conv1", "blocks.0.patch", "blocks.0.shortcut", "blocks.0.to_q"];
    assert_eq!(names(&report), expected);
    let module = &report["modules"][0];
    assert_eq!(
        (&module["shape"], &module["kernel"]),
        (&serde_json::json!([11, 45]), &serde_json::json!([3, 3]))
    );
    assert!(report["modules"][3].get("kernel").is_none());
    for (module, a, b) in [
        ("conv1", vec![2, 5, 3, 3], vec![11, 2, 1, 1]),
        ("shortcut", vec![2, 9, 1, 1], vec![7, 2, 1, 1]),
        ("patch", vec![2, 3, 2, 2, 2], vec![6, 2, 1, 1, 1]),
        ("to_q", vec![2, 6], vec![13, 2]),
    ] {
        let shape =
            |part| factor(Path::new(&out), &format!("base_model.model.blocks.0.{module}.{part}.weight")).0;
        assert_eq!((shape("lora_A"), shape("lora_B")), (a, b), "{module}");
    }
    succeed(&["verify", &base, &tuned, &out, "--min-energy", "0.9999"]);
    assert!(succeed(&["check", &out, "--base", &base]).contains("nothing wrong"));
    assert!(succeed(&["inspect", &out]).contains("conv1"));
    let merged = root.path().join("merged.safetensors");
    succeed(&["merge", &base, &out, "-o", &text(&merged)]);
    for name in [CONV, "blocks.0.shortcut.weight", "blocks.0.patch.weight", "blocks.0.to_q.weight"] {
        let ((shape, found), (_, wanted)) = (values(&merged, name), values(Path::new(&tuned), name));
        assert!(distance(&found, &wanted) < 1e-5, "{name} {shape:?}");
    }
    assert_eq!(values(&merged, "blocks.0.stack.weight"), values(Path::new(&base), "blocks.0.stack.weight"));
    let pruned = text(&root.path().join("pruned"));
    succeed(&["prune", &out, "-o", &pruned, "--rank", "1"]);
    assert_eq!(factor(Path::new(&pruned), "base_model.model.blocks.0.conv1.lora_A.weight").0, [1, 5, 3, 3]);
    assert!(succeed(&["plan", &base, &tuned, "--max-rank", "2"]).contains("conv1"));
}

#[test]
fn what_may_be_no_plain_convolution_is_left_out_and_taken_when_it_is_named() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned, _, report) = extracted(root.path(), &["--rank", "2"]);
    let left_out = report["left_out"].as_array().unwrap();
    for (name, why) in [("depthwise", "single channels"), ("stack", "stacked layers")] {
        let found = left_out.iter().find(|one| one["name"].as_str().unwrap().contains(name)).unwrap();
        let reason = found["reason"].as_str().unwrap();
        assert!(reason.starts_with("convolution: ") && reason.contains(why), "{reason}");
        assert!(found["delta_norm"].as_f64().unwrap() > 0.0);
    }
    let (_, _, out, report) = extracted(root.path(), &["--rank", "2", "--include", "depthwise|stack"]);
    assert_eq!(names(&report), ["blocks.0.depthwise", "blocks.0.stack"]);
    assert_eq!(factor(Path::new(&out), "base_model.model.blocks.0.stack.lora_B.weight").0, [4, 2, 1]);
    succeed(&["verify", &base, &tuned, &out, "--min-energy", "0.9999"]);
    for server in ["vllm", "lorax"] {
        let (_, _, _, report) = extracted(root.path(), &["--rank", "8", "--for", server]);
        assert_eq!(names(&report), ["blocks.0.to_q"]);
    }
}

#[test]
fn a_budget_counts_the_real_bytes() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned, out, _) = extracted(root.path(), &["--budget", "6kB"]);
    assert!(size_of_adapter(Path::new(&out)) <= 6000);
    succeed(&["verify", &base, &tuned, &out]);
}

#[test]
fn factors_of_another_kernel_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned, out, _) = extracted(root.path(), &["--rank", "2"]);
    let weights = Path::new(&out).join("adapter_model.safetensors");
    let write = |a: &[usize], b: &[usize]| {
        let values = |shape: &[usize]| noise(1, shape.iter().product(), 1.0);
        Tensors::default()
            .add("base_model.model.blocks.0.conv1.lora_A.weight", a, F32, &values(a))
            .add("base_model.model.blocks.0.conv1.lora_B.weight", b, F32, &values(b))
            .write(&weights);
    };
    for (a, b, expected) in [
        (&[2, 5, 3, 3][..], &[11, 2][..], "expected [out, 2, 1, 1]"),
        (&[2, 5, 3, 3], &[11, 2, 3, 3], "expected [out, 2, 1, 1]"),
        (&[2, 5, 3, 3], &[11, 3, 1, 1], "expected [out, 2, 1, 1]"),
        (&[3, 5, 3, 3], &[11, 3, 1, 1], "expected [2, in]"),
        (&[2], &[11, 2], "expected [2, in]"),
        (&[2, 5, 1, 1, 1, 1], &[11, 2, 1, 1, 1, 1], "expected [2, in]"),
    ] {
        write(a, b);
        let (code, _, stderr) = phlora(&["inspect", &out]);
        assert!(code == 2 && stderr.contains(expected), "{stderr}");
    }
    // Sound, but of other kernels than the base's: even where the entries are as many.
    for (a, b) in [(&[2, 5, 9, 1], &[11, 2, 1, 1][..]), (&[2, 15, 3, 1], &[11, 2, 1, 1])] {
        write(a, b);
        let merged = text(&root.path().join("merged.safetensors"));
        for args in [&["verify", &base, &tuned, &out][..], &["merge", &base, &out, "-o", &merged]] {
            let (code, _, stderr) = phlora(args);
            assert!(code == 2 && stderr.contains("[11, 5, 3, 3]"), "{stderr}");
        }
        let (code, stdout, _) = phlora(&["check", &out, "--base", &base]);
        assert!(code == 1 && stdout.contains("wrong-shape"), "{stdout}");
        assert!(!Path::new(&merged).exists());
    }
}
