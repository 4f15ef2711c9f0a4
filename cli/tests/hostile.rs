//! Files that are made to harm: names that steer a terminal, pipes that never end, factors that underflow.
#![allow(missing_docs)]

mod common;

use common::*;
use phlora_core::Dtype::F32;
use std::fs;

#[test]
fn no_name_reaches_the_terminal_raw() {
    let root = tempfile::tempdir().unwrap();
    let module = "h.\x1b]0;title\x07\n\u{9b}31m.up";
    let (name, values) = (format!("{module}.weight"), noise(3, 12, 1.0));
    let model = |scale| {
        let weight: Vec<_> = values.iter().map(|v| v * scale).collect();
        let model = Tensors::default().add(&name, &[4, 3], F32, &weight);
        model.raw("x.table", &[1], "\x1b[2J", vec![0])
    };
    let config = r#"{"model_type":"\u001b[31m","architectures":["\u0007"]}"#;
    let base = write_model(&root.path().join("base"), &model(1.0), config);
    let tuned = write_model(&root.path().join("tuned"), &model(1.2), config);
    let bad =
        write_model(&root.path().join("bad"), &Tensors::default().add(&name, &[6], F32, &[0.0; 6]), "{}");
    let (out, report) = (text(&root.path().join("out")), text(&root.path().join("report.json")));
    let runs = [
        (0, vec!["extract", &base, &tuned, "-o", &out, "--rank", "1", "--modules", "--report", &report]),
        (0, vec!["verify", &base, &tuned, &out]),
        (2, vec!["extract", &base, &bad, "-o", &out, "--force"]),
        (0, vec!["inspect", &base]),
        (0, vec!["inspect", &out]),
        (0, vec!["inspect", &report]),
    ];
    for (expected, args) in runs {
        let (code, stdout, stderr) = phlora(&args);
        assert_eq!(code, expected, "{args:?}: {stderr}");
        let raw = |c: char| c.is_control() && c != '\n';
        assert!(!stdout.contains(raw) && !stderr.contains(raw), "{args:?}: {stdout:?} {stderr:?}");
        assert!(!stderr.trim_end().contains('\n'), "{stderr}");
    }
}

#[test]
fn a_weight_without_a_module_is_left_out() {
    let root = tempfile::tempdir().unwrap();
    let model = |scale: f32| {
        let weight = noise(5, 12, 1.0).iter().map(|v| v * scale).collect::<Vec<_>>();
        [LINEAR, "weight", ".weight"]
            .iter()
            .fold(Tensors::default(), |m, name| m.add(name, &[4, 3], F32, &weight))
    };
    let (b, t) = write_pair(root.path(), &model(1.0), &model(2.0));
    let (out, report) = (text(&root.path().join("out")), root.path().join("report.json"));
    succeed(&["extract", &b, &t, "-o", &out, "--report", &text(&report)]);
    succeed(&["verify", &b, &t, &out, "--min-energy", "0.99"]);
    assert_eq!(json(&report)["left_out"].as_array().unwrap().len(), 2);
}

#[test]
fn energy_lost_to_the_format_is_said() {
    let root = tempfile::tempdir().unwrap();
    // Factors of 1e-8: below the least f16.
    let weights = noise(9, 64 * 48, 1e-16);
    let model = |weights: &[f32]| Tensors::default().add(LINEAR, &[64, 48], F32, weights);
    let (b, t) = write_pair(root.path(), &model(&[0.0; 64 * 48]), &model(&weights));
    let (out, report) = (text(&root.path().join("out")), root.path().join("report.json"));
    let run = |dtype: &str| {
        let args = ["extract", &b, &t, "-o", &out, "--report", &text(&report), "--force", "--dtype", dtype];
        let (code, _, stderr) = phlora(&args);
        assert_eq!(code, 0, "{stderr}");
        let module = json(&report)["modules"][0].clone();
        let (_, verified, _) = phlora(&["verify", &b, &t, &out, "--json"]);
        let verified: serde_json::Value = serde_json::from_str(&verified).unwrap();
        let number = |field: &str| module[field].as_f64().unwrap();
        let kept = number("energy") - number("rounding_loss");
        assert!((kept - verified["energy"].as_f64().unwrap()).abs() < 1e-4, "{module}");
        stderr
    };
    assert!(run("f16").contains("too coarse"));
    for dtype in ["bf16", "f32"] {
        assert!(!run(dtype).contains("too coarse"));
    }
}

#[test]
fn an_adapter_that_overflows_does_not_pass() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (b, t) = write_pair(root.path(), &base, &tuned);
    let out = root.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("adapter_config.json"), r#"{"peft_type":"LORA","r":2,"lora_alpha":2}"#).unwrap();
    let name = |part| format!("base_model.model.layers.0.up_proj.{part}.weight");
    let signs = |n: usize| (0..n).map(|i| if i % 3 == 0 { 1e30 } else { -1e30 }).collect::<Vec<_>>();
    Tensors::default()
        .add(&name("lora_A"), &[2, 16], F32, &signs(32))
        .add(&name("lora_B"), &[24, 2], F32, &signs(48))
        .write(&out.join("adapter_model.safetensors"));
    for least in ["0", "0.5"] {
        let (code, stdout, stderr) = phlora(&["verify", &b, &t, &text(&out), "--min-energy", least]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(stderr.contains(&name("lora_A")) && stderr.contains("beyond the range of f32"), "{stderr}");
    }
}

#[cfg(unix)]
#[test]
fn a_named_pipe_is_not_waited_for() {
    use std::process::Command;
    let root = tempfile::tempdir().unwrap();
    for file in ["model.safetensors", "model.safetensors.index.json", "adapter_config.json", "report.json"] {
        let directory = root.path().join(file.replace('.', "_"));
        fs::create_dir(&directory).unwrap();
        let path = directory.join(file);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        for path in [&path, &directory] {
            let (code, _, stderr) = phlora(&["inspect", &text(path)]);
            assert_eq!(code, 2, "{stderr}");
        }
        let (_, _, stderr) = phlora(&["inspect", &text(&path)]);
        assert!(stderr.contains("not a regular file"), "{stderr}");
    }
}
