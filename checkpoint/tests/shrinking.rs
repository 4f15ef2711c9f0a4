//! A file that another process cuts short while it is open: what was read into memory stays, and work on it goes on. (Mapped, the
//! system ends the process, which `include/phlora.h` and SECURITY.md say.)
#![allow(missing_docs)]

use phlora::{ExtractJob, ExtractOptions, Model, Monitor, Output, Policy, read_files};
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::Path;

/// A safetensors file of one module of 40 × 48 in F32.
fn write(path: &Path, scale: f32) {
    let header = r#"{"model.layers.0.self_attn.q_proj.weight":{"dtype":"F32","shape":[40,48],"data_offsets":[0,7680]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend((0..40 * 48_u16).flat_map(|i| (scale * f32::from(i % 7)).to_le_bytes()));
    fs::write(path, bytes).unwrap();
}

fn extract(base: &Model, tuned: &Model, out: &Path) -> Vec<u8> {
    let mut options = ExtractOptions::default();
    (options.policy, options.threads) = (Policy::fixed(2), NonZeroUsize::MIN);
    ExtractJob::new(base, tuned).options(options).run(&Output::new(out), &Monitor::default()).unwrap();
    fs::read(out.join("adapter_model.safetensors")).unwrap()
}

#[test]
fn what_was_read_stays_when_its_file_is_cut_short() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write(&at("base.safetensors"), 0.0);
    write(&at("tuned.safetensors"), 1.0);
    let open = |name: &str| Model::open(&at(name)).unwrap();
    let expected = extract(&open("base.safetensors"), &open("tuned.safetensors"), &at("mapped"));
    read_files(true);
    let (base, tuned) = (open("base.safetensors"), open("tuned.safetensors"));
    for length in [100, 0] {
        for name in ["base.safetensors", "tuned.safetensors"] {
            File::options().write(true).open(at(name)).unwrap().set_len(length).unwrap();
        }
        assert_eq!(extract(&base, &tuned, &at(&format!("cut-{length}"))), expected);
        assert!(Model::open(&at("base.safetensors")).is_err(), "opened anew, it is cut short");
    }
    read_files(false);
}

/// What SECURITY.md warns of: a mapped file that shrinks ends the process by SIGBUS.
#[cfg(target_os = "linux")]
#[test]
fn a_mapped_file_that_is_cut_short_ends_the_process_unless_it_is_read() {
    use std::os::unix::process::ExitStatusExt;
    const FILE: &str = "PHLORA_SHRINKING_FILE";
    if let Some(path) = std::env::var_os(FILE) {
        read_files(std::env::var_os("PHLORA_SHRINKING_READ").is_some());
        let model = Model::open(Path::new(&path)).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        let (_, tensor) = model.tensors().next().unwrap();
        println!("the last byte is {}", tensor.bytes()[7679]);
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("m.safetensors");
    let run = |read: bool| {
        write(&path, 1.0);
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args([
            "--exact",
            "a_mapped_file_that_is_cut_short_ends_the_process_unless_it_is_read",
            "--nocapture",
        ]);
        command.env(FILE, &path);
        if read {
            command.env("PHLORA_SHRINKING_READ", "yes");
        }
        command.output().unwrap()
    };
    assert_eq!(run(false).status.signal(), Some(7), "SIGBUS");
    let read = run(true);
    assert!(read.status.success(), "{read:?}");
    assert!(String::from_utf8_lossy(&read.stdout).contains("the last byte is 63"), "{read:?}");
}
