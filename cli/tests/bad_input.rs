//! What bad input gets: a message that names file and tensor, the right exit code, and no output.

mod common;

use common::*;
use phlora_core::Dtype::{F16, F32};
use std::fs;
use std::path::Path;

/// Extracts, which must fail with `code` and a message that holds all of `expected`, and leave nothing.
fn refused(root: &Path, args: &[&str], code: i32, expected: &[&str]) {
    let before = names(root);
    let (out, report) = (text(&root.join("out")), text(&root.join("report.json")));
    let (found, stdout, stderr) = phlora(&[&["extract"], args, &["-o", &out, "--report", &report]].concat());
    assert_eq!(found, code, "{stderr}");
    assert_eq!(stdout, "");
    for part in expected {
        assert!(stderr.contains(part), "expected {part:?} in {stderr}");
    }
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert_eq!(names(root), before, "something was left behind");
}

/// `bytes` as the tuned side of a good base, in a file called `name`.
fn refused_file(name: &str, bytes: &[u8], expected: &[&str]) {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (base, _) = write_pair(root.path(), &base, &tuned);
    let bad = root.path().join(name);
    fs::write(&bad, bytes).unwrap();
    refused(root.path(), &[&base, &text(&bad)], 2, &[&[name], expected].concat());
}

/// A file whose only tensor has this entry, with 8 bytes of data.
fn one(entry: &str) -> Vec<u8> {
    file(&format!(r#"{{"layers.0.up_proj.weight":{entry}}}"#), &[0; 8])
}

#[test]
fn files_that_are_not_sound_safetensors() {
    refused_file("empty.safetensors", b"", &["not a safetensors file"]);
    refused_file("text.safetensors", b"Once upon a midnight dreary", &["not a safetensors file"]);
    refused_file("long.safetensors", &[&u64::MAX.to_le_bytes()[..], b"{}"].concat(), &["header would be"]);
    refused_file("cut.safetensors", &file("{}", &[])[..9], &["its header would be 2 bytes long, but only 1"]);
    refused_file("json.safetensors", &file("{]", &[]), &["header is not valid"]);
    refused_file("deep.safetensors", &file(&"[".repeat(100_000), &[]), &["header is not valid"]);
    refused_file("model.gguf", b"GGUF\x03\0\0\0\0\0\0\0", &["GGUF"]);
    let with = |entry| one(entry);
    refused_file(
        "leaves.safetensors",
        &with(r#"{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#),
        &[LINEAR, "leave the file"],
    );
    refused_file(
        "shape.safetensors",
        &with(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#),
        &[LINEAR, "does not take its 8 bytes"],
    );
    refused_file(
        "huge.safetensors",
        &with(r#"{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]}"#),
        &[LINEAR, "does not take"],
    );
    refused_file(
        "gap.safetensors",
        &with(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#),
        &["4 bytes at its end"],
    );
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    refused_file("overlap.safetensors", &file(overlap, &[0; 8]), &["tensor b", "overlap with a"]);
}

#[test]
fn pickles_are_refused_with_advice() {
    refused_file("pytorch_model.bin", b"PK\x03\x04 whatever", &["pickle", "save_pretrained"]);
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (base, _) = write_pair(root.path(), &base, &tuned);
    let directory = root.path().join("model");
    fs::create_dir(&directory).unwrap();
    refused(root.path(), &[&base, &text(&directory)], 2, &["model", "an empty directory"]);
    fs::write(directory.join("pytorch_model.bin"), b"\x80\x02}q\x00.").unwrap();
    refused(root.path(), &[&base, &text(&directory)], 2, &["pytorch_model.bin", "pickle", "convert"]);
}

#[test]
fn pairs_that_do_not_belong_together() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let other = Tensors::default().add(LINEAR, &[16, 24], F32, &noise(2, 24 * 16, 1.0));
    let (base_path, other_path) = write_pair(root.path(), &base, &other);
    refused(
        root.path(),
        &[&base_path, &other_path],
        2,
        &[LINEAR, "[24, 16] in", "[16, 24] in", "base.safetensors", "tuned.safetensors"],
    );
    refused(
        root.path(),
        &[&base_path, &other_path, "--exclude", "up_proj"],
        1,
        &["nothing to extract", "excluded (1)"],
    );

    let renamed = Tensors::default().add("model.x.weight", &[4, 4], F32, &[0.0; 16]);
    let (base_path, renamed) = write_pair(root.path(), &base, &renamed);
    refused(root.path(), &[&base_path, &renamed], 2, &["no tensor name in common", LINEAR, "model.x.weight"]);

    let (base_path, same) = write_pair(root.path(), &base, &base);
    refused(root.path(), &[&base_path, &same], 1, &["nothing to extract: all 2 tensors are the same"]);

    let norm_only = Tensors(vec![base.0[0].clone(), tuned.0[1].clone()]);
    let (base_path, norm_only) = write_pair(root.path(), &base, &norm_only);
    refused(root.path(), &[&base_path, &norm_only], 1, &["nothing to extract", "norm (1)"]);
}

#[test]
fn formats_that_are_not_read() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    for (dtype, bytes) in [("F8_E8M0", 16), ("I64", 128), ("I32", 64), ("Q8_0", 34), ("Q7", 5)] {
        let add = |side: &Tensors, fill: u8| side.clone().raw("q.weight", &[4, 4], dtype, vec![fill; bytes]);
        let (b, t) = write_pair(root.path(), &add(&base, 0), &add(&tuned, 1));
        refused(root.path(), &[&b, &t], 2, &["base.safetensors", "tensor q.weight", dtype, "expected F32"]);
        let out = text(&root.path().join(dtype));
        succeed(&["extract", &b, &t, "-o", &out, "--exclude", "^q$", "--quiet"]);
    }
}

#[test]
fn nan_and_infinity_are_named_with_side_and_row() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let spoil = |side: &Tensors, tensor: usize, entry: usize, value: f32| {
        let mut side = side.clone();
        side.0[tensor].3[4 * entry..4 * entry + 4].copy_from_slice(&value.to_le_bytes());
        side
    };
    let (b, t) = write_pair(root.path(), &base, &spoil(&tuned, 0, 5 * 16 + 2, f32::NAN));
    refused(root.path(), &[&b, &t], 2, &["tuned.safetensors", LINEAR, "NaN in row 5, column 2 of the tuned"]);
    let (b, t) = write_pair(root.path(), &spoil(&base, 0, 16, f32::NEG_INFINITY), &tuned);
    refused(
        root.path(),
        &[&b, &t],
        2,
        &["base.safetensors", LINEAR, "infinity in row 1, column 0 of the base"],
    );
    let (b, t) = write_pair(root.path(), &base, &spoil(&tuned, 1, 3, f32::NAN));
    refused(root.path(), &[&b, &t], 2, &["tensor norm.weight", "NaN in row 3"]);
    let out = text(&root.path().join("out"));
    succeed(&["extract", &b, &t, "-o", &out, "--exclude", "^norm$", "--quiet"]);
    fs::remove_dir_all(out).unwrap();
    let (b, t) = write_pair(root.path(), &spoil(&base, 0, 7, -3e38), &spoil(&tuned, 0, 7, 3e38));
    refused(root.path(), &[&b, &t], 2, &[LINEAR, "overflows f32 in row 0"]);
    // Between two f16 sides as well.
    let half = |value: f32| {
        let mut values = noise(1, 24 * 16, 1.0);
        values[16 * 23 + 15] = value;
        Tensors::default().add(LINEAR, &[24, 16], F16, &values)
    };
    let (b, t) = write_pair(root.path(), &half(1.0), &half(f32::INFINITY));
    refused(root.path(), &[&b, &t], 2, &["row 23, column 15 of the tuned"]);
}

#[test]
fn an_index_that_is_wrong() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (base, _) = write_pair(root.path(), &base, &tuned);
    let directory = root.path().join("sharded");
    fs::create_dir(&directory).unwrap();
    tuned.write(&directory.join("a.safetensors"));
    let path = text(&directory);
    for (index, expected) in [
        (
            r#"{"weight_map":{"x.weight":"b.safetensors"}}"#,
            &["x.weight", "b.safetensors, which is missing"][..],
        ),
        (r#"{"weight_map":{"x.weight":"a.safetensors"}}"#, &["x.weight", "does not hold it"]),
        (r#"{"weight_map":{"x.weight":"../base.safetensors"}}"#, &["x.weight", "not the name of a file"]),
        (r#"{"weight_map":{"x.weight":7}}"#, &["x.weight", "not the name of a file"]),
        (r#"{"weight_map":[]}"#, &["index.json", "no weight_map"]),
        ("{", &["index.json", "not valid JSON"]),
    ] {
        fs::write(directory.join("model.safetensors.index.json"), index).unwrap();
        refused(root.path(), &[&base, &path], 2, expected);
    }
    fs::remove_file(directory.join("model.safetensors.index.json")).unwrap();
    tuned.write(&directory.join("b.safetensors"));
    refused(root.path(), &[&base, &path], 2, &["b.safetensors", LINEAR, "also in"]);
}

#[test]
fn options_that_cannot_be_met() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let base = base.add("wte.weight", &[2, 2], F32, &[0.0; 4]);
    let tuned = tuned.add("wte.weight", &[2, 2], F32, &[1.0; 4]);
    let (b, t) = write_pair(root.path(), &base, &tuned);
    for (option, value, expected) in [
        ("--rank", "0", "at least 1"),
        ("--rank", "-3", "unexpected argument"),
        ("--threads", "0", "--threads"),
        ("--tolerance", "NaN", "from 0 to 1"),
        ("--max-reads", "0", "--max-reads"),
        ("--include", "(", "--include"),
        ("--include", "nothing_like_it", "matches no module"),
        ("--include", "ln_f", "matches no module"),
        ("--scratch", "lots", "--scratch"),
        ("--scratch", "1kB", "layers.0.up_proj.weight of shape [24, 16] needs at least"),
    ] {
        refused(root.path(), &[&b, &t, option, value], 2, &[expected]);
    }
    refused(root.path(), &[&b, "nowhere.safetensors"], 2, &["cannot open nowhere.safetensors"]);
    assert_eq!(phlora(&["extract", &b]).0, 2);
    assert_eq!(phlora(&["conjure"]).0, 2);
    assert_eq!(phlora(&["--help"]).0, 0);
}

#[test]
fn the_least_scratch_that_is_named_is_enough() {
    let root = tempfile::tempdir().unwrap();
    let (base, tuned) = small_pair();
    let (b, t) = write_pair(root.path(), &base, &tuned);
    let out = text(&root.path().join("out"));
    let run = |size: &str| {
        phlora(&["extract", &b, &t, "-o", &out, "--rank", "4", "--mode", "multi-read", "--scratch", size])
    };
    let (_, _, message) = run("64");
    let words: Vec<_> = message.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "bytes").unwrap();
    let least: usize = words[at - 1].parse().unwrap();
    assert_eq!(run(&(least - 4).to_string()).0, 2);
    assert_eq!(run(&least.to_string()).0, 0);
}

#[test]
fn factors_beyond_f16() {
    let root = tempfile::tempdir().unwrap();
    let side = |value: f32| Tensors::default().add(LINEAR, &[2, 2], F32, &[value, 0.0, 0.0, 0.0]);
    let (b, t) = write_pair(root.path(), &side(0.0), &side(1e12));
    refused(root.path(), &[&b, &t], 2, &[LINEAR, "does not fit into f16", "--dtype bf16"]);
    succeed(&["extract", &b, &t, "-o", &text(&root.path().join("out")), "--dtype", "bf16"]);
}
