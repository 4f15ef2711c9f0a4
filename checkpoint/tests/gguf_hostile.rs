//! GGUF files that are wrong: an error that names the field, no panic, no memory that a number in the file asks for.
//!
//! A test binary of its own, since the counting allocator sees every thread of the process.
#![allow(missing_docs)]

mod common;

use common::counting::{Counting, peak_of};
use common::gguf::{ARRAY, BOOL, Gguf, I32, STRING, U16, U32, string};
use phlora::{AdapterFormat, ExtractOptions, Model, Monitor, Policy, extract};
use phlora_core::Dtype;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

#[global_allocator]
static COUNTING: Counting = Counting;

/// One test at a time, or one would count the other's memory.
static ALONE: Mutex<()> = Mutex::new(());

/// Most heap that the header of a file of at most 4 kB may take, with the messages about it.
const BOUND: usize = 64 << 10;

fn sound() -> Gguf {
    Gguf::model("llama")
        .array("tokens", STRING, 2, &[string(b"a"), string(b"bc")].concat())
        .array("nested", ARRAY, 1, &[&I32.to_le_bytes()[..], &2_u64.to_le_bytes(), &[0; 8]].concat())
        .add("blk.0.attn_q.weight", &[3, 32], Dtype::F32, &[0.5; 96])
        .add("blk.0.ffn_up_exps.weight", &[2, 2, 32], Dtype::Q8_0, &[0.25; 128])
        .add("output_norm.weight", &[4], Dtype::F16, &[1.0; 4])
}

/// What is said about a file of these bytes, which must be refused.
fn refused(root: &Path, bytes: &[u8]) -> String {
    let path = root.join("f.gguf");
    let _ = fs::remove_file(&path);
    fs::write(&path, bytes).unwrap();
    let (peak, result) = peak_of(|| Model::open(&path).map_err(|e| e.to_string()));
    assert!(peak < BOUND, "{peak} bytes of heap");
    let message = result.expect_err("refused");
    assert!(message.starts_with(path.to_str().unwrap()), "{message}");
    message
}

/// A way to spoil a file, and what must be said about it.
type Case = (&'static str, fn(&mut Gguf));

#[test]
fn the_field_that_is_wrong_is_named() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = tempfile::tempdir().unwrap();
    assert!(
        Model::open(&{
            let path = root.path().join("sound.gguf");
            sound().write(&path);
            path
        })
        .is_ok()
    );
    let huge = u64::MAX.to_le_bytes();
    let cases: &[Case] = &[
        ("GGUF version 1, which is no longer read", |f| f.version = 1),
        ("its GGUF version is 0", |f| f.version = 0),
        ("its GGUF version is 4", |f| f.version = 4),
        ("a big-endian GGUF file (version 3)", |f| f.version = 3_u32.swap_bytes()),
        ("its tensor_count is 18446744073709551615", |f| f.tensor_count = Some(u64::MAX)),
        ("its tensor_count is 768614336404564651", |f| f.tensor_count = Some(u64::MAX / 24 + 1)),
        ("its metadata_kv_count is 9223372036854775808", |f| f.key_count = Some(1 << 63)),
        ("tensor general.architecture: its number of axes is 8", |f| f.key_count = Some(0)),
        ("tensor 4 of 4: ", |f| f.tensor_count = Some(4)),
        ("key general.architecture: named twice", |f| f.keys.push(f.keys[0].clone())),
        ("key 1 of 3: its name is not UTF-8", |f| f.keys[0].0 = vec![0xff]),
        ("key 1 of 3: its name is 70000 bytes long", |f| f.keys[0].0 = vec![b'k'; 70_000]),
        ("key tokens: its type is 13, expected 0 to 12", |f| f.keys[1].1 = 13),
        ("key general.architecture: its string's length is 18446744073709551615", |f| {
            f.keys[0].2[..8].fill(0xff);
        }),
        ("key tokens: its array's length is 18446744073709551615", |f| f.keys[1].2[4..12].fill(0xff)),
        ("key tokens: its array's type is 99", |f| f.keys[1].2[0] = 99),
        ("key tokens: its string's length is", |f| f.keys[1].2[19] = 0xff),
        ("key nested: its arrays are nested more than 8 deep", |f| {
            let level = [&ARRAY.to_le_bytes()[..], &1_u64.to_le_bytes()].concat();
            f.keys[2].2 = level.repeat(100);
        }),
        ("key flag: its bool is 2", |f| *f = f.clone().key("flag", BOOL, &[2])),
        ("key flags: a bool in its array is 9", |f| *f = f.clone().array("flags", BOOL, 2, &[1, 9])),
        ("key general.alignment: it is 0, expected a power of two", |f| {
            *f = f.clone().u32("general.alignment", 0);
        }),
        ("key general.alignment: it is 48", |f| *f = f.clone().u32("general.alignment", 48)),
        ("key general.alignment: it is of type u16", |f| {
            *f = f.clone().key("general.alignment", U16, &[32, 0]);
        }),
        ("before the alignment of 2147483648 bytes", |f| *f = f.clone().u32("general.alignment", 1 << 31)),
        ("tensor blk.0.attn_q.weight: named twice", |f| f.tensors[1].name = f.tensors[0].name.clone()),
        ("tensor 1 of 3: its name is not UTF-8", |f| f.tensors[0].name = vec![0xff]),
        ("tensor blk.0.attn_q.weight: its number of axes is 5", |f| f.tensors[0].ne = vec![1; 5]),
        ("tensor blk.0.attn_q.weight: its number of axes is 1000", |f| f.tensors[0].ne = vec![1; 1000]),
        ("tensor blk.0.attn_q.weight: its size along axis 1 is 0", |f| f.tensors[0].ne[1] = 0),
        ("tensor blk.0.attn_q.weight: its shape [4294967296, 4294967296] is beyond", |f| {
            f.tensors[0].ne = vec![1 << 32; 2];
        }),
        ("tensor blk.0.attn_q.weight: its shape [9223372036854775808] is beyond", |f| {
            f.tensors[0].ne = vec![1 << 63];
        }),
        ("tensor blk.0.attn_q.weight: its offset 0 and length of 4294967296 bytes leave the file", |f| {
            f.tensors[0].ne = vec![1 << 30];
        }),
        ("tensor blk.0.attn_q.weight: its offset 18446744073709551584", |f| {
            f.tensors[0].offset = Some(u64::MAX - 31);
        }),
        ("tensor blk.0.attn_q.weight: its offset 4096", |f| f.tensors[0].offset = Some(4096)),
        ("tensor blk.0.attn_q.weight: its offset 8 is not a multiple of the alignment 32", |f| {
            f.tensors[0].offset = Some(8);
        }),
        ("tensor blk.0.ffn_up_exps.weight: its bytes overlap with blk.0.attn_q.weight", |f| {
            f.tensors[1].offset = Some(32);
        }),
        ("its bytes overlap with", |f| f.tensors[2].offset = Some(0)),
        (
            "tensor blk.0.ffn_up_exps.weight: its rows have 16 entries, which Q8_0 cannot store: expected a multiple of 32",
            |f| {
                f.tensors[1].ne = vec![16, 2, 2];
            },
        ),
        ("tensor output_norm.weight: its offset 608 leave", |f| {
            f.tensors[2].ggml_type = 77;
            f.tensors[2].offset = Some(608);
        }),
    ];
    for (expected, spoil) in cases {
        let mut file = sound();
        spoil(&mut file);
        let message = refused(root.path(), &file.bytes());
        assert!(message.contains(expected), "{message}, expected {expected}");
    }
    let other = refused(root.path(), b"GGUF");
    assert!(other.contains("cut short: its version takes 4 bytes, but only 0 follow"), "{other}");
    let types = Gguf::model("llama").key("k", U32, &huge[..3]).bytes();
    assert!(refused(root.path(), &types).contains("key k: cut short: its value takes 4 bytes"));
}

#[test]
fn a_tensor_of_an_unknown_type_does_not_matter() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = tempfile::tempdir().unwrap();
    let side = |name: &str, value: f32| {
        let path = root.path().join(name);
        Gguf::model("llama")
            .raw("strange.weight", &[5, 7], 77, vec![1; 11])
            .add("blk.0.attn_q.weight", &[3, 4], Dtype::F32, &[value; 12])
            .raw("blk.0.odd_exps.weight", &[3, 5, 7], 78, vec![1; 11])
            .write(&path);
        Model::open(&path).unwrap()
    };
    let (base, tuned) = (side("base.gguf", 1.0), side("tuned.gguf", 2.0));
    let strange = base.tensor("strange.weight").unwrap();
    assert_eq!((strange.dtype_name(), strange.dtype(), strange.bytes().len()), ("type 77", None, 32));
    let mut filter = phlora::Filter::default();
    filter.exclude = vec![regex::Regex::new("strange|odd").unwrap()];
    let mut options = ExtractOptions::default();
    options.policy = Policy::fixed(1);
    options.format = AdapterFormat::Gguf;
    options.filter = filter;
    assert!(extract(&base, &tuned, &options, &Monitor::default()).is_ok());
}

#[test]
fn too_many_experts_are_refused() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = tempfile::tempdir().unwrap();
    let experts = |count: usize| {
        Gguf::default().raw("blk.0.ffn_up_exps.weight", &[count, 1, 1], 24, vec![0; count]).bytes()
    };
    // So many in any file, and one more for each 64 bytes.
    assert!(refused(root.path(), &experts(80_000)).contains("experts are more than 66787"));
    let path = root.path().join("few.gguf");
    fs::write(&path, experts(60_000)).unwrap();
    assert_eq!(Model::open(&path).unwrap().tensors().count(), 60_000);
}

#[test]
fn long_names_are_refused_before_experts_multiply_them() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = tempfile::tempdir().unwrap();
    let name = format!("blk.0.{}_exps.weight", "x".repeat(200_000));
    let bytes = Gguf::default().raw(&name, &[50_000, 1, 1], 24, vec![0; 50_000]).bytes();
    let (peak, message) = peak_of(|| refused(root.path(), &bytes));
    assert!(message.contains("200018 bytes long, more than 127"), "{message}");
    assert!(peak < BOUND, "{peak} bytes of heap");
}

/// Opens a file of these bytes and, if that works, extracts from it: refused or not, both are right.
fn read(path: &Path, bytes: &[u8], base: &Model) -> bool {
    // A new file each time: this process may still map the old one.
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
    let (peak, model) = peak_of(|| Model::open(path));
    assert!(peak < BOUND, "{peak} bytes of heap");
    let Ok(model) = model else { return false };
    let mut options = ExtractOptions::default();
    options.policy = Policy::fixed(1);
    options.format = AdapterFormat::Gguf;
    let _ = extract(base, &model, &options, &Monitor::default());
    true
}

#[test]
fn no_flipped_bit_and_no_length_panics() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let root = tempfile::tempdir().unwrap();
    let (good, bad) = (root.path().join("good.gguf"), root.path().join("bad.gguf"));
    sound().write(&good);
    let base = Model::open(&good).unwrap();
    let bytes = fs::read(&good).unwrap();
    let header = bytes.len() - (384 + 160 + 32);
    assert!(read(&bad, &bytes, &base));
    // The padding at its end belongs to no tensor.
    for length in 0..bytes.len() - 24 {
        assert!(!read(&bad, &bytes[..length], &base), "cut to {length} bytes");
    }
    for bit in 0..8 * header {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        read(&bad, &flipped, &base);
    }
}
