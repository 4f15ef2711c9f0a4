//! A checkpoint beside a GGUF file of the same model: the same adapter to the bit as from two checkpoints.
#![allow(missing_docs)]

mod common;

use common::gguf::Gguf;
use common::llama::{HEADS, Llama, interleaved, noise};
use phlora::{
    Adapter, AdapterFormat, ChannelScales, Error, Expert, ExtractJob, ExtractOptions, Extraction, Filter,
    LeftOut, Model, Monitor, Output, Report, extract, save, verify,
};
use phlora_core::Dtype;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

/// For a device that runs `deployed`.
fn extract_deployed(base: &Model, tuned: &Model, deployed: &Model) -> Extraction {
    let job = ExtractJob::new(base, tuned).deployed_base(deployed).options(options());
    job.extract(&Monitor::default()).unwrap().remove(0)
}

fn options() -> ExtractOptions {
    let mut options = ExtractOptions::default();
    options.policy = phlora::Policy::fixed(4);
    options.dtype = Dtype::F32;
    // In the metadata of the adapter.
    options.base_name = Some("base".into());
    options
}

/// The written factors and the report.
fn written(root: &Path, extraction: &Extraction) -> (Vec<u8>, Report) {
    let output = Output::new(root.join("out")).force(true);
    let report = save(extraction, &output, &Monitor::default()).unwrap();
    (fs::read(root.join("out/adapter_model.safetensors")).unwrap(), report)
}

fn extracted(root: &Path, base: &Model, tuned: &Model) -> (Vec<u8>, Report) {
    written(root, &extract(base, tuned, &options(), &Monitor::default()).unwrap())
}

fn refused(base: &Model, tuned: &Model) -> String {
    extract(base, tuned, &options(), &Monitor::default()).unwrap_err().to_string()
}

fn only(pattern: &str) -> Filter {
    let mut filter = Filter::default();
    filter.include.push(regex::Regex::new(pattern).unwrap());
    filter
}

fn left_out<'r>(report: &'r Report, name: &str) -> &'r LeftOut {
    report.left_out.iter().find(|tensor| tensor.name == name).expect(name)
}

#[test]
fn any_mix_of_sides_gives_the_same_adapter() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(32, 1);
    let tuned = base.plus(&Llama::new(32, 2));
    let checkpoint = |model: &Llama, name: &str| {
        Model::open(&model.write_checkpoint(&root.path().join(name), "llama")).unwrap()
    };
    let gguf = |model: &Llama, name: &str| {
        Model::open(&model.write_gguf(&root.path().join(name), Dtype::F32)).unwrap()
    };
    let checkpoints = [checkpoint(&base, "base"), checkpoint(&tuned, "tuned")];
    let ggufs = [gguf(&base, "base.gguf"), gguf(&tuned, "tuned.gguf")];
    let (expected, report) = extracted(root.path(), &checkpoints[0], &checkpoints[1]);
    assert_eq!(report.modules.len(), 4);
    for (base, tuned) in [(&checkpoints[0], &ggufs[1]), (&ggufs[0], &checkpoints[1])] {
        let (bytes, mixed) = extracted(root.path(), base, tuned);
        assert!(bytes == expected);
        assert_eq!(mixed.modules, report.modules);
        // The permuted bias and the norms as well.
        assert_eq!(mixed.left_out, report.left_out);
    }
    // Two GGUF files keep their own names and order, which changes neither norms nor what is kept.
    let own = extract(&ggufs[0], &ggufs[1], &options(), &Monitor::default()).unwrap().total();
    assert!((own.energy - report.total.energy).abs() < 1e-5);
    assert!((own.delta_norm - report.total.delta_norm).abs() < 1e-9);
    // A model against itself, in the other container.
    assert!(matches!(
        extract(&checkpoints[0], &ggufs[0], &options(), &Monitor::default()),
        Err(Error::NothingToExtract { why, .. }) if why.starts_with("all 9 tensors")
    ));
}

#[test]
fn threads_and_blocks_do_not_change_a_bit_of_gathered_rows() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(1024, 1);
    let tuned = base.plus(&Llama::new(1024, 2));
    let base = Model::open(&base.write_checkpoint(&root.path().join("base"), "llama")).unwrap();
    let tuned = Model::open(&tuned.write_gguf(&root.path().join("t.gguf"), Dtype::Q8_0)).unwrap();
    let (filter, mut first) = (only("q_proj"), None);
    for (threads, chunk_bytes) in [(1, 1 << 20), (4, 1 << 30), (2, 1)] {
        let mut options = options();
        options.threads = NonZeroUsize::new(threads).unwrap();
        options.chunk_bytes = chunk_bytes;
        options.filter.clone_from(&filter);
        let extraction = extract(&base, &tuned, &options, &Monitor::default()).unwrap();
        let (bytes, _) = written(root.path(), &extraction);
        let first = first.get_or_insert_with(|| bytes.clone());
        assert!(*first == bytes, "{threads} threads, chunks of {chunk_bytes} bytes");
    }
}

#[test]
fn a_deployed_base_is_repaired() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(64, 1);
    let mut tuned = base.plus(&Llama::new(64, 2));
    // Not fine-tuned, but to be repaired.
    let name = "model.layers.0.mlp.up_proj.weight";
    tuned.0.insert(name.into(), base.0[name].clone());
    let checkpoint = |model: &Llama, name: &str| {
        Model::open(&model.write_checkpoint(&root.path().join(name), "llama")).unwrap()
    };
    for dtype in [Dtype::Q8_0, Dtype::Q4_0] {
        let deployed = Model::open(&base.write_gguf(&root.path().join("q.gguf"), dtype)).unwrap();
        let (b, t) = (checkpoint(&base, "base"), checkpoint(&tuned, "tuned"));
        // The blocks are of rows, so permuted rows hold the same.
        let d = checkpoint(&base.through(dtype), "decoded");
        let (expected, plain) = extracted(root.path(), &d, &t);
        let extraction = extract_deployed(&b, &t, &deployed);
        let (bytes, report) = written(root.path(), &extraction);
        assert!(bytes == expected, "{dtype:?}");
        assert_eq!(report.modules.len(), 4);
        assert_eq!((plain.total.tuning_norm, plain.total.repair_norm), (None, None));
        for (module, other) in report.modules.iter().zip(&plain.modules) {
            assert_eq!(module.delta_norm, other.delta_norm);
            let (tuning, repair) = (module.tuning_norm.unwrap(), module.repair_norm.unwrap());
            assert_eq!(tuning == 0.0, module.name.ends_with("up_proj"));
            let sum = (tuning.powi(2) + repair.powi(2)).sqrt();
            assert!((sum / module.delta_norm - 1.0).abs() < 0.1, "{module:?}");
        }
        let distance = |x: &Llama, y: &Llama| {
            let names = report.modules.iter().map(|m| format!("{}.weight", m.name));
            let squares = |name: &String| -> f64 {
                x.0[name].1.iter().zip(&y.0[name].1).map(|(x, y)| f64::from(y - x).powi(2)).sum()
            };
            names.map(|name| squares(&name)).sum::<f64>().sqrt()
        };
        for (found, expected) in [
            (report.total.tuning_norm, distance(&base, &tuned)),
            (report.total.repair_norm, distance(&base.through(dtype), &base)),
        ] {
            assert!((found.unwrap() / expected - 1.0).abs() < 1e-9, "{found:?} {expected}");
        }
    }
    // All three as GGUF files.
    let open = |model: &Llama, name: &str, dtype| {
        Model::open(&model.write_gguf(&root.path().join(name), dtype)).unwrap()
    };
    let (b, t) = (open(&base, "b.gguf", Dtype::F16), open(&tuned, "t.gguf", Dtype::F16));
    let q = open(&base, "q4.gguf", Dtype::Q4_0);
    let extraction = extract_deployed(&b, &t, &q);
    let total = extraction.total();
    assert!(total.repair_norm.unwrap() > total.tuning_norm.unwrap());
}

/// Norms that the conversion changes, and what is only known to one side.
#[test]
fn what_gguf_stores_otherwise_is_not_compared() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(32, 1);
    let tuned = base.plus(&Llama::new(32, 2));
    let base = Model::open(&base.write_checkpoint(&root.path().join("base"), "gemma2")).unwrap();
    let path = root.path().join("t.gguf");
    tuned
        .gguf("gemma2", Dtype::F16, false)
        .add("blk.0.ffn_gate.weight", &[4, 32], Dtype::F16, &[0.0; 128])
        .write(&path);
    let (_, report) = extracted(root.path(), &base, &Model::open(&path).unwrap());
    assert_eq!(report.modules.len(), 4);
    for name in ["model.norm.weight", "output_norm.weight", "model.layers.0.input_layernorm.weight"] {
        let tensor = left_out(&report, name);
        assert_eq!((tensor.group(), tensor.delta_norm), ("not compared", None));
    }
    assert_eq!(left_out(&report, "model.layers.0.mlp.gate_proj.weight").reason, "only in tuned");
}

#[test]
fn models_that_do_not_belong_together() {
    let root = tempfile::tempdir().unwrap();
    let model = Llama::new(32, 1);
    let checkpoint = |model_type: &str| {
        Model::open(&model.write_checkpoint(&root.path().join(model_type), model_type)).unwrap()
    };
    let gguf = |name: &str, file: Gguf| {
        let path = root.path().join(name);
        file.write(&path);
        Model::open(&path).unwrap()
    };
    let llama = gguf("llama.gguf", model.gguf("llama", Dtype::F32, true));
    let qwen = gguf("qwen.gguf", model.gguf("qwen2", Dtype::F32, false));
    let strange = gguf("strange.gguf", model.gguf("strange", Dtype::F32, false));
    let unnamed = gguf("unnamed.gguf", Gguf::default().add("output_norm.weight", &[1], Dtype::F32, &[1.0]));
    let other_heads = {
        let mut file = model.gguf("llama", Dtype::F32, true);
        file.keys[1].2 = 8_u32.to_le_bytes().to_vec();
        gguf("heads.gguf", file)
    };
    for (base, tuned, expected) in [
        (&llama, &qwen, "qwen.gguf: its architecture is qwen2, but that of "),
        (&checkpoint("qwen2"), &llama, "its type is qwen2, qwen2 in GGUF, but the architecture of "),
        (&checkpoint("llama"), &strange, "but the architecture of "),
        (&checkpoint("strange"), &strange, "how the architecture strange is converted to GGUF is not known"),
        (&checkpoint("llama"), &unnamed, "it lacks the key general.architecture"),
        (&checkpoint("llama"), &other_heads, "its attention has 4 and 2 heads, but that of "),
        (
            &checkpoint("gpt2"),
            &gguf("gpt2.gguf", model.gguf("gpt2", Dtype::F32, false)),
            "are stored [in, out]",
        ),
    ] {
        let message = refused(base, tuned);
        assert!(message.contains(expected), "{message}");
    }
    // Mistral is a llama in GGUF; the heads may come from one side alone.
    assert!(refused(&checkpoint("mistral"), &llama).contains("all 9 tensors are the same"));
    fs::remove_file(root.path().join("llama/config.json")).unwrap();
    let bare = Model::open(&root.path().join("llama")).unwrap();
    assert!(refused(&bare, &llama).contains("all 9 tensors are the same"));
}

#[test]
fn a_bad_number_is_named_where_it_is_in_the_file() {
    let root = tempfile::tempdir().unwrap();
    let model = Llama::new(32, 1);
    let base = Model::open(&model.write_checkpoint(&root.path().join("base"), "llama")).unwrap();
    let mut tuned = model.clone();
    let (_, q) = tuned.0.get_mut("model.layers.0.self_attn.q_proj.weight").unwrap();
    q[5 * 32 + 7] = f32::NAN;
    let stored = interleaved(q, 32, HEADS).iter().position(|v| v.is_nan()).unwrap();
    let tuned = Model::open(&tuned.write_gguf(&root.path().join("t.gguf"), Dtype::F32)).unwrap();
    let message = refused(&base, &tuned);
    let expected = format!(
        "t.gguf: tensor blk.0.attn_q.weight: NaN in row {}, column 7 of the tuned model",
        stored / 32
    );
    assert!(message.contains(&expected), "{message}");
}

/// Stacked in GGUF, apart in the checkpoint: the same factors.
#[test]
fn experts_are_extracted_each() {
    const SHAPE: [usize; 2] = [6, 32];
    let root = tempfile::tempdir().unwrap();
    let experts = |seed: u64| -> Vec<Vec<f32>> { (0..3).map(|e| noise(seed + e, 6 * 32)).collect() };
    let (base, mut tuned) = (experts(10), experts(20));
    tuned[1].clone_from(&base[1]);
    let checkpoint = |name: &str, experts: &[Vec<f32>]| {
        let weights = experts.iter().enumerate().map(|(e, values)| {
            let name = format!("model.layers.0.block_sparse_moe.experts.{e}.w3.weight");
            (name, (SHAPE.to_vec(), values.clone()))
        });
        let model = Llama(weights.collect());
        Model::open(&model.write_checkpoint(&root.path().join(name), "mixtral")).unwrap()
    };
    let gguf = |name: &str, experts: &[Vec<f32>]| {
        let path = root.path().join(name);
        let file = Gguf::model("llama")
            .u32("llama.attention.head_count", HEADS as u32)
            .u32("llama.attention.head_count_kv", 2);
        file.add("blk.0.ffn_up_exps.weight", &[3, 6, 32], Dtype::F32, &experts.concat()).write(&path);
        Model::open(&path).unwrap()
    };
    let checkpoints = [checkpoint("base", &base), checkpoint("tuned", &tuned)];
    let ggufs = [gguf("base.gguf", &base), gguf("tuned.gguf", &tuned)];
    let (expected, report) = extracted(root.path(), &checkpoints[0], &checkpoints[1]);
    assert_eq!(report.modules.len(), 2);
    // Stacked on both sides: one tensor of the adapter holds the factors of all, zeros where there are none.
    let mut stacked = options();
    stacked.format = AdapterFormat::Gguf;
    let extraction = extract(&ggufs[0], &ggufs[1], &stacked, &Monitor::default()).unwrap();
    let output = Output::new(root.path().join("a.gguf"));
    let own = save(&extraction, &output, &Monitor::default()).unwrap();
    let names: Vec<_> = own.modules.iter().map(|m| (m.name.as_str(), m.expert)).collect();
    let expert = |index| Some(Expert { index, count: 3 });
    assert_eq!(names, [("blk.0.ffn_up_exps.0", expert(0)), ("blk.0.ffn_up_exps.2", expert(2))]);
    assert_eq!(own.total.energy, report.total.energy);
    let adapter = Adapter::open(&output.path).unwrap();
    for (base, tuned) in [(&ggufs[0], &ggufs[1]), (&checkpoints[0], &checkpoints[1])] {
        let found =
            verify(base, tuned, &adapter, &ChannelScales::default(), NonZeroUsize::MIN, &Monitor::default())
                .unwrap();
        assert!((found.energy - report.total.energy).abs() < 1e-4, "{found:?}");
    }
    let (bytes, mixed) = extracted(root.path(), &checkpoints[0], &ggufs[1]);
    assert!(bytes == expected);
    assert_eq!(mixed.modules, report.modules);
    assert_eq!(mixed.left_out, report.left_out);
}

/// Every mix of sides, adapters in both formats, measured against every other mix.
#[test]
fn an_adapter_of_either_format_is_verified_on_any_mix() {
    let root = tempfile::tempdir().unwrap();
    let base = Llama::new(32, 1);
    let tuned = base.plus(&Llama::new(32, 2));
    let open = |model: &Llama, name: &str| {
        let checkpoint = model.write_checkpoint(&root.path().join(name), "llama");
        let gguf = model.write_gguf(&root.path().join(format!("{name}.gguf")), Dtype::F32);
        [checkpoint, gguf].map(|path| Model::open(&path).unwrap())
    };
    let (bases, tuneds) = (open(&base, "base"), open(&tuned, "tuned"));
    for format in [AdapterFormat::Peft, AdapterFormat::Gguf] {
        for (b, t) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let mut options = options();
            options.format = format;
            let extraction = extract(&bases[b], &tuneds[t], &options, &Monitor::default()).unwrap();
            let output = Output::new(root.path().join("adapter.gguf")).force(true);
            let report = save(&extraction, &output, &Monitor::default()).unwrap();
            let adapter = Adapter::open(&output.path).unwrap();
            for (b, t) in [(0, 0), (1, 0), (1, 1)] {
                let threads = NonZeroUsize::new(2).unwrap();
                let found = verify(
                    &bases[b],
                    &tuneds[t],
                    &adapter,
                    &ChannelScales::default(),
                    threads,
                    &Monitor::default(),
                )
                .unwrap();
                let (energy, expected) = (found.energy, report.total.energy);
                assert!(
                    (energy - expected).abs() < 1e-4,
                    "{format:?} {b} {t}: {energy}, expected {expected}"
                );
                assert_eq!(found.modules.len(), 4);
            }
            drop(adapter);
            if format == AdapterFormat::Peft {
                fs::remove_dir_all(&output.path).unwrap();
            } else {
                fs::remove_file(&output.path).unwrap();
            }
        }
    }
}
