//! Extractions in shards and with interruptions: the adapter is that of one run, to the bit.

mod common;

use common::*;
use phlora_core::Dtype::{Bf16, F32};
use std::fs;
use std::path::Path;

/// A mixture of experts: three linear layers, twelve experts, norms and a vocabulary.
fn experts(root: &Path) -> (String, String) {
    let (mut base, mut tuned) = (Tensors::default(), Tensors::default());
    let mut add = |name: &str, shape: &[usize], rank: usize, seed: u64| {
        let (rows, cols) = (shape[0], shape[1]);
        let values = noise(seed, rows * cols, 1.0);
        let changed = plus_low_rank(&values, rows, cols, rank, seed + 1000);
        base = std::mem::take(&mut base).add(name, shape, F32, &values);
        tuned = std::mem::take(&mut tuned).add(name, shape, F32, &changed);
    };
    for (number, name) in ["q_proj", "k_proj", "o_proj"].iter().enumerate() {
        add(&format!("model.layers.0.self_attn.{name}.weight"), &[48, 40], number + 1, number as u64);
    }
    for expert in 0..12_u64 {
        for (number, name) in ["w1", "w2", "w3"].iter().enumerate() {
            let name = format!("model.layers.0.block_sparse_moe.experts.{expert}.{name}.weight");
            add(&name, &[24, 40], 1 + number, 100 + 3 * expert + number as u64);
        }
    }
    let norm = |tensors: Tensors, value: f32| {
        tensors.add("model.norm.weight", &[40], Bf16, &[value; 40]).add(
            "model.embed_tokens.weight",
            &[4, 40],
            Bf16,
            &[value; 160],
        )
    };
    let config = r#"{"model_type": "unknown", "tie_word_embeddings": false}"#;
    let base = write_model(&root.join("base"), &norm(base, 1.0), config);
    (base, write_model(&root.join("tuned"), &norm(tuned, 1.5), config))
}

/// Every file of an adapter, by name.
fn contents(path: &Path) -> Vec<(String, Vec<u8>)> {
    if path.is_file() {
        return vec![(String::new(), fs::read(path).unwrap())];
    }
    names(path).into_iter().map(|name| (name.clone(), fs::read(path.join(&name)).unwrap())).collect()
}

struct Work {
    root: tempfile::TempDir,
    base: String,
    tuned: String,
}

impl Work {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let (base, tuned) = experts(root.path());
        Self { root, base, tuned }
    }

    fn path(&self, name: &str) -> String {
        text(&self.root.path().join(name))
    }

    fn extract(&self, out: &str, more: &[&str]) -> (i32, String, String) {
        phlora(&[&["extract", &self.base, &self.tuned, "-o", &self.path(out)], more].concat())
    }

    /// Runs every shard of `count`, with the parts of the round before where `again`; the paths of the parts.
    fn shards(&self, count: usize, options: &[&str], again: bool) -> Vec<String> {
        let parts: Vec<_> = (1..=count).map(|index| self.path(&format!("part-{index}-{count}"))).collect();
        let others: Vec<_> = parts.iter().map(String::as_str).collect();
        for (index, part) in parts.iter().enumerate() {
            let shard = format!("{}/{count}", index + 1);
            let mut args = vec!["extract", &self.base, &self.tuned, "-o", part, "--shard", &shard];
            args.extend(options);
            if again {
                args.push("--parts");
                args.extend(others.iter().filter(|other| **other != part.as_str()));
            }
            let said = succeed(&args);
            assert!(said.starts_with(&format!("shard {shard} is in {part}; ")), "{said}");
        }
        parts
    }

    fn join(&self, parts: &[String], out: &str) -> (i32, String, String) {
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        phlora(&[&["join"], &parts[..], &["-o", &self.path(out), "--force"]].concat())
    }

    fn output(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        contents(&self.root.path().join(name))
    }
}

#[test]
fn shares_of_every_goal_join_to_the_bytes_of_one_run() {
    for (number, options) in [
        &["--rank", "2"][..],
        &["--energy", "90%"],
        &["--noise-floor"],
        &["--rank", "4", "--also", "norms,tokens", "--dtype", "f32"],
        &["--rank", "2", "--include", "self_attn|w1"],
    ]
    .iter()
    .enumerate()
    {
        let work = Work::new();
        assert_eq!(work.extract("whole", options).0, 0, "{options:?}");
        for count in if number == 0 { &[1, 2, 7, 64][..] } else { &[3] } {
            let parts = work.shards(*count, options, false);
            let (code, said, error) = work.join(&parts, "joined");
            assert_eq!(code, 0, "{options:?} {count}: {error}");
            assert!(said.contains("of the whole difference kept"), "{said}");
            assert_eq!(work.output("joined"), work.output("whole"), "{options:?} in {count} shards");
        }
    }
}

#[test]
fn goals_that_look_at_all_modules_run_twice() {
    for options in
        [&["--budget", "16KB"][..], &["--energy", "90%", "--uniform"], &["--noise-floor", "--uniform"]]
    {
        let work = Work::new();
        assert_eq!(work.extract("whole", options).0, 0, "{options:?}");
        let mut parts = work.shards(3, options, false);
        let (mut code, _, mut said) = work.join(&parts, "joined");
        if options[0] != "--budget" {
            assert_eq!(code, 2, "{said}");
            assert!(said.contains("run every shard again, with --parts"), "{said}");
        }
        for _ in 0..3 {
            if code == 0 {
                break;
            }
            parts = work.shards(3, options, true);
            (code, _, said) = work.join(&parts, "joined");
        }
        assert_eq!(code, 0, "{options:?}: {said}");
        assert_eq!(work.output("joined"), work.output("whole"), "{options:?}");
    }
}

#[test]
fn the_format_is_that_of_the_shares_whatever_names_say() {
    let work = Work::new();
    let parts = work.shards(2, &["--rank", "2"], false);
    let (code, _, error) = work.join(&parts, "joined.gguf");
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("run them with --format gguf"), "{error}");
    assert!(!work.root.path().join("joined.gguf").exists());

    // A part that is called as a GGUF file would be.
    for (format, name) in [(&["--format", "peft"][..], "part.gguf"), (&[], "part.peft")] {
        // The model card quotes the options, so both are given the same.
        let options = [&["--rank", "2"], format].concat();
        assert_eq!(work.extract("whole", &[&options[..], &["--force"]].concat()).0, 0);
        assert_eq!(work.extract(name, &[&options[..], &["--shard", "1/1"]].concat()).0, 0);
        let (code, _, error) = work.join(&[work.path(name)], "joined");
        assert_eq!(code, 0, "{error}");
        assert_eq!(work.output("joined"), work.output("whole"));
    }
}

#[test]
fn several_ranks_join_to_several_adapters() {
    let work = Work::new();
    let options = ["--rank", "1,2,3"];
    assert_eq!(work.extract("whole", &options).0, 0);
    let parts = work.shards(3, &options, false);
    let (code, _, error) = work.join(&parts, "joined");
    assert_eq!(code, 0, "{error}");
    for rank in 1..=3 {
        assert_eq!(work.output(&format!("joined-r{rank}")), work.output(&format!("whole-r{rank}")));
    }
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    let work = Work::new();
    let options = ["--rank", "2"];
    let parts = work.shards(3, &options, false);
    let refused = |parts: &[String], what: &str| {
        let (code, _, error) = work.join(parts, "joined");
        assert_eq!(code, 2, "{error}");
        assert!(error.contains(what), "{error}");
        assert!(!work.root.path().join("joined").exists());
    };
    refused(&parts[..2], "1 of 3 shards are missing: 3/3");
    refused(&[parts[0].clone(), parts[1].clone(), parts[0].clone()], "are both shard 1/3");
    let other = Work::new();
    let foreign = other.shards(3, &["--rank", "3"], false);
    refused(
        &[parts[0].clone(), parts[1].clone(), foreign[2].clone()],
        "a part file of other options than this",
    );
    let two = work.shards(2, &options, false);
    refused(&[parts[0].clone(), two[1].clone()], "is one of 3 shards");
    refused(
        &[parts[0].clone(), work.base.clone() + "/model.safetensors"],
        "not a part file of an extraction",
    );

    // A part that ends early lacks what it lost; its shard, run again, brings it.
    let whole = fs::read(&parts[2]).unwrap();
    fs::write(&parts[2], &whole[..whole.len() - 9]).unwrap();
    refused(&parts, "tensors are in no part file yet");
    let again = work.shards(3, &options, false);
    assert_eq!(work.join(&again, "joined").0, 0);

    // Weights that changed after a shard was done.
    let tuned = Path::new(&work.tuned).join("model.safetensors");
    let mut bytes = fs::read(&tuned).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    fs::write(&tuned, bytes).unwrap();
    let (code, _, error) = work.join(&parts, "later");
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("of these before they changed"), "{error}");
}

#[test]
fn a_part_is_not_written_over_other_files_and_schedulers_tell_the_share() {
    let work = Work::new();
    fs::write(work.path("notes"), "mine").unwrap();
    let (code, _, error) = work.extract("notes", &["--shard", "1/2"]);
    assert_eq!(code, 2);
    assert!(error.contains("not a part file of an extraction"), "{error}");
    assert_eq!(fs::read(work.path("notes")).unwrap(), b"mine");
    let (code, _, error) = work.extract("part", &["--shard", "auto/2"]);
    assert_eq!(code, 2);
    assert!(error.contains("SLURM_ARRAY_TASK_ID"), "{error}");

    let part = work.path("part");
    let mut slurm = command();
    slurm.env("SLURM_ARRAY_TASK_ID", "5").env("SLURM_ARRAY_TASK_MIN", "4").env("SLURM_ARRAY_TASK_COUNT", "2");
    let output =
        slurm.args(["extract", &work.base, &work.tuned, "-o", &part, "--shard", "auto"]).output().unwrap();
    let (code, said, error) = outcome(&output);
    assert_eq!(code, 0, "{error}");
    assert!(said.starts_with("shard 2/2 is in"), "{said}");
}

#[test]
fn a_run_that_ended_anywhere_goes_on_where_it_was() {
    let work = Work::new();
    let options = ["--energy", "95%", "--dtype", "f32"];
    assert_eq!(work.extract("whole", &options).0, 0);
    assert_eq!(work.extract("all", &[&options[..], &["--shard", "1/1"]].concat()).0, 0);
    let all = fs::read(work.path("all")).unwrap();
    for end in (0..=all.len()).step_by(all.len() / 23) {
        // What a process leaves that is killed while it writes.
        fs::write(work.path("out.part"), &all[..end]).unwrap();
        let (code, said, error) = work.extract("out", &[&options[..], &["--resume", "--force"]].concat());
        assert_eq!(code, 0, "{error}");
        assert!(!Path::new(&work.path("out.part")).exists(), "{said}");
        assert_eq!(work.output("out"), work.output("whole"), "after {end} of {} bytes", all.len());
    }
}

#[test]
fn fresh_starts_again_and_other_options_are_refused() {
    let work = Work::new();
    let part = work.path("part");
    assert_eq!(work.extract("part", &["--shard", "1/1", "--rank", "2"]).0, 0);
    let before = fs::read(&part).unwrap();
    // Nothing is left to do.
    assert_eq!(work.extract("part", &["--shard", "1/1", "--rank", "2"]).0, 0);
    assert_eq!(fs::read(&part).unwrap(), before);
    let (code, _, error) = work.extract("part", &["--shard", "1/1", "--rank", "3"]);
    assert_eq!(code, 2);
    assert!(error.contains("other options"), "{error}");
    assert_eq!(work.extract("part", &["--shard", "1/1", "--rank", "3", "--fresh"]).0, 0);
    assert_ne!(fs::read(&part).unwrap(), before);
}
