//! Between PEFT and GGUF: the same factors come back, to the bit where no scale is folded.
#![allow(missing_docs)]

use phlora::{
    Adapter, AdapterFormat, ConvertOptions, Dtype, Factor, Heads, Lora, LoraModule, Monitor, Names, Naming,
    Reason, convert,
};
use std::fs;
use std::path::Path;

const GQA: Option<Heads> = Some(Heads { queries: 4, keys: 2 });

fn noise(seed: u32, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

fn factor(seed: u32, dtype: Dtype, shape: [usize; 2]) -> Factor<'static> {
    let mut bytes = vec![0; dtype.row_bytes(shape[0] * shape[1]).unwrap()];
    phlora_core::encode(&noise(seed, shape[0] * shape[1]), dtype, &mut bytes).unwrap();
    Factor::new(dtype, shape, bytes).unwrap()
}

fn module(
    name: &str,
    [out, input]: [usize; 2],
    rank: usize,
    scale: f64,
    dtype: Dtype,
) -> LoraModule<'static> {
    let seed = name.bytes().fold(7, |hash: u32, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let (a, b) = (factor(seed, dtype, [rank, input]), factor(seed ^ 0x55, dtype, [out, rank]));
    let embedding = name.ends_with("embed_tokens");
    LoraModule { scale, embedding, ..LoraModule::new(name.to_owned(), a, b) }
}

/// Modules of two layers: heads of 8, so that q has 32 rows and k 16.
fn adapter(ranks: &[usize], scales: &[f64], dtype: Dtype) -> Lora<'static> {
    let shapes = [
        ("self_attn.q_proj", [32, 24]),
        ("self_attn.k_proj", [16, 24]),
        ("self_attn.o_proj", [24, 32]),
        ("mlp.down_proj", [24, 40]),
    ];
    let names =
        (0..2).flat_map(|layer| shapes.map(|(name, shape)| (format!("model.layers.{layer}.{name}"), shape)));
    let modules = names.enumerate().map(|(at, (name, shape))| {
        module(&name, shape, ranks[at % ranks.len()], scales[at % scales.len()], dtype)
    });
    let mut modules: Vec<_> = modules.collect();
    modules.sort_by(|a, b| a.name.cmp(&b.name));
    let (base_name, task) = (Some("some/base".into()), Some("CAUSAL_LM".into()));
    Lora { base_name, task, ..Lora::new(modules, Naming::HuggingFace) }
}

fn options(format: AdapterFormat, architecture: &str) -> ConvertOptions {
    let mut options = ConvertOptions::new(format);
    options.architecture = Some(architecture.to_owned());
    options.heads = GQA;
    options.names = Some(Names::Checkpoint);
    options
}

/// PEFT → GGUF → PEFT; gives the three adapters' paths.
fn there_and_back(root: &Path, lora: &Lora<'_>, architecture: &str) -> [std::path::PathBuf; 3] {
    let paths = ["peft", "there.gguf", "back"].map(|name| root.join(name));
    let monitor = Monitor::default();
    lora.save(&paths[0], AdapterFormat::Peft, false, &monitor).unwrap();
    for (from, to, format) in [(0, 1, AdapterFormat::Gguf), (1, 2, AdapterFormat::Peft)] {
        let adapter = Adapter::open(&paths[from]).unwrap();
        convert(&adapter, &paths[to], &options(format, architecture), &monitor).unwrap();
    }
    paths
}

fn bytes(module: &LoraModule<'_>) -> [Vec<u8>; 2] {
    [&module.a, &module.b].map(|factor| factor.encoded().unwrap().into_owned())
}

#[test]
fn there_and_back_is_the_same_to_the_bit() {
    for architecture in ["llama", "qwen2", "granite", "gemma2"] {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
            for ranks in [&[4][..], &[4, 2, 1, 3]] {
                let root = tempfile::tempdir().unwrap();
                let lora = adapter(ranks, &[1.0], dtype);
                let [there, _, back] = there_and_back(root.path(), &lora, architecture);
                for file in ["adapter_model.safetensors", "adapter_config.json"] {
                    let read = |directory: &Path| fs::read(directory.join(file)).unwrap();
                    assert!(read(&there) == read(&back), "{architecture} {dtype:?} {ranks:?} {file}");
                }
            }
        }
    }
}

#[test]
fn scales_are_folded_exactly_where_they_are_powers_of_two() {
    for (scales, exact) in [(&[2.0, 0.25, 1.0][..], true), (&[4.0 / 3.0, -0.7], false)] {
        let root = tempfile::tempdir().unwrap();
        let lora = adapter(&[4, 2], scales, Dtype::F32);
        let paths = there_and_back(root.path(), &lora, "llama");
        let opened = Adapter::open(&paths[2]).unwrap();
        for (before, after) in lora.modules.iter().zip(&opened.lora().unwrap().modules) {
            assert_eq!((before.name.as_ref(), 1.0), (after.name.as_ref(), after.scale));
            assert_eq!(bytes(before)[0], bytes(after)[0]);
            for (b, a) in before.b.decoded().unwrap().iter().zip(after.b.decoded().unwrap()) {
                let expected = f64::from(*b) * before.scale;
                let allowed = if exact { 0.0 } else { expected.abs() * f64::from(f32::EPSILON) };
                assert!((expected - f64::from(a)).abs() <= allowed, "{expected} {a}");
            }
        }
    }
}

#[test]
fn rows_move_as_the_converter_of_llama_moves_them() {
    let root = tempfile::tempdir().unwrap();
    let lora = adapter(&[3], &[1.0], Dtype::F32);
    let peft =
        |name: &str| lora.modules.iter().find(|module| module.name == name).unwrap().b.decoded().unwrap();
    for (architecture, moved) in [("llama", true), ("qwen2", false)] {
        let root = root.path().join(architecture);
        fs::create_dir(&root).unwrap();
        let paths = there_and_back(&root, &lora, architecture);
        let opened = Adapter::open(&paths[1]).unwrap();
        let found = opened.lora().unwrap();
        assert_eq!((opened.naming(), found.architecture.as_deref()), (Naming::Gguf, Some(architecture)));
        let gguf = |name: &str| found.modules.iter().find(|m| m.name == name).unwrap().b.decoded().unwrap();
        // Heads of 8 rows: row 1 is the first of the head's second half.
        let (before, after) = (peft("model.layers.1.self_attn.k_proj"), gguf("blk.1.attn_k"));
        let source = if moved { 4 } else { 1 };
        assert_eq!(after[3..6], before[3 * source..][..3]);
        assert_eq!(after[24..27], before[24..27], "the first row of the second head stays");
        assert_eq!(gguf("blk.0.attn_output"), peft("model.layers.0.self_attn.o_proj"));
    }
}

#[test]
fn embeddings_are_turned_and_experts_stacked() {
    let root = tempfile::tempdir().unwrap();
    let mut lora = adapter(&[2], &[1.0], Dtype::F32);
    lora.modules = vec![
        module("model.embed_tokens", [50, 24], 2, 1.0, Dtype::F32),
        module("model.layers.0.mlp.experts.1.up_proj", [16, 24], 2, 1.0, Dtype::F32),
        module("model.layers.0.mlp.experts.2.up_proj", [16, 24], 1, 1.0, Dtype::F32),
        module("model.layers.0.mlp.gate", [3, 24], 2, 1.0, Dtype::F32),
    ];
    let paths = there_and_back(root.path(), &lora, "qwen3moe");
    let opened = Adapter::open(&paths[1]).unwrap();
    let found = opened.lora().unwrap();
    let names: Vec<_> = found.modules.iter().map(|module| module.name.as_ref()).collect();
    let experts = [0, 1, 2].map(|expert| format!("blk.0.ffn_up_exps.{expert}"));
    assert_eq!(names, ["blk.0.ffn_gate_inp", &experts[0], &experts[1], &experts[2], "token_embd"]);
    assert!(found.modules[1].b.decoded().unwrap().iter().all(|value| *value == 0.0));
    assert_eq!(found.modules[3].rank(), 2, "experts of a layer have one rank");
    let embedding = &found.modules[4];
    assert!(embedding.embedding && embedding.shape() == [50, 24]);
    assert_eq!(embedding.a.decoded().unwrap(), lora.modules[0].a.decoded().unwrap());

    let back = Adapter::open(&paths[2]).unwrap();
    let back = back.lora().unwrap();
    assert_eq!(back.modules.len(), 4, "an expert without factors comes back as none");
    for (before, after) in lora.modules.iter().zip(&back.modules) {
        assert_eq!(before.name, after.name);
        let (a, b) = (before.a.decoded().unwrap(), before.b.decoded().unwrap());
        let (mut left, mut right) = (after.a.clone(), after.b.clone());
        left.resize(before.a.shape());
        right.resize(before.b.shape());
        assert_eq!((left.decoded().unwrap(), right.decoded().unwrap()), (a, b));
    }
}

#[test]
fn what_cannot_be_converted_is_refused_and_nothing_is_left() {
    let root = tempfile::tempdir().unwrap();
    let monitor = Monitor::default();
    let save = |name: &str, lora: &Lora<'_>| {
        let path = root.path().join(name);
        lora.save(&path, AdapterFormat::Peft, true, &monitor).unwrap();
        Adapter::open(&path).unwrap()
    };
    let refused = |adapter: &Adapter, options: &ConvertOptions, expected: &str| {
        let error = convert(adapter, &root.path().join("out.gguf"), options, &monitor).unwrap_err();
        assert!(error.to_string().contains(expected), "expected {expected:?} in {error}");
        error.reason()
    };
    let gguf = options(AdapterFormat::Gguf, "llama");
    let good = adapter(&[2], &[1.0], Dtype::F32);
    let opened = save("good", &good);
    let mut unknown = gguf.clone();
    unknown.architecture = None;
    assert_eq!(refused(&opened, &unknown, "architecture"), Some(Reason::NoArchitecture));
    let mut headless = gguf.clone();
    headless.heads = None;
    assert_eq!(refused(&opened, &headless, "attention heads"), Some(Reason::NoHeads));
    let with = |change: &dyn Fn(&mut ConvertOptions)| {
        let mut options = gguf.clone();
        change(&mut options);
        options
    };
    refused(&opened, &with(&|options| options.architecture = Some("nonsense".into())), "nonsense");
    let five = with(&|options| options.heads = Some(Heads { queries: 5, keys: 5 }));
    refused(&opened, &five, "do not go into 5 attention heads");
    let one = with(&|options| options.heads = Some(Heads { queries: 4, keys: 1 }));
    refused(&opened, &one, "are not those of the base");
    refused(&opened, &with(&|options| options.dtype = Some(Dtype::Q4K)), "cannot hold Q4_K");

    let mut strange = good.clone();
    strange.modules[0].name = "model.layers.0.visual.proj".into();
    refused(&save("strange", &strange), &gguf, "model.layers.0.visual.proj");
    let mut large = good.clone();
    large.modules[3].b.scale(1e6);
    let mut half = gguf.clone();
    half.dtype = Some(Dtype::F16);
    refused(&save("large", &large), &half, "beyond the range of F16");
    let mut bytes = fs::read(root.path().join("good/adapter_model.safetensors")).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(root.path().join("large/adapter_model.safetensors"), bytes).unwrap();
    refused(&Adapter::open(&root.path().join("large")).unwrap(), &gguf, "NaN or infinity");

    let mut names: Vec<_> = fs::read_dir(root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["good", "large", "strange"]);
}

#[test]
fn what_no_reader_would_read_is_not_written() {
    let root = tempfile::tempdir().unwrap();
    let monitor = Monitor::default();
    let at = |name: &str| root.path().join(name);
    let refused = |adapter: &std::path::Path, name: &str, options: &ConvertOptions, expected: &str| {
        let adapter = Adapter::open(adapter).unwrap();
        let error = convert(&adapter, &at(name), options, &monitor).unwrap_err();
        assert!(error.to_string().contains(expected), "expected {expected:?} in {error}");
    };
    // Experts that are all zero come back as none.
    let mut lora = adapter(&[2], &[1.0], Dtype::F32);
    lora.modules = vec![module("model.layers.0.mlp.experts.0.up_proj", [16, 24], 2, 1.0, Dtype::F32)];
    let to_gguf = options(AdapterFormat::Gguf, "qwen3moe");
    lora.save(&at("experts"), AdapterFormat::Peft, false, &monitor).unwrap();
    convert(&Adapter::open(&at("experts")).unwrap(), &at("experts.gguf"), &to_gguf, &monitor).unwrap();
    let mut bytes = fs::read(at("experts.gguf")).unwrap();
    // The factors of the one expert, without any padding.
    let end = bytes.len();
    bytes[end - 4 * 2 * (16 + 24)..].fill(0);
    fs::write(at("experts.gguf"), bytes).unwrap();
    for format in [AdapterFormat::Peft, AdapterFormat::Comfy] {
        let mut options = options(format, "qwen3moe");
        options.prefix = Some("diffusion_model".into());
        refused(&at("experts.gguf"), "out.safetensors", &options, "no factors are left");
    }
    // A scale of 0, or one that f32 does not hold.
    for scale in [0.0, 1e-60, 1e60] {
        let path = at(&format!("scale-{scale:e}"));
        adapter(&[2], &[scale], Dtype::F32).save(&path, AdapterFormat::Peft, false, &monitor).unwrap();
        let mut options = options(AdapterFormat::Comfy, "llama");
        options.prefix = Some("diffusion_model".into());
        refused(&path, "out.safetensors", &options, "cannot state its scale");
    }
    assert!(!at("out.safetensors").exists());
}
