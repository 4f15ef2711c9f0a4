//! Merged models against an f64 reference, and byte for byte the base elsewhere.
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;
mod layouts;

use common::gguf::{Gguf, encode};
use common::llama::{Llama, NAMES, interleaved, noise};
use phlora::{
    Adapter, AdapterFormat, Dtype, Factor, Lora, LoraModule, MergeOptions, Model, Monitor, Naming, merge,
};
use phlora_core::Rows;
use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

const WIDTH: usize = 64;
const MODULES: [(&str, [usize; 2], usize); 3] = [
    ("model.layers.0.self_attn.q_proj", [WIDTH, WIDTH], 3),
    ("model.layers.0.self_attn.k_proj", [WIDTH / 2, WIDTH], 17),
    ("model.layers.0.mlp.up_proj", [2 * WIDTH, WIDTH], 1),
];

fn module(
    name: &str,
    [rows, cols]: [usize; 2],
    rank: usize,
    seed: u64,
    scale: f64,
    dtype: Dtype,
) -> LoraModule<'static> {
    let factor = |seed, shape: [usize; 2]| {
        let values: Vec<_> = noise(seed, shape[0] * shape[1]).iter().map(|value| 0.3 * value).collect();
        Factor::new(dtype, shape, encode(dtype, &values)).unwrap()
    };
    let (a, b) = (factor(seed, [rank, cols]), factor(seed + 1, [rows, rank]));
    LoraModule { scale, ..LoraModule::new(name.to_owned(), a, b) }
}

fn lora(modules: Vec<LoraModule<'static>>) -> Lora<'static> {
    Lora { base_name: Some("base".into()), ..Lora::new(modules, Naming::HuggingFace) }
}

fn small(seed: u64, scale: f64, dtype: Dtype) -> Lora<'static> {
    let modules = MODULES.iter().zip(0..);
    lora(
        modules
            .map(|((name, shape, rank), at)| module(name, *shape, *rank, seed + 10 * at, scale, dtype))
            .collect(),
    )
}

fn save(lora: &Lora<'_>, path: &Path) -> Adapter {
    lora.save(path, AdapterFormat::Peft, false, &Monitor::default()).unwrap();
    Adapter::open(path).unwrap()
}

fn merged(base: &Path, adapters: &[(&Adapter, f32)], out: &Path) -> Result<(), String> {
    with_threads(base, adapters, out, 2)
}

fn with_threads(base: &Path, adapters: &[(&Adapter, f32)], out: &Path, threads: usize) -> Result<(), String> {
    let mut options = MergeOptions::default();
    options.force = false;
    options.threads = NonZeroUsize::new(threads).unwrap();
    let base = Model::open(base).unwrap();
    merge(&base, adapters, out, &options, &Monitor::default()).map(drop).map_err(|e| e.to_string())
}

/// s·B·A of every module, in f64.
fn update(module: &LoraModule<'_>) -> Vec<f64> {
    let ([rows, cols], rank) = (module.shape(), module.rank());
    let (a, b) = (module.a.decoded().unwrap(), module.b.decoded().unwrap());
    let entry = |at: usize| {
        let (row, col) = (at / cols, at % cols);
        (0..rank).map(|k| f64::from(b[row * rank + k]) * f64::from(a[k * cols + col])).sum::<f64>()
    };
    (0..rows * cols).map(|at| module.scale * entry(at)).collect()
}

fn values(model: &Model, name: &str) -> Vec<f32> {
    let tensor = model.tensor(name).unwrap();
    let mut values = vec![0.0; tensor.len()];
    phlora_core::decode(Rows::new(tensor.dtype().unwrap(), tensor.bytes()), &mut values).unwrap();
    values
}

/// Checks every entry of every row by the rounding of the format.
fn assert_rounded(dtype: Dtype, found: &[f32], expected: &[f64], what: &str) {
    for (found, expected) in found.chunks(32).zip(expected.chunks(32)) {
        let most = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        for (&found, &expected) in found.iter().zip(expected) {
            // The sum itself is made in f32.
            let own = 1e-5 * (expected.abs() + 1.0);
            let rounding = match dtype {
                Dtype::F32 => 0.0,
                Dtype::F16 => expected.abs() / 2048.0,
                Dtype::Bf16 => expected.abs() / 256.0,
                // Half a step, and the rounding of the step to f16.
                Dtype::Q8_0 => most * (0.5 / 127.0 + 1.0 / 2048.0),
                // The largest entry is a level of -8, so that its opposite is cut to 7.
                _ => most * (1.0 / 8.0 + 1.0 / 2048.0),
            };
            let error = (f64::from(found) - expected).abs();
            assert!(error <= rounding + own, "{what} {dtype:?}: {found}, expected {expected}");
        }
    }
}

/// A single file of the given dtypes, as safetensors.
fn write_safetensors(path: &Path, model: &Llama, dtype: safetensors::Dtype) {
    let of = match dtype {
        safetensors::Dtype::F16 => Dtype::F16,
        safetensors::Dtype::BF16 => Dtype::Bf16,
        _ => Dtype::F32,
    };
    let bytes: BTreeMap<_, _> = model.0.iter().map(|(name, (_, v))| (name, encode(of, v))).collect();
    let views = model.0.iter().map(|(name, (shape, _))| {
        (name, safetensors::tensor::TensorView::new(dtype, shape.clone(), &bytes[name]).unwrap())
    });
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    fs::write(path, safetensors::serialize(views, metadata).unwrap()).unwrap();
}

/// All bytes outside of the merged tensors are the base's; something in each of them is not.
fn assert_only(base: &Path, out: &Path, changed: &[&str]) {
    let (before, after) = (fs::read(base).unwrap(), fs::read(out).unwrap());
    assert_eq!(before.len(), after.len());
    let model = Model::open(base).unwrap();
    let origin = fs::read(base).unwrap();
    let mut mask = vec![false; before.len()];
    for name in changed {
        let bytes = model.tensor(name).unwrap().bytes();
        let at = origin.windows(bytes.len()).position(|window| window == bytes).unwrap();
        mask[at..at + bytes.len()].fill(true);
        assert_ne!(before[at..at + bytes.len()], after[at..at + bytes.len()], "{name}");
    }
    for (at, changes) in mask.iter().enumerate() {
        assert!(*changes || before[at] == after[at], "byte {at}");
    }
}

#[test]
fn checkpoints_of_every_format_equal_the_reference() {
    let root = tempfile::tempdir().unwrap();
    let model = Llama::new(WIDTH, 1);
    let first = save(&small(1000, 0.5, Dtype::F32), &root.path().join("one"));
    let second = save(&small(2000, 2.0, Dtype::F16), &root.path().join("two"));
    for (dtype, of) in [
        (safetensors::Dtype::F32, Dtype::F32),
        (safetensors::Dtype::F16, Dtype::F16),
        (safetensors::Dtype::BF16, Dtype::Bf16),
    ] {
        let base = root.path().join(format!("{}.safetensors", of.name()));
        write_safetensors(&base, &model, dtype);
        for (terms, name) in [(vec![(&first, 1.0)], "a"), (vec![(&first, -0.75), (&second, 1.5)], "b")] {
            let out = root.path().join(format!("{name}-{}.safetensors", of.name()));
            with_threads(&base, &terms, &out, 1).unwrap();
            let changed = MODULES.map(|(name, ..)| format!("{name}.weight"));
            assert_only(&base, &out, &changed.each_ref().map(String::as_str));
            let again = root.path().join("again.safetensors");
            with_threads(&base, &terms, &again, 5).unwrap();
            assert_eq!(fs::read(&out).unwrap(), fs::read(&again).unwrap());
            fs::remove_file(again).unwrap();
            let (before, after) = (Model::open(&base).unwrap(), Model::open(&out).unwrap());
            for (index, name) in changed.iter().enumerate() {
                let mut expected: Vec<_> = values(&before, name).into_iter().map(f64::from).collect();
                for (adapter, weight) in &terms {
                    let lora = adapter.lora().unwrap();
                    let module = lora.modules.iter().find(|module| module.name == MODULES[index].0).unwrap();
                    for (sum, more) in expected.iter_mut().zip(update(module)) {
                        *sum += f64::from(*weight) * more;
                    }
                }
                assert_rounded(of, &values(&after, name), &expected, name);
            }
        }
    }
}

#[test]
fn gguf_files_take_adapters_of_either_format() {
    let root = tempfile::tempdir().unwrap();
    let model = Llama::new(WIDTH, 1);
    let adapter = save(&small(1000, 0.5, Dtype::F32), &root.path().join("peft"));
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::Q8_0, Dtype::Q4_0] {
        let base = model.write_gguf(&root.path().join(format!("{}.gguf", dtype.name())), dtype);
        let out = root.path().join(format!("out-{}.gguf", dtype.name()));
        merged(&base, &[(&adapter, 1.0)], &out).unwrap();
        let (before, after) = (Model::open(&base).unwrap(), Model::open(&out).unwrap());
        let lora = adapter.lora().unwrap();
        let mut changed = Vec::new();
        for module in &lora.modules {
            let (_, gguf, heads) =
                NAMES.iter().find(|(name, ..)| *name == format!("{}.weight", module.name)).unwrap();
            changed.push(*gguf);
            let mut added: Vec<f32> = update(module).iter().map(|value| *value as f32).collect();
            if *heads > 0 {
                added = interleaved(&added, module.shape()[0], *heads);
            }
            let expected: Vec<_> = values(&before, gguf)
                .iter()
                .zip(added)
                .map(|(base, added)| f64::from(*base) + f64::from(added))
                .collect();
            assert_rounded(dtype, &values(&after, gguf), &expected, gguf);
        }
        assert_only(&base, &out, &changed);
        // The same adapter under the names of the file.
        let names = phlora::NameMap::new("llama", Model::open(&base).unwrap().config().heads).unwrap();
        let path = root.path().join(format!("adapter-{}.gguf", dtype.name()));
        let converted = adapter.lora().unwrap().to_gguf(&names, 0).unwrap();
        converted.save(&path, AdapterFormat::Gguf, false, &Monitor::default()).unwrap();
        let same = root.path().join(format!("same-{}.gguf", dtype.name()));
        merged(&base, &[(&Adapter::open(&path).unwrap(), 1.0)], &same).unwrap();
        assert_eq!(fs::read(&out).unwrap(), fs::read(&same).unwrap());
    }
}

#[test]
fn a_gguf_adapter_merges_into_a_checkpoint() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(WIDTH, 1).write_checkpoint(&root.path().join("base"), "llama");
    let peft = save(&small(1000, 0.5, Dtype::F32), &root.path().join("peft"));
    let names = phlora::NameMap::new("llama", Model::open(&base).unwrap().config().heads).unwrap();
    let path = root.path().join("adapter.gguf");
    let converted = peft.lora().unwrap().to_gguf(&names, 0).unwrap();
    converted.save(&path, AdapterFormat::Gguf, false, &Monitor::default()).unwrap();
    let outs = ["one", "two"].map(|name| root.path().join(name));
    for (adapter, out) in [&peft, &Adapter::open(&path).unwrap()].iter().zip(&outs) {
        merged(&base, &[(*adapter, 1.0)], out).unwrap();
        assert_eq!(fs::read(base.join("config.json")).unwrap(), fs::read(out.join("config.json")).unwrap());
    }
    let [one, two] = outs.map(|out| fs::read(out.join("model.safetensors")).unwrap());
    assert_eq!(one, two);
}

#[test]
fn split_models_become_directories_of_the_same_parts() {
    let root = tempfile::tempdir().unwrap();
    let whole = Llama::new(WIDTH, 1).gguf("llama", Dtype::F16, true);
    let (mut first, mut second) = (whole.clone().split(0, 2, 9), Gguf::default().split(1, 2, 9));
    second.tensors = first.tensors.split_off(3);
    let part = |at: usize| format!("m-0000{at}-of-00002.gguf");
    let base: PathBuf = root.path().join("base");
    fs::create_dir(&base).unwrap();
    first.write(&base.join(part(1)));
    second.write(&base.join(part(2)));
    fs::write(base.join("stranger.txt"), "not of the model").unwrap();
    whole.write(&root.path().join("whole.gguf"));
    let adapter = save(&small(1000, 0.5, Dtype::F32), &root.path().join("peft"));
    let (out, one) = (root.path().join("out"), root.path().join("one.gguf"));
    merged(&base.join(part(2)), &[(&adapter, 1.0)], &out).unwrap();
    merged(&root.path().join("whole.gguf"), &[(&adapter, 1.0)], &one).unwrap();
    assert!(!out.join("stranger.txt").exists());
    let (split, one) = (Model::open(&out).unwrap(), Model::open(&one).unwrap());
    assert_eq!(split.files().count(), 2);
    for (name, tensor) in one.tensors() {
        assert_eq!(tensor.bytes(), split.tensor(name).unwrap().bytes(), "{name}");
    }
}
