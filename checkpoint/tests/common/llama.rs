//! A small Llama-like model, as a checkpoint directory and as a GGUF file.
#![allow(dead_code, missing_docs)] // each test binary uses a part of it

use super::gguf::Gguf;
use phlora_core::{Dtype, Rows};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub const HEADS: usize = 4;
pub const KEY_HEADS: usize = 2;

/// Name in the checkpoint, name in GGUF, heads whose rows GGUF interleaves.
pub const NAMES: [(&str, &str, usize); 9] = [
    ("model.embed_tokens.weight", "token_embd.weight", 0),
    ("model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", HEADS),
    ("model.layers.0.self_attn.q_proj.bias", "blk.0.attn_q.bias", HEADS),
    ("model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", KEY_HEADS),
    ("model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight", 0),
    ("model.layers.0.mlp.up_proj.weight", "blk.0.ffn_up.weight", 0),
    ("model.layers.0.input_layernorm.weight", "blk.0.attn_norm.weight", 0),
    ("model.norm.weight", "output_norm.weight", 0),
    ("lm_head.weight", "output.weight", 0),
];

/// A model in f32, by the names of the checkpoint.
#[derive(Debug, Clone)]
pub struct Llama(pub BTreeMap<String, (Vec<usize>, Vec<f32>)>);

impl Llama {
    /// Weights of a model `width` wide, a multiple of 8.
    pub fn new(width: usize, seed: u64) -> Self {
        let shapes = [
            vec![11, width],
            vec![width, width],
            vec![width],
            vec![width / 2, width],
            vec![width, width],
            vec![2 * width, width],
            vec![width],
            vec![width],
            vec![11, width],
        ];
        let tensors = NAMES.iter().zip(shapes).enumerate().map(|(i, ((name, ..), shape))| {
            let values = noise(seed + 100 * i as u64, shape.iter().product());
            ((*name).to_owned(), (shape, values))
        });
        Self(tensors.collect())
    }

    /// The same plus a hundredth of another.
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (name, (_, values)) in &mut sum.0 {
            for (value, other) in values.iter_mut().zip(&other.0[name].1) {
                *value += 0.01 * other;
            }
        }
        sum
    }

    /// What is left of the matrices outside of the embeddings after they were stored as `dtype`.
    pub fn through(&self, dtype: Dtype) -> Self {
        let mut stored = self.clone();
        for (name, (shape, values)) in &mut stored.0 {
            if format_of(name, shape, dtype) == dtype {
                let bytes = super::gguf::encode(dtype, values);
                phlora_core::decode(Rows::new(dtype, &bytes), values).unwrap();
            }
        }
        stored
    }

    /// A checkpoint directory of `model_type`.
    pub fn write_checkpoint(&self, directory: &Path, model_type: &str) -> PathBuf {
        fs::create_dir_all(directory).unwrap();
        let config = format!(
            r#"{{"model_type":"{model_type}","architectures":["LlamaForCausalLM"],"num_attention_heads":{HEADS},"num_key_value_heads":{KEY_HEADS}}}"#
        );
        fs::write(directory.join("config.json"), config).unwrap();
        let bytes: BTreeMap<_, Vec<u8>> = self
            .0
            .iter()
            .map(|(name, (_, values))| (name, super::gguf::encode(Dtype::F32, values)))
            .collect();
        let views = self.0.iter().map(|(name, (shape, _))| {
            let view =
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), &bytes[name]);
            (name, view.unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        fs::write(directory.join("model.safetensors"), file).unwrap();
        directory.to_owned()
    }

    /// A GGUF file of `architecture`, matrices outside of the embeddings as `dtype`.
    pub fn gguf(&self, architecture: &str, dtype: Dtype, permuted: bool) -> Gguf {
        let mut file = Gguf::model(architecture)
            .u32(&format!("{architecture}.attention.head_count"), HEADS as u32)
            .u32(&format!("{architecture}.attention.head_count_kv"), KEY_HEADS as u32);
        for (name, gguf, heads) in NAMES {
            let Some((shape, values)) = self.0.get(name) else { continue };
            let heads = if permuted { heads } else { 0 };
            let values = if heads > 0 { interleaved(values, shape[0], heads) } else { values.clone() };
            file = file.add(gguf, shape, format_of(name, shape, dtype), &values);
        }
        file
    }

    pub fn write_gguf(&self, path: &Path, dtype: Dtype) -> PathBuf {
        self.gguf("llama", dtype, true).write(path);
        path.to_owned()
    }
}

fn format_of(name: &str, shape: &[usize], dtype: Dtype) -> Dtype {
    if shape.len() == 2 && name.contains("layers") { dtype } else { Dtype::F32 }
}

/// Rows as the stock converter orders them: [heads, 2, rows/heads/2] with the last two axes exchanged.
pub fn interleaved(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let (cols, half) = (values.len() / rows, rows / heads / 2);
    let mut result = Vec::new();
    for head in 0..heads {
        for j in 0..half {
            for t in 0..2 {
                let row = (head * 2 + t) * half + j;
                result.extend_from_slice(&values[row * cols..][..cols]);
            }
        }
    }
    result
}

/// `n` values in ±1, the same for the same seed.
pub fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}
