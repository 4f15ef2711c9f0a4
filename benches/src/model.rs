//! Checkpoints of generated weights in the shape of a Llama model, written one tensor at a time.

use std::{borrow::Cow, fs, io, path::Path};

use phlora_core::Dtype;
use safetensors::tensor::View;

use crate::weights::{Spectrum, Weights};

/// Sizes of the generated model.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Layers.
    pub layers: usize,
    /// Hidden width.
    pub hidden: usize,
    /// Width of the feed-forward layers.
    pub ffn: usize,
    /// Rows of the key and value projections.
    pub kv: usize,
    /// Vocabulary.
    pub vocab: usize,
    /// Seed of spectra that differ from layer to layer; 0: all the same.
    pub uneven: u64,
}

impl Sizes {
    /// Names and shapes of all tensors.
    fn tensors(&self) -> Vec<(String, [usize; 2])> {
        let Self { layers, hidden, ffn, kv, vocab, .. } = *self;
        let mut all = vec![
            ("model.embed_tokens.weight".to_owned(), [vocab, hidden]),
            ("lm_head.weight".to_owned(), [vocab, hidden]),
        ];
        for layer in 0..layers {
            for (name, shape) in [
                ("self_attn.q_proj", [hidden, hidden]),
                ("self_attn.k_proj", [kv, hidden]),
                ("self_attn.v_proj", [kv, hidden]),
                ("self_attn.o_proj", [hidden, hidden]),
                ("mlp.gate_proj", [ffn, hidden]),
                ("mlp.up_proj", [ffn, hidden]),
                ("mlp.down_proj", [hidden, ffn]),
            ] {
                all.push((format!("model.layers.{layer}.{name}.weight"), shape));
            }
        }
        all
    }

    /// Writes `base.safetensors` and `tuned.safetensors` in bf16 and a `config.json`; returns the number of parameters.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, directory: &Path) -> io::Result<u64> {
        fs::create_dir_all(directory)?;
        let tensors = self.tensors();
        let heads = |rows: usize| (rows / 64).max(1);
        let (queries, keys) = (heads(self.hidden), heads(self.kv));
        let config = serde_json::json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"],
            "num_attention_heads": queries, "num_key_value_heads": keys
        });
        fs::write(directory.join("config.json"), config.to_string())?;
        for (side, name) in ["base.safetensors", "tuned.safetensors"].iter().enumerate() {
            let views = tensors.iter().enumerate().map(|(i, (name, shape))| {
                let spectrum = spectrum(self.uneven, i as u64);
                (name.clone(), Lazy { shape: *shape, seed: 100 * i as u64 + 7, side, spectrum })
            });
            safetensors::serialize_to_file(views, None, &directory.join(name)).map_err(io::Error::other)?;
        }
        Ok(tensors.iter().map(|(_, [rows, cols])| (rows * cols) as u64).sum())
    }
}

/// One side of a tensor, made when it is written.
struct Lazy {
    shape: [usize; 2],
    seed: u64,
    side: usize,
    spectrum: Spectrum,
}

/// The spectrum of tensor `i`.
fn spectrum(uneven: u64, i: u64) -> Spectrum {
    const ALL: [Spectrum; 7] = [
        Spectrum::MIDDLE,
        Spectrum::FAST,
        Spectrum::SLOW,
        Spectrum::LOW_RANK,
        Spectrum { first: 6.0, ..Spectrum::MIDDLE },
        Spectrum { bulk: 0.4, ..Spectrum::FAST },
        Spectrum { directions: 12, ..Spectrum::SLOW },
    ];
    ALL[if uneven == 0 { 0 } else { (i * (2 * uneven + 1) + uneven) as usize % ALL.len() }]
}

impl View for Lazy {
    fn dtype(&self) -> safetensors::Dtype {
        safetensors::Dtype::BF16
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        let [rows, cols] = self.shape;
        let [base, tuned] = Weights::new(rows, cols, self.seed, self.spectrum).pair(rows, Dtype::Bf16);
        Cow::Owned(if self.side == 0 { base } else { tuned })
    }
    fn data_len(&self) -> usize {
        self.shape[0] * self.shape[1] * 2
    }
}
