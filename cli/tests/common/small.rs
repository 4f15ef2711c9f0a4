//! A small Llama, base and tuned.

use super::{Tensors, json, noise, write_model};
use phlora_core::Dtype::{self, F32};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// What differs from one small model to another.
#[derive(Debug, Clone, Copy)]
pub struct Small {
    pub width: usize,
    pub layers: usize,
    pub rows: usize,
    /// How far it is from the base.
    pub change: f32,
    /// Other seeds are other models.
    pub seed: u64,
    pub dtype: Dtype,
}

pub const BASE: Small = Small { width: 16, layers: 2, rows: 9, change: 0.0, seed: 0, dtype: F32 };
pub const TUNED: Small = Small { change: 0.05, ..BASE };

impl Small {
    /// Its tensors, with an output head.
    pub fn tensors(self) -> Tensors {
        let Self { width, layers, rows, .. } = self;
        let one = |tensors: Tensors, name: &str, shape: &[usize]| {
            let seed = self.seed + 1 + tensors.0.len() as u64;
            let (n, more) = (shape.iter().product(), self.change);
            let change = noise(seed + 500, n, more);
            let values: Vec<_> = noise(seed, n, 1.0).iter().zip(change).map(|(a, b)| a + b).collect();
            tensors.add(name, shape, self.dtype, &values)
        };
        let mut tensors = one(Tensors::default(), "model.embed_tokens.weight", &[rows, width]);
        for layer in 0..layers {
            let name = |part: &str| format!("model.layers.{layer}.{part}.weight");
            for projection in ["q_proj", "k_proj", "v_proj", "o_proj"] {
                tensors = one(tensors, &name(&format!("self_attn.{projection}")), &[width, width]);
            }
            tensors = one(tensors, &name("mlp.up_proj"), &[2 * width, width]);
            tensors = one(tensors, &name("mlp.down_proj"), &[width, 2 * width]);
            tensors = one(tensors, &name("input_layernorm"), &[width]);
        }
        tensors = one(tensors, "model.norm.weight", &[width]);
        one(tensors, "lm_head.weight", &[rows, width])
    }

    pub fn config(self) -> Value {
        json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": self.width,
            "num_hidden_layers": self.layers, "vocab_size": self.rows, "num_attention_heads": 4,
        })
    }

    /// Writes it to the directory `name`.
    pub fn write(self, root: &Path, name: &str) {
        write_model(&root.join(name), &self.tensors(), &self.config().to_string());
    }
}

/// A sound pair.
pub fn pair(root: &Path) {
    BASE.write(root, "base");
    TUNED.write(root, "tuned");
}

/// `tensors` with the beginning `from` of their names exchanged for `to`.
pub fn below(tensors: Tensors, from: &str, to: &str) -> Tensors {
    let name = |name: String| name.strip_prefix(from).map_or(name.clone(), |rest| format!("{to}{rest}"));
    Tensors(tensors.0.into_iter().map(|(n, d, s, b)| (name(n), d, s, b)).collect())
}

/// Those of `tensors` whose names do not end in `end`.
pub fn without(tensors: Tensors, end: &str) -> Tensors {
    Tensors(tensors.0.into_iter().filter(|(name, ..)| !name.ends_with(end)).collect())
}

/// Puts other tensors into the model `name`.
pub fn replace(root: &Path, name: &str, change: impl Fn(Tensors) -> Tensors, of: Small) {
    change(of.tensors()).write(&root.join(name).join("model.safetensors"));
}

/// The same tensors with one of `every` bytes, as if these were of another dtype; none is NaN as an 8-bit float.
pub fn of_dtype(tensors: Tensors, dtype: &str, every: usize) -> Tensors {
    let one = |(name, _, shape, bytes): (String, String, Vec<usize>, Vec<u8>)| {
        (name, dtype.to_owned(), shape, bytes.into_iter().step_by(every).map(|byte| byte & 0x3f).collect())
    };
    Tensors(tensors.0.into_iter().map(one).collect())
}

/// Sets a field of the configuration of `name`.
pub fn configure(root: &Path, name: &str, field: &str, value: Value) {
    let path = root.join(name).join("config.json");
    let mut config = json(&path);
    config[field] = value;
    fs::write(path, config.to_string()).unwrap();
}

/// Leaves nothing but `name` of the weights of `model`, with these bytes.
pub fn weights_are(root: &Path, model: &str, name: &str, bytes: &[u8]) {
    fs::remove_file(root.join(model).join("model.safetensors")).unwrap();
    fs::write(root.join(model).join(name), bytes).unwrap();
}
