//! DoRA adapters against an f64 reference: merged into a checkpoint and into the GGUF file of it, and as LoRA at a rank.
#![allow(missing_docs)]

mod common;

use common::gguf::encode;
use common::llama::{Llama, noise};
use phlora::{
    Adapter, AdapterFormat, ConvertOptions, Dtype, Factor, Lora, LoraModule, MergeOptions, Model, Monitor,
    Naming, convert, merge,
};
use phlora_core::Rows;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const WIDTH: usize = 64;
const RANK: usize = 3;
const MODULES: [(&str, [usize; 2]); 3] = [
    ("model.layers.0.self_attn.q_proj", [WIDTH, WIDTH]),
    ("model.layers.0.self_attn.k_proj", [WIDTH / 2, WIDTH]),
    ("model.layers.0.mlp.up_proj", [2 * WIDTH, WIDTH]),
];
const SCALE: f64 = 1.5;

fn factors(at: usize) -> (Vec<f32>, Vec<f32>) {
    let (_, [rows, cols]) = MODULES[at];
    let seed = 900 + 20 * at as u64;
    let small = |seed, len| noise(seed, len).iter().map(|value| 0.2 * value).collect::<Vec<_>>();
    (small(seed, RANK * cols), small(seed + 1, rows * RANK))
}

/// Norms of the base's rows, each a little changed.
fn magnitudes(base: &Llama, at: usize) -> Vec<f32> {
    let (name, [_, cols]) = MODULES[at];
    let weight = &base.0[&format!("{name}.weight")].1;
    let norm = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>().sqrt();
    let moved = noise(7 + at as u64, weight.len() / cols);
    weight.chunks(cols).zip(moved).map(|(row, moved)| norm(row) * (1.0 + 0.1 * moved)).collect()
}

/// What the module `at` makes of its weight, less that weight.
fn change(base: &Llama, at: usize) -> Vec<f64> {
    let (name, [_, cols]) = MODULES[at];
    let ((a, b), magnitudes) = (factors(at), magnitudes(base, at));
    let weight = &base.0[&format!("{name}.weight")].1;
    let mut change = Vec::new();
    for (row, values) in weight.chunks(cols).enumerate() {
        let sum = |col: usize| {
            let product: f64 =
                (0..RANK).map(|k| f64::from(b[row * RANK + k]) * f64::from(a[k * cols + col])).sum();
            f64::from(values[col]) + SCALE * product
        };
        let sums: Vec<_> = (0..cols).map(sum).collect();
        let norm = sums.iter().map(|value| value * value).sum::<f64>().sqrt();
        let factor = f64::from(magnitudes[row]) / norm;
        change.extend(sums.iter().zip(values).map(|(sum, value)| factor * sum - f64::from(*value)));
    }
    change
}

/// The adapter as PEFT writes it: pairs, magnitudes, and a configuration that says so.
fn write(base: &Llama, path: &Path) -> PathBuf {
    let factor = |shape, values: &[f32]| Factor::new(Dtype::F32, shape, encode(Dtype::F32, values)).unwrap();
    let modules = MODULES.iter().enumerate().map(|(at, (name, [rows, cols]))| {
        let (a, b) = factors(at);
        let (a, b) = (factor([RANK, *cols], &a), factor([*rows, RANK], &b));
        LoraModule { scale: SCALE, ..LoraModule::new(*name, a, b) }
    });
    let lora = Lora::new(modules.collect(), Naming::HuggingFace);
    lora.save(path, AdapterFormat::Peft, false, &Monitor::default()).unwrap();
    let config = path.join("adapter_config.json");
    let text = fs::read_to_string(&config).unwrap();
    let said = text.replace("\"use_dora\": false", "\"use_dora\": true");
    assert_ne!(text, said);
    fs::write(config, said).unwrap();

    let file = path.join("adapter_model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = stored
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), view.data().to_vec())))
        .collect();
    for (at, (name, [rows, _])) in MODULES.iter().enumerate() {
        let values = encode(Dtype::F32, &magnitudes(base, at));
        tensors.insert(format!("base_model.model.{name}.lora_magnitude_vector"), (vec![*rows], values));
    }
    rewrite(&file, &tensors);
    path.to_owned()
}

fn rewrite(file: &Path, tensors: &BTreeMap<String, (Vec<usize>, Vec<u8>)>) {
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn values(model: &Model, name: &str) -> Vec<f32> {
    let tensor = model.tensor(name).unwrap();
    let mut values = vec![0.0; tensor.len()];
    phlora_core::decode(Rows::new(tensor.dtype().unwrap(), tensor.bytes()), &mut values).unwrap();
    values
}

fn assert_close(found: &[f32], expected: impl Iterator<Item = f64>, what: &str) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (f64::from(*found) - expected).abs();
        assert!(error <= 2e-6 * (1.0 + expected.abs()), "{what}, entry {at}: {found}, expected {expected}");
    }
}

#[test]
fn it_is_merged_exactly() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(WIDTH, 1);
    let path = base.write_checkpoint(&root.path().join("base"), "llama");
    let adapter = Adapter::open(&write(&base, &root.path().join("dora"))).unwrap();
    let model = Model::open(&path).unwrap();
    for strength in [1.0_f32, 0.5] {
        let out = root.path().join(format!("merged-{strength}"));
        merge(&model, &[(&adapter, strength)], &out, &MergeOptions::default(), &Monitor::default()).unwrap();
        let merged = Model::open(&out).unwrap();
        for (at, (name, _)) in MODULES.iter().enumerate() {
            let name = format!("{name}.weight");
            let before = base.0[&name].1.iter().map(|value| f64::from(*value));
            let expected =
                before.zip(change(&base, at)).map(|(before, change)| before + f64::from(strength) * change);
            assert_close(&values(&merged, &name), expected, &name);
        }
        let other = "model.layers.0.self_attn.o_proj.weight";
        assert_eq!(values(&merged, other), base.0[other].1);
    }
}

#[test]
fn rows_of_gguf_files_keep_their_magnitudes() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(WIDTH, 1);
    let checkpoint = base.write_checkpoint(&root.path().join("base"), "llama");
    let file = base.write_gguf(&root.path().join("base.gguf"), Dtype::F32);
    let adapter = Adapter::open(&write(&base, &root.path().join("dora"))).unwrap();
    let merged = |base: &Path, out: &str| {
        let out = root.path().join(out);
        let model = Model::open(base).unwrap();
        merge(&model, &[(&adapter, 1.0)], &out, &MergeOptions::default(), &Monitor::default()).unwrap();
        Model::open(&out).unwrap()
    };
    let (own, other) = (merged(&checkpoint, "merged"), merged(&file, "merged.gguf"));
    // A GGUF file names the rows of q and k in another order; that of norms does not change.
    let q = values(&other, "blk.0.attn_q.weight");
    let q = common::llama::interleaved(
        &values(&own, "model.layers.0.self_attn.q_proj.weight"),
        WIDTH,
        common::llama::HEADS,
    )
    .into_iter()
    .zip(q);
    for (expected, found) in q {
        assert!((expected - found).abs() < 1e-5, "{expected} {found}");
    }
    assert_close(
        &values(&other, "blk.0.ffn_up.weight"),
        values(&own, "model.layers.0.mlp.up_proj.weight").into_iter().map(f64::from),
        "up_proj",
    );
}

#[test]
fn it_becomes_lora_at_a_rank() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(WIDTH, 1);
    let path = base.write_checkpoint(&root.path().join("base"), "llama");
    let adapter = Adapter::open(&write(&base, &root.path().join("dora"))).unwrap();
    let mut options = ConvertOptions::new(AdapterFormat::Peft);
    let refused = convert(&adapter, &root.path().join("no"), &options, &Monitor::default()).unwrap_err();
    assert!(refused.to_string().contains("becomes LoRA at a rank"), "{refused}");
    options.rank = Some(8);
    let refused = convert(&adapter, &root.path().join("no"), &options, &Monitor::default()).unwrap_err();
    assert!(refused.to_string().contains("its base is needed"), "{refused}");
    options.base = Some(path);
    // All of a change is in as many directions as it has columns.
    let mut before = 0.0;
    for rank in [8, 32, WIDTH] {
        options.rank = Some(rank);
        let out = root.path().join(format!("lora-{rank}"));
        let done = convert(&adapter, &out, &options, &Monitor::default()).unwrap();
        let energy = done.energy.unwrap();
        assert!(energy > before && energy <= 1.0 + 1e-6, "{rank}: {energy} after {before}");
        before = energy;
        let written = Adapter::open(&out).unwrap();
        let (mut rest, mut all) = (0.0, 0.0);
        for module in written.lora().unwrap().modules {
            let at = MODULES.iter().position(|(name, _)| *name == module.name).unwrap();
            let ([rows, cols], rank) = (module.shape(), module.rank());
            let (a, b) = (module.a.decoded().unwrap(), module.b.decoded().unwrap());
            let wanted = change(&base, at);
            for (row, wanted) in wanted.chunks(cols).enumerate().take(rows) {
                for (col, wanted) in wanted.iter().enumerate() {
                    let found: f64 =
                        (0..rank).map(|k| f64::from(b[row * rank + k]) * f64::from(a[k * cols + col])).sum();
                    rest += (wanted - module.scale * found).powi(2);
                    all += wanted.powi(2);
                }
            }
        }
        assert!((1.0 - rest / all - energy).abs() < 1e-4, "{rank}: {energy}, measured {}", 1.0 - rest / all);
    }
    assert!(before > 1.0 - 1e-6, "{before}");
}

#[test]
fn what_does_not_know_the_base_refuses_it() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(WIDTH, 1);
    let path = write(&base, &root.path().join("dora"));
    let adapter = Adapter::open(&path).unwrap();
    let refused = adapter.lora().unwrap_err().to_string();
    assert!(refused.contains("DoRA") && refused.contains("lora_magnitude_vector"), "{refused}");

    // One magnitude too few, and none at all.
    let file = path.join("adapter_model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = stored
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), view.data().to_vec())))
        .collect();
    let name = format!("base_model.model.{}.lora_magnitude_vector", MODULES[0].0);
    tensors.insert(name.clone(), (vec![WIDTH - 1], vec![0; 4 * (WIDTH - 1)]));
    rewrite(&file, &tensors);
    let refused = Adapter::open(&path).unwrap_err().to_string();
    assert!(refused.contains(&name) && refused.contains("63 magnitudes"), "{refused}");
    tensors.remove(&name);
    rewrite(&file, &tensors);
    let refused = Adapter::open(&path).unwrap_err().to_string();
    assert!(refused.contains("its lora_magnitude_vector is missing"), "{refused}");
}
