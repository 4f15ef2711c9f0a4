//! GGUF models as they come: versions, alignments, splits, directories, block formats, experts.
#![allow(missing_docs)]

mod common;

use common::gguf::{ARRAY, Gguf, STRING, U32, encode, string};
use phlora::{Container, Contents, Expert, Heads, Kind, Model, inspect};
use phlora_core::Dtype;
use std::fs;
use std::path::Path;

fn values(n: usize) -> Vec<f32> {
    (0..n).map(|i| (i % 17) as f32 / 8.0 - 1.0).collect()
}

fn opened(root: &Path, file: &Gguf) -> Model {
    let path = root.join("m.gguf");
    file.write(&path);
    Model::open(&path).unwrap()
}

#[test]
fn versions_and_alignments() {
    let root = tempfile::tempdir().unwrap();
    for (version, alignment) in [(2, 32), (3, 32), (3, 1), (3, 8), (3, 256), (3, 4096)] {
        let mut file = Gguf::model("llama")
            .array("tokenizer.ggml.tokens", STRING, 2, &[string(b"\xff"), string("ü".as_bytes())].concat())
            .array("nested", ARRAY, 2, &[[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; 2].concat());
        file.version = version;
        if alignment != 32 {
            file = file.align(alignment);
        }
        let file = file
            .add("blk.0.attn_q.weight", &[3, 5], Dtype::F32, &values(15))
            .add("output_norm.weight", &[5], Dtype::F16, &values(5))
            .add("scalar", &[], Dtype::Bf16, &[2.0]);
        let model = opened(root.path(), &file);
        let expected = Container::Gguf { version, architecture: Some("llama".into()) };
        assert_eq!(*model.container(), expected, "alignment {alignment}");
        let names: Vec<_> = model.tensors().map(|(name, _)| name).collect();
        assert_eq!(names, ["blk.0.attn_q.weight", "output_norm.weight", "scalar"]);
        for tensor in &file.tensors {
            let found = model.tensor(std::str::from_utf8(&tensor.name).unwrap()).unwrap();
            assert_eq!(found.bytes(), tensor.bytes, "alignment {alignment}");
        }
        let q = model.tensor("blk.0.attn_q.weight").unwrap();
        assert_eq!((q.shape(), q.dtype(), q.dtype_name()), (&[3, 5][..], Some(Dtype::F32), "F32"));
        assert_eq!(model.tensor("scalar").unwrap().shape(), [0; 0]);
    }
}

#[test]
fn the_order_of_the_table_is_not_that_of_the_data() {
    let root = tempfile::tempdir().unwrap();
    let mut file = Gguf::default()
        .add("a.weight", &[8], Dtype::F32, &values(8))
        .add("b.weight", &[8], Dtype::F32, &[7.0; 8])
        .add("c.weight", &[8], Dtype::F32, &[0.0; 8]);
    for (at, offset) in [(0, 32), (1, 0), (2, 64)] {
        file.tensors[at].offset = Some(offset);
    }
    let model = opened(root.path(), &file);
    assert_eq!(model.tensor("b.weight").unwrap().bytes(), file.tensors[0].bytes);
    assert_eq!(model.tensor("a.weight").unwrap().bytes(), file.tensors[1].bytes);
}

#[test]
fn any_part_of_a_split_opens_the_model() {
    let root = tempfile::tempdir().unwrap();
    let path = |n: u16, count: u16| root.path().join(format!("m-{n:05}-of-{count:05}.gguf"));
    let part = |n: u16| {
        let file = if n == 0 { Gguf::model("llama") } else { Gguf::default() };
        file.split(n, 3, 3).add(&format!("blk.{n}.attn_q.weight"), &[2, 4], Dtype::F32, &values(8))
    };
    for n in 0..3 {
        part(n).write(&path(n + 1, 3));
    }
    let opened = [path(1, 3), path(2, 3), path(3, 3), root.path().to_owned()].map(|path| {
        let model = Model::open(&path).unwrap();
        assert_eq!(*model.container(), Container::Gguf { version: 3, architecture: Some("llama".into()) });
        (model.tensors().count(), model.files().count())
    });
    assert_eq!(opened, [(3, 3); 4]);

    let refused = |path: &Path| Model::open(path).unwrap_err().to_string();
    let other_name = root.path().join("renamed.gguf");
    fs::copy(path(1, 3), &other_name).unwrap();
    assert!(refused(&other_name).contains("file 1 of 3 of a split model, but its name"));
    assert!(refused(root.path()).contains("2 GGUF models in this directory; name one of them: m-00001"));
    for (file, expected) in [
        (part(1).split(9, 9, 9), "named twice"),
        (
            Gguf::default().add("x", &[1], Dtype::F32, &[1.0]),
            "it does not belong to a split model, expected file 2 of 3",
        ),
        (Gguf::default().split(2, 3, 3), "it is file 3 of 3 of a model of 3 tensors, expected file 2 of 3"),
        (Gguf::default().split(1, 3, 4), "it is file 2 of 3 of a model of 4 tensors"),
        (Gguf::default().split(1, 3, 3), "key split.tensors.count: it is 3, but the files hold 2"),
        (part(0), "it is file 1 of 3"),
        (Gguf::default().split(1, 3, 3).add("blk.0.attn_q.weight", &[1], Dtype::F32, &[1.0]), "also in"),
    ] {
        file.write(&path(2, 3));
        let message = refused(&path(1, 3));
        assert!(message.contains(expected), "{message}");
    }
    fs::remove_file(path(2, 3)).unwrap();
    assert!(refused(&path(1, 3)).contains("file 2 of 3, "), "{}", refused(&path(1, 3)));
    Gguf::default().split(0, 3, 0).write(&path(2, 3));
    assert!(refused(&path(2, 3)).contains("key split.no: it is 0, but by its name 1"));
    let lacking = Gguf::default().key("split.count", 2, &[3, 0]);
    lacking.write(&path(2, 3));
    assert!(refused(&path(2, 3)).contains("lacks the key split.tensors.count"));
}

#[test]
fn every_block_format_has_its_size() {
    let root = tempfile::tempdir().unwrap();
    let mut file = Gguf::default();
    for dtype in Dtype::ALL {
        let cols = 2 * dtype.block_len();
        let bytes = vec![0; 3 * dtype.row_bytes(cols).unwrap()];
        file = file.raw(dtype.name(), &[3, cols], dtype.ggml_type(), bytes);
    }
    let model = opened(root.path(), &file);
    for dtype in Dtype::ALL {
        let tensor = model.tensor(dtype.name()).unwrap();
        assert_eq!(tensor.dtype(), Some(*dtype));
        assert_eq!(tensor.dtype_name(), dtype.name());
        assert_eq!(Some(tensor.bytes().len()), dtype.row_bytes(tensor.len()));
    }
}

#[test]
fn each_expert_is_a_matrix() {
    let root = tempfile::tempdir().unwrap();
    let all = values(3 * 2 * 32);
    let file = Gguf::model("llama").add("blk.0.ffn_up_exps.weight", &[3, 2, 32], Dtype::Q8_0, &all).add(
        "blk.0.ffn_gate_inp.weight",
        &[3, 4],
        Dtype::F32,
        &values(12),
    );
    let model = opened(root.path(), &file);
    assert!(model.tensor("blk.0.ffn_up_exps.weight").is_none());
    for index in 0..3 {
        let expert = model.tensor(&format!("blk.0.ffn_up_exps.{index}.weight")).unwrap();
        assert_eq!(expert.shape(), [2, 32]);
        assert_eq!(expert.expert(), Some(Expert { index, count: 3 }));
        assert_eq!(expert.bytes(), encode(Dtype::Q8_0, &all[index * 64..][..64]));
    }
    let Contents::Model(facts) = inspect(model.path()).unwrap() else { panic!("a model") };
    assert_eq!((facts.total.tensors, facts.total.parameters), (2, 192 + 12));
    assert_eq!(facts.kinds[&Kind::Linear].tensors, 2);
    assert_eq!(facts.dtypes["Q8_0"].bytes, 6 * 34);
}

#[test]
fn a_directory_needs_one_model() {
    let root = tempfile::tempdir().unwrap();
    let one = Gguf::model("llama").add("output_norm.weight", &[1], Dtype::F32, &[1.0]);
    one.write(&root.path().join("a.gguf"));
    assert_eq!(Model::open(root.path()).unwrap().config().tied, Some(false));
    one.write(&root.path().join("b.gguf"));
    let message = Model::open(root.path()).unwrap_err().to_string();
    assert!(
        message.ends_with("2 GGUF models in this directory; name one of them: a.gguf, b.gguf"),
        "{message}"
    );
    let tied = one.add("token_embd.weight", &[2, 1], Dtype::F32, &[1.0; 2]);
    assert_eq!(opened(root.path(), &tied).config().tied, Some(true));
}

#[test]
fn heads_come_from_the_keys() {
    let root = tempfile::tempdir().unwrap();
    let model = || Gguf::model("llama");
    let (queries, keys) = ("llama.attention.head_count", "llama.attention.head_count_kv");
    let counts = |counts: [u32; 3]| counts.map(u32::to_le_bytes).concat();
    let both = |queries, keys| Some(Heads { queries, keys });
    for (file, expected) in [
        (model(), None),
        (model().u32(queries, 8), both(8, 8)),
        (model().u32(queries, 8).u32(keys, 2), both(8, 2)),
        (model().u32(queries, 0), None),
        (model().array(queries, U32, 3, &counts([8; 3])).array(keys, U32, 3, &counts([2; 3])), both(8, 2)),
        // Not the same in every layer: no number for all.
        (model().array(queries, U32, 3, &counts([8, 4, 8])), None),
        (model().array(queries, U32, 0, &[]), None),
        (model().str(queries, "8"), None),
        (Gguf::model("qwen2").u32(queries, 8), None),
    ] {
        assert_eq!(opened(root.path(), &file).config().heads, expected, "{:?}", file.keys);
    }
}
