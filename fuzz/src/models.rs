//! Models: what opens them, looks into them, reads them and writes them again.

use crate::bounds::within;
use crate::draw::Draw;
use crate::safetensors::Entry;
use crate::{gguf, opens_only, place, safetensors};
use phlora::{
    Adapter, AdapterFormat, ConvertOptions, ExtractJob, ExtractOptions, MergeOptions, Model, Monitor, Output,
    Policy, check, convert, inspect, merge,
};
use phlora_core::Dtype;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Modules of the small model that adapters are for: HF's name, ggml's name, [out, in].
pub const MODULES: [(&str, &str, [usize; 2]); 9] = [
    ("model.layers.0.self_attn.q_proj", "blk.0.attn_q", [32, 32]),
    ("model.layers.0.self_attn.k_proj", "blk.0.attn_k", [16, 32]),
    ("model.layers.0.self_attn.v_proj", "blk.0.attn_v", [16, 32]),
    ("model.layers.0.self_attn.o_proj", "blk.0.attn_output", [32, 32]),
    ("model.layers.0.mlp.gate_proj", "blk.0.ffn_gate", [64, 32]),
    ("model.layers.0.mlp.up_proj", "blk.0.ffn_up", [64, 32]),
    ("model.layers.0.mlp.down_proj", "blk.0.ffn_down", [32, 64]),
    ("model.embed_tokens", "token_embd", [48, 32]),
    ("lm_head", "output", [48, 32]),
];

const CONFIG: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":32,"intermediate_size":64,
"num_attention_heads":4,"num_key_value_heads":2,"num_hidden_layers":1,"vocab_size":48,"tie_word_embeddings":false}"#;

/// Sound models and an adapter for them.
pub struct Fixtures {
    /// A directory of safetensors.
    pub hugging_face: PathBuf,
    /// A GGUF file.
    pub gguf: PathBuf,
    /// A PEFT adapter of the first.
    pub adapter: PathBuf,
}

/// Files that stay from run to run.
///
/// # Panics
/// When they cannot be made.
pub fn fixtures() -> &'static Fixtures {
    static FIXTURES: OnceLock<Fixtures> = OnceLock::new();
    FIXTURES.get_or_init(|| {
        let mut draw = Draw::new(&[]);
        let mut entries: Vec<_> = MODULES
            .iter()
            .map(|(name, _, shape)| Entry::new(format!("{name}.weight"), "BF16", shape))
            .collect();
        entries.push(Entry::new("model.norm.weight", "F32", &[32]));
        for (directory, seed) in [("hf", 1), ("hf-tuned", 2)] {
            place::write(&format!("{directory}/config.json"), CONFIG.as_bytes());
            let mut bytes = safetensors::file(&entries, None, &mut draw);
            finite(&mut bytes, seed);
            place::write(&format!("{directory}/model.safetensors"), &bytes);
        }
        let mut file = gguf::Builder::default();
        file.text("general.architecture", "llama");
        for (key, value) in [
            ("block_count", 1),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("embedding_length", 32),
        ] {
            file.number(&format!("llama.{key}"), value);
        }
        for (_, name, shape) in MODULES {
            file.tensor(&format!("{name}.weight"), Dtype::F16, &shape, &mut draw);
        }
        let mut bytes = file.file(&mut draw);
        finite(&mut bytes, 3);
        let gguf = place::write("base.gguf", &bytes);
        let (base, tuned, adapter) = (place::path("hf"), place::path("hf-tuned"), place::path("adapter"));
        ExtractJob::new(base.as_path(), tuned.as_path())
            .options(options())
            .run(&Output::new(&adapter), &Monitor::default())
            .expect("the small model is sound");
        Fixtures { hugging_face: base, gguf, adapter }
    })
}

/// Makes numbers of the zeros at the end of a file: bytes that are finite in every float format.
fn finite(bytes: &mut [u8], seed: u64) {
    let from = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| (last + 1).next_multiple_of(gguf_alignment(bytes)));
    let mut normal = phlora_tests::matrix::Normal::new(seed);
    for byte in &mut bytes[from..] {
        *byte = [0x3a, 0x3b, 0x3c, 0xba, 0xbb, 0xbc][normal.below(6)];
    }
}

/// Safetensors have no padding before their tensors.
fn gguf_alignment(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"GGUF") { 32 } else { 1 }
}

/// Rank 2 on one thread.
pub fn options() -> ExtractOptions {
    let mut options = ExtractOptions::default();
    options.policy = Policy::fixed(2);
    options.threads = NonZeroUsize::MIN;
    options
}

const NAMES: [&str; 12] = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.k_proj",
    "model.layers.1.mlp.down_proj",
    "model.embed_tokens",
    "lm_head",
    "model.layers.0.mlp.experts.0.up_proj",
    "model.layers.0.mlp.experts.gate_up_proj",
    "model.layers.0.input_layernorm",
    "transformer.h.0.attn.c_attn",
    "model.diffusion_model.input_blocks.1.1.proj_in",
    "blk.0.ffn_up_exps",
    "x",
];

/// What a module's tensors are called, with the dtype and the shape that go with it.
const SUFFIXES: [(&str, &str, &[usize]); 20] = [
    (".weight", "F32", &[16, 16]),
    (".weight", "BF16", &[32, 16]),
    (".weight", "F8_E4M3", &[128, 128]),
    (".weight", "U8", &[128, 1]),
    (".weight_scale_inv", "F32", &[1, 1]),
    (".weight_scale", "F32", &[16, 1]),
    (".weight_scale_2", "F32", &[]),
    (".input_scale", "F32", &[]),
    (".qweight", "I32", &[2, 16]),
    (".qzeros", "I32", &[1, 2]),
    (".scales", "F16", &[1, 16]),
    (".g_idx", "I32", &[16]),
    (".weight_packed", "I32", &[16, 2]),
    (".weight_zero_point", "I32", &[2, 1]),
    (".weight_shape", "I64", &[2]),
    (".weight.absmax", "U8", &[4]),
    (".weight.quant_map", "F32", &[16]),
    (".weight.quant_state.bitsandbytes__nf4", "U8", &[96]),
    (".SCB", "F32", &[16]),
    (".bias", "F32", &[16]),
];

const QUANTIZATIONS: [&str; 9] = [
    "",
    r#""quant_method":"gptq","bits":4,"group_size":16"#,
    r#""quant_method":"awq","bits":4,"group_size":16,"version":"gemm""#,
    r#""quant_method":"fp8","weight_block_size":[128,128]"#,
    r#""quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4""#,
    r#""quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"g":{"weights":{"num_bits":4,"group_size":16}}}"#,
    r#""quant_method":"bitsandbytes","load_in_8bit":true"#,
    r#""quant_method":"modelopt","quant_algo":"NVFP4""#,
    r#""quant_method":"mxfp4""#,
];

/// A configuration.
fn config(draw: &mut Draw<'_>) -> String {
    let kind = draw.pick(&["llama", "gpt2", "qwen3_moe", "gemma3", "gpt_oss", "x"]);
    let quantization = draw.pick(&QUANTIZATIONS);
    let quantization = if quantization.is_empty() {
        String::new()
    } else {
        format!(",\"quantization_config\":{{{quantization}}}")
    };
    let number = |draw: &mut Draw<'_>, usual: u64| if draw.rarely(10) { draw.size() } else { usual };
    format!(
        "{{\"model_type\":\"{kind}\",\"num_attention_heads\":{},\"num_key_value_heads\":{},\"hidden_size\":{},\"num_experts\":{}{quantization}}}",
        number(draw, 4),
        number(draw, 2),
        number(draw, 16),
        number(draw, 4)
    )
}

/// A safetensors model: the file alone, or a configuration, `0x1e`, and the file, or built of what the input says.
pub fn safetensors(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let mut draw = Draw::new(data);
    let (config, bytes) = match kind % 4 {
        0 => (None, data.to_vec()),
        1 => match data.iter().position(|byte| *byte == 0x1e) {
            Some(at) => (Some(data[..at].to_vec()), data[at + 1..].to_vec()),
            None => return,
        },
        _ => {
            let config = draw.rarely(2).then(|| config(&mut draw).into_bytes());
            let (mut entries, module) = (Vec::new(), draw.pick(&NAMES));
            for _ in 0..1 + draw.below(7) {
                let name = if draw.rarely(4) { draw.pick(&NAMES) } else { module };
                let (suffix, dtype, shape) = draw.pick(&SUFFIXES);
                let mut entry = Entry::new(format!("{name}{suffix}"), dtype, shape);
                entry.change(&mut draw);
                entries.push(entry);
            }
            let metadata = draw.rarely(4).then_some(r#"{"format":"pt","_quantization_metadata":"{}"}"#);
            (config, safetensors::file(&entries, metadata, &mut draw))
        }
    };
    let directory = place::empty("model");
    let file = place::write("model/model.safetensors", &bytes);
    let mut size = bytes.len();
    if let Some(config) = &config {
        size += config.len();
        place::write("model/config.json", config);
    }
    let path = if config.is_some() { directory } else { file };
    exercise(&path, &bytes, size, kind >> 2);
}

/// A GGUF model: the file, or built of what the input says.
pub fn gguf(data: &[u8]) {
    let Some((&kind, data)) = data.split_first() else { return };
    let bytes = if kind % 2 == 0 {
        data.to_vec()
    } else {
        let mut draw = Draw::new(data);
        let mut file = gguf::Builder::default();
        file.text("general.architecture", draw.pick(&["llama", "llama", "qwen3moe", "gpt-oss", "x"]));
        for _ in 0..draw.below(4) {
            let name = draw.pick(&[
                "general.alignment",
                "llama.attention.head_count",
                "llama.attention.head_count_kv",
                "split.count",
                "split.no",
                "split.tensors.count",
                "tokenizer.ggml.tokens",
                "general.type",
                "x",
            ]);
            file.any(name, &mut draw);
        }
        for _ in 0..draw.below(5) {
            let (_, name, shape) = draw.pick(&MODULES);
            let dtype = draw.pick(Dtype::ALL);
            let suffix =
                draw.pick(&[".weight", ".weight", ".weight", "_exps.weight", ".bias", "_norm.weight"]);
            let shape = match draw.below(6) {
                1 => vec![shape[0], 256],
                2 => vec![draw.below(5), 4, 32],
                3 => vec![32],
                _ => shape.to_vec(),
            };
            file.tensor(&format!("{name}{suffix}"), dtype, &shape, &mut draw);
        }
        file.file(&mut draw)
    };
    let path = place::write("model.gguf", &bytes);
    exercise(&path, &bytes, bytes.len(), kind >> 1);
}

/// Opens a model, and does with it one of the things that are done with models.
fn exercise(path: &Path, bytes: &[u8], size: usize, what: u8) {
    let opened = within(size, || {
        let looked = inspect(path).map_err(|error| error.to_string());
        let model = Model::open(path).map_err(|error| error.to_string());
        if let Ok(model) = &model {
            assert!(looked.is_ok() || bytes.is_empty(), "it opens, but: {looked:?}");
            for (name, tensor) in model.tensors() {
                assert!(!name.is_empty() || tensor.stored_name().is_empty());
                let _ = (
                    tensor.shape(),
                    tensor.bytes(),
                    tensor.dtype(),
                    tensor.expert(),
                    tensor.len(),
                    tensor.is_empty(),
                );
            }
            let _ = (model.quantization(), model.architecture(), model.files().count());
        }
        model
    });
    let Ok(model) = opened else { return };
    if opens_only() {
        return;
    }
    let fixtures = fixtures();
    let monitor = Monitor::default();
    let out = place::empty("out");
    // The other side: the same with other bytes at its end, where tensors are.
    let mut changed = bytes.to_vec();
    let from = changed.len() - changed.len() / 4;
    changed[from..].iter_mut().for_each(|byte| *byte ^= 1);
    let other =
        place::write(if bytes.starts_with(b"GGUF") { "tuned.gguf" } else { "tuned.safetensors" }, &changed);
    within(2 * size, || match what % 6 {
        0 => {
            let job = ExtractJob::new(&model, other.as_path()).options(options());
            let _ = job.plan(&monitor).map_err(|error| error.to_string());
        }
        1 | 2 => {
            let mut options = options();
            options.format = if what % 6 == 1 { AdapterFormat::Peft } else { AdapterFormat::Gguf };
            let name = if what % 6 == 1 { "adapter" } else { "adapter.gguf" };
            let job = ExtractJob::new(&model, other.as_path()).options(options);
            match job.run(&Output::new(out.join(name)), &monitor) {
                Ok(saved) => {
                    let report = &saved[0].report;
                    assert!(report.total.energy.is_finite(), "{report:?}");
                    Adapter::open(&out.join(name)).expect("what is written is read");
                    place::holds(&out, &[name]);
                }
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    place::holds(&out, &[]);
                }
            }
        }
        3 => {
            let _ = check(&fixtures.adapter, &model, &monitor).map_err(|error| error.to_string());
        }
        4 => {
            let adapter = Adapter::open(&fixtures.adapter).expect("it is sound");
            let mut options = MergeOptions::default();
            options.threads = NonZeroUsize::MIN;
            match merge(&model, &[(&adapter, 1.0)], &out.join("merged.bin"), &options, &monitor) {
                Ok(_) => assert!(out.join("merged.bin").exists()),
                Err(_) => place::holds(&out, &[]),
            }
        }
        _ => {
            let adapter = Adapter::open(&fixtures.adapter).expect("it is sound");
            let mut options = ConvertOptions::new(AdapterFormat::Gguf);
            options.base = Some(path.to_owned());
            if convert(&adapter, &out.join("a.gguf"), &options, &monitor).is_err() {
                place::holds(&out, &[]);
            }
        }
    });
}
