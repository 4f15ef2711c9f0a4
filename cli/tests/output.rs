//! Outputs appear whole or not at all: what exists is kept, and what fails or is interrupted leaves nothing.

mod common;

use common::*;
use phlora_core::Dtype::F32;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

fn pair(root: &Path) -> (String, String) {
    let (base, tuned) = small_pair();
    write_pair(root, &base, &tuned)
}

#[test]
fn what_exists_is_kept_unless_it_is_an_adapter_and_force_is_given() {
    let root = tempfile::tempdir().unwrap();
    let (b, t) = pair(root.path());
    let out = root.path().join("out");
    let run = |more: &[&str]| phlora(&[&["extract", &b, &t, "-o", &text(&out), "--quiet"], more].concat());
    fs::create_dir(&out).unwrap();
    let (code, _, stderr) = run(&[]);
    assert!(code == 2 && stderr.contains("exists already; --force"), "{stderr}");
    assert_eq!(run(&["--force"]).0, 0); // an empty directory
    assert_eq!(run(&["--rank", "1", "--force"]).0, 0); // an adapter
    assert_eq!(json(&out.join("adapter_config.json"))["r"], 1);
    assert_eq!(names(root.path()), ["base.safetensors", "out", "tuned.safetensors"]);
    fs::write(out.join("thesis.tex"), "years of work").unwrap();
    let (code, _, stderr) = run(&["--force"]);
    assert!(code == 2 && stderr.contains("holds thesis.tex"), "{stderr}");
    assert!(out.join("thesis.tex").exists());
    fs::remove_dir_all(&out).unwrap();
    fs::write(&out, "a file").unwrap();
    let (code, _, stderr) = run(&["--force"]);
    assert!(code == 2 && stderr.contains("not a directory"), "{stderr}");
    fs::remove_file(&out).unwrap();

    let report = root.path().join("report.json");
    fs::write(&report, "precious").unwrap();
    let (code, _, stderr) = run(&["--report", &text(&report)]);
    assert!(code == 2 && stderr.contains("report.json exists already"), "{stderr}");
    assert!(!out.exists());
    let (code, _, stderr) = run(&["--report", &text(&out.join("report.json"))]);
    assert!(code == 2 && stderr.contains("may not be inside"), "{stderr}");
    let (code, _, stderr) = run(&["--force", "--report", &text(&report)]);
    assert!(code == 2 && stderr.contains("not a report of phlora"), "{stderr}");
    // An option that is one slip away from destroying a model.
    assert_eq!(run(&["--force", "--report", &b]).0, 2);
    assert_eq!(fs::read_to_string(&report).unwrap(), "precious");
    fs::remove_file(&report).unwrap();
    for _ in 0..2 {
        assert_eq!(run(&["--force", "--report", &text(&report)]).0, 0);
        assert_eq!(json(&report)["version"], 1);
    }
    assert_eq!(names(root.path()), ["base.safetensors", "out", "report.json", "tuned.safetensors"]);
}

#[test]
fn places_that_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    let (b, t) = pair(root.path());
    for out in [format!("{b}/out"), text(&root.path().join("missing/out")), "/proc/out".to_owned()] {
        let (code, _, stderr) = phlora(&["extract", &b, &t, "-o", &out]);
        assert_eq!(code, 2);
        assert!(stderr.contains(&format!("cannot create {out}")), "{stderr}");
    }
    assert_eq!(phlora(&["extract", &b, &t, "-o", ".."]).0, 2);
    assert_eq!(phlora(&["extract", &b, &t, "-o", "/", "--force"]).0, 2);
    assert_eq!(names(root.path()), ["base.safetensors", "tuned.safetensors"]);
}

#[cfg(unix)]
#[test]
fn a_directory_without_rights() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let root = tempfile::tempdir().unwrap();
    let (b, t) = pair(root.path());
    let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let locked = root.path().join("locked");
    fs::create_dir(&locked).unwrap();
    allow(&locked, 0o555);
    let program = root.path().join("phlora");
    fs::copy(env!("CARGO_BIN_EXE_phlora"), &program).unwrap();
    allow(&program, 0o755);
    allow(root.path(), 0o755);
    let mut command = Command::new(&program);
    if fs::metadata(&locked).unwrap().uid() == 0 {
        command.uid(65_534); // permissions do not bind root
    }
    let out = text(&locked.join("out"));
    let (code, _, stderr) = outcome(&command.args(["extract", &b, &t, "-o", &out]).output().unwrap());
    assert_eq!(code, 2);
    assert!(stderr.contains(&format!("cannot create {out}: Permission denied")), "{stderr}");
    assert!(names(&locked).is_empty());
}

#[test]
fn a_full_disk_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let weight = noise(1, 256 * 256, 1.0);
    let tuned = plus_low_rank(&weight, 256, 256, 2, 3);
    let side = |weight: &[f32]| Tensors::default().add(LINEAR, &[256, 256], F32, weight);
    let (b, t) = write_pair(root.path(), &side(&weight), &side(&tuned));
    let out = text(&root.path().join("out"));
    // Files of at most 8 blocks of 512 or 1024 bytes stand in for the disk; the adapter takes 66 kB.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_phlora");
    let output = Command::new("sh")
        .args(["-c", script, "sh", program, "extract", &b, &t, "-o", &out, "--rank", "64"])
        .output()
        .unwrap();
    let (code, stdout, stderr) = outcome(&output);
    assert_eq!(code, 2, "{stderr}");
    assert_eq!(stdout, "");
    let file = Path::new(&out).join("adapter_model.safetensors");
    assert!(stderr.contains(&format!("cannot write {}", file.display())), "{stderr}");
    assert_eq!(names(root.path()), ["base.safetensors", "tuned.safetensors"]);
}

#[test]
fn ctrl_c_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (rows, cols) = (1600, 1600);
    let (weight, tuned) = (noise(1, rows * cols, 1.0), noise(2, rows * cols, 1.0));
    let side = |weight: &[f32]| Tensors::default().add(LINEAR, &[rows, cols], F32, weight);
    let (b, t) = write_pair(root.path(), &side(&weight), &side(&tuned));
    let (out, report) = (text(&root.path().join("out")), text(&root.path().join("r.json")));
    let started = Instant::now();
    let child = command()
        .args(["extract", &b, &t, "-o", &out, "--report", &report, "--mode", "exact"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_millis(300));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let (code, stdout, stderr) = outcome(&child.wait_with_output().unwrap());
    assert_eq!(code, 130, "{stdout}{stderr}");
    assert!(stderr.contains("cancelled; the output was not written"), "{stderr}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(names(root.path()), ["base.safetensors", "tuned.safetensors"]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let root = tempfile::tempdir().unwrap();
    let (b, t) = pair(root.path());
    let mut child = command()
        .args(["extract", &b, &t, "-o", &text(&root.path().join("out")), "--rank", "2"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let (code, _, stderr) = outcome(&child.wait_with_output().unwrap());
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(root.path().join("out").exists());
}
