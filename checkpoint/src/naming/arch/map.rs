//! Maps the name of a weight from one naming to the other, with the order of its rows.

use super::known::{HeadRows, KNOWN, Known};
use crate::error::{Error, Reason, Result};
use crate::source::attention::Heads;
use crate::source::config::Config;
use crate::source::permutation::RowPermutation;

/// The names of one model.
#[derive(Debug, Clone)]
pub struct NameMap {
    known: &'static Known,
    heads: Option<Heads>,
    /// Which of the prefixes the checkpoint uses.
    prefix: usize,
}

/// A tensor under the other naming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Its name there. GGUF has one name for the experts of a layer; in Hugging Face's naming it is the name of the
    /// expert that was asked for.
    pub name: String,
    /// Which expert it is, where GGUF stacks them.
    pub expert: Option<usize>,
    /// Heads whose rows GGUF has in another order; see [`RowPermutation`].
    pub heads: Option<usize>,
}

impl NameMap {
    /// The names of `architecture`, which is GGUF's `general.architecture` or a `model_type`.
    ///
    /// # Errors
    /// When the architecture is not known here, or it interleaves rows and `heads` are missing.
    pub fn new(architecture: &str, heads: Option<Heads>) -> Result<Self> {
        let named = |known: &&Known| known.gguf == architecture;
        let typed = |known: &&Known| known.model_types.contains(&architecture);
        let known = KNOWN.iter().find(named).or_else(|| KNOWN.iter().find(typed)).ok_or_else(|| {
            let all: Vec<_> = KNOWN.iter().map(|known| known.gguf).collect();
            Error::usage(format!(
                "how the architecture {architecture} is converted to GGUF is not known here, only that of {}",
                all.join(", ")
            ))
        })?;
        if known.heads == HeadRows::Interleaved && heads.is_none() {
            return Err(Error::usage(format!(
                "of the architecture {architecture} the rows of query and key weights are in another order in GGUF, \
                 for which the number of attention heads is needed"
            ))
            .because(Reason::NoHeads));
        }
        Ok(Self { known, heads, prefix: 0 })
    }

    /// The names of the model that a `config.json` describes.
    ///
    /// # Errors
    /// As [`new`](Self::new), or when the configuration does not name a model type.
    pub fn of_config(config: &Config) -> Result<Self> {
        let architecture = config.model_type.as_deref();
        let architecture = architecture
            .ok_or_else(|| Error::usage("the base has no config.json with a model_type".into()))?;
        Self::new(architecture, config.heads)
    }

    /// The same for a checkpoint with these tensors: the prefix of the names it really has, which
    /// [`to_hugging_face`](Self::to_hugging_face) then gives.
    #[must_use]
    pub fn with_names<'n>(mut self, mut names: impl Iterator<Item = &'n str>) -> Self {
        let layers = self.known.names.layers;
        let found = names.find_map(|name| layers.iter().rposition(|prefix| name.starts_with(prefix)));
        self.prefix = found.unwrap_or(self.prefix);
        self
    }

    /// GGUF's name of the architecture.
    pub fn architecture(&self) -> &'static str {
        self.known.gguf
    }

    /// The `model_type`s that it is converted from.
    pub(crate) fn model_types(&self) -> &'static [&'static str] {
        self.known.model_types
    }

    /// Whether models of `model_type` are called `gguf` in GGUF, as far as both are known.
    pub(crate) fn goes_with(gguf: &str, model_type: &str) -> bool {
        let mut known = KNOWN.iter().filter(|known| known.model_types.contains(&model_type)).peekable();
        let is_known = KNOWN.iter().any(|known| known.gguf == gguf);
        !is_known || known.peek().is_none() || known.any(|known| known.gguf == gguf)
    }

    /// Whether the checkpoint stores linear weights [in, out].
    pub fn stores_transposed(&self) -> bool {
        self.known.gguf == "gpt2"
    }

    /// Maps a checkpoint's tensor, e.g. `model.layers.0.self_attn.q_proj.weight`; `None` where it is not known.
    pub fn to_gguf(&self, tensor: &str) -> Option<Mapped> {
        let (module, parameter) = split(tensor)?;
        let names = self.known.names;
        let plain = |name: &str| Mapped { name: format!("{name}.{parameter}"), expert: None, heads: None };
        if let Some((_, name)) = names.beside.iter().find(|(from, _)| *from == module) {
            return Some(plain(name));
        }
        for prefix in names.layers {
            let Some((layer, rest)) = module.strip_prefix(prefix).and_then(|rest| rest.split_once('.'))
            else {
                continue;
            };
            let layer = number(layer)?;
            if let Some((_, name)) = names.in_layer.iter().find(|(from, _)| *from == rest) {
                return Some(Mapped {
                    heads: self.interleaved(name),
                    ..plain(&format!("blk.{layer}.{name}"))
                });
            }
            let expert = |(before, after, name): &(&str, &str, &'static str)| {
                let expert = number(rest.strip_prefix(before)?.strip_suffix(after)?)?;
                Some(Mapped { expert: Some(expert), ..plain(&format!("blk.{layer}.{name}")) })
            };
            return names.experts.iter().find_map(expert);
        }
        let outside = |prefix: &&str| {
            let rest = module.strip_prefix(prefix)?;
            names.outside.iter().find(|(from, _)| *from == rest)
        };
        names.outer.iter().find_map(outside).map(|(_, name)| plain(name))
    }

    /// Maps a tensor of a GGUF file, e.g. `blk.0.attn_q.weight`; `None` where it is not known. Stacked experts have a
    /// name for each, so `expert` says which.
    pub fn to_hugging_face(&self, tensor: &str, expert: usize) -> Option<Mapped> {
        let (module, parameter) = split(tensor)?;
        let names = self.known.names;
        let plain = |name: String| Mapped { name: format!("{name}.{parameter}"), expert: None, heads: None };
        if let Some((layer, rest)) = module.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            let layer = number(layer)?;
            let prefix = names.layers[self.prefix];
            if let Some((name, _)) = names.in_layer.iter().find(|(_, to)| *to == rest) {
                let mapped = plain(format!("{prefix}{layer}.{name}"));
                return Some(Mapped { heads: self.interleaved(rest), ..mapped });
            }
            let (before, after, _) = names.experts.iter().find(|(_, _, to)| *to == rest)?;
            let mapped = plain(format!("{prefix}{layer}.{before}{expert}{after}"));
            return Some(Mapped { expert: Some(expert), ..mapped });
        }
        if let Some((name, _)) = names.outside.iter().find(|(_, to)| *to == module) {
            return Some(plain(format!("{}{name}", names.outer[self.prefix])));
        }
        names.beside.iter().find(|(_, to)| *to == module).map(|(name, _)| plain((*name).to_owned()))
    }

    /// Heads of a weight of a layer whose rows are interleaved.
    fn interleaved(&self, name: &str) -> Option<usize> {
        let heads = self.heads.filter(|_| self.known.heads == HeadRows::Interleaved)?;
        match name {
            "attn_q" => Some(heads.queries),
            "attn_k" => Some(heads.keys),
            _ => None,
        }
    }
}

impl Mapped {
    /// How a weight (or bias) of `rows` rows gets from the checkpoint's order of rows to GGUF's; `None` where they are
    /// the same.
    ///
    /// # Errors
    /// When the rows do not go into heads.
    pub fn to_gguf_rows(&self, rows: usize) -> Result<Option<RowPermutation>> {
        let Some(heads) = self.heads else { return Ok(None) };
        let order = RowPermutation::to_gguf(rows, heads);
        order.map(Some).ok_or_else(|| Error::Mismatch {
            reason: None,
            tensor: self.name.clone(),
            problem: format!("its {rows} rows do not go into {heads} attention heads with halves"),
        })
    }
}

/// A tensor's module, and what of it: weight or bias.
fn split(tensor: &str) -> Option<(&str, &str)> {
    tensor.rsplit_once('.').filter(|(_, parameter)| matches!(*parameter, "weight" | "bias"))
}

/// A number as names have it: no sign, no leading zeros.
fn number(text: &str) -> Option<usize> {
    text.parse().ok().filter(|number: &usize| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GQA: Option<Heads> = Some(Heads { queries: 8, keys: 2 });

    #[test]
    fn names_of_the_common_architectures() {
        for (architecture, from, to, heads) in [
            ("llama", "model.layers.3.self_attn.q_proj.weight", "blk.3.attn_q.weight", Some(8)),
            ("llama", "model.layers.31.self_attn.k_proj.bias", "blk.31.attn_k.bias", Some(2)),
            ("mistral", "model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight", None),
            ("granite", "model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight", None),
            ("qwen2", "model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight", None),
            ("qwen3", "model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", None),
            ("smollm3", "model.layers.0.self_attn.k_proj.weight", "blk.0.attn_k.weight", Some(2)),
            ("phi3", "model.layers.0.mlp.gate_up_proj.weight", "blk.0.ffn_up.weight", None),
            ("phi3", "model.layers.0.self_attn.qkv_proj.weight", "blk.0.attn_qkv.weight", None),
            ("gpt2", "transformer.h.1.mlp.c_proj.weight", "blk.1.ffn_down.weight", None),
            ("gemma3", "model.embed_tokens.weight", "token_embd.weight", None),
            ("llama", "lm_head.weight", "output.weight", None),
            ("llama", "model.norm.weight", "output_norm.weight", None),
            (
                "qwen2moe",
                "model.layers.2.mlp.shared_expert.up_proj.weight",
                "blk.2.ffn_up_shexp.weight",
                None,
            ),
            ("mixtral", "model.layers.2.block_sparse_moe.gate.weight", "blk.2.ffn_gate_inp.weight", None),
        ] {
            let map = NameMap::new(architecture, GQA).unwrap();
            let mapped = map.to_gguf(from).unwrap();
            assert_eq!((mapped.name.as_str(), mapped.heads), (to, heads), "{from}");
            let back = map.to_hugging_face(to, 0).unwrap();
            assert_eq!((back.name.as_str(), back.heads), (from, heads), "{to}");
        }
    }

    #[test]
    fn experts_share_a_name() {
        for (architecture, from, to) in [
            ("mixtral", "model.layers.2.block_sparse_moe.experts.7.w1.weight", "blk.2.ffn_gate_exps.weight"),
            ("mixtral", "model.layers.2.block_sparse_moe.experts.7.w2.weight", "blk.2.ffn_down_exps.weight"),
            ("qwen3_moe", "model.layers.2.mlp.experts.7.up_proj.weight", "blk.2.ffn_up_exps.weight"),
        ] {
            let map = NameMap::new(architecture, GQA).unwrap();
            let mapped = map.to_gguf(from).unwrap();
            assert_eq!((mapped.name.as_str(), mapped.expert), (to, Some(7)));
            assert_eq!(map.to_hugging_face(to, 7).unwrap().name, from);
        }
    }

    #[test]
    fn no_two_names_become_one_and_every_name_comes_back() {
        for known in KNOWN {
            let map = NameMap::new(known.gguf, GQA).unwrap();
            assert_eq!(map.architecture(), known.gguf);
            let names = known.names;
            assert_eq!(names.layers.len(), names.outer.len());
            for (from, to) in names.in_layer {
                let hf = format!("{}5.{from}.weight", names.layers[0]);
                let gguf = format!("blk.5.{to}.weight");
                assert_eq!(map.to_gguf(&hf).unwrap().name, gguf);
                assert_eq!(map.to_hugging_face(&gguf, 0).unwrap().name, hf, "{}", known.gguf);
            }
            for model_type in known.model_types {
                assert_eq!(NameMap::new(model_type, GQA).unwrap().architecture(), known.gguf);
            }
        }
    }

    #[test]
    fn the_prefix_is_that_of_the_checkpoint() {
        let map = NameMap::new("gemma3", None).unwrap();
        let name = "model.language_model.layers.4.mlp.up_proj.weight";
        assert_eq!(map.to_gguf(name).unwrap().name, "blk.4.ffn_up.weight");
        let map = map.with_names(["vision.x", name].into_iter());
        assert_eq!(map.to_hugging_face("blk.4.ffn_up.weight", 0).unwrap().name, name);
        let embedding = map.to_hugging_face("token_embd.weight", 0).unwrap().name;
        assert_eq!(embedding, "model.language_model.embed_tokens.weight");
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        assert!(NameMap::new("deepseek2", GQA).unwrap_err().to_string().contains("deepseek2"));
        assert_eq!(NameMap::new("llama", None).unwrap_err().reason(), Some(Reason::NoHeads));
        let map = NameMap::new("llama", GQA).unwrap();
        for name in [
            "model.layers.x.mlp.up_proj.weight",
            "model.layers.01.mlp.up_proj.weight",
            "weight",
            "",
            "model.layers.0.mlp.up_proj",
            "model.layers.0.mlp.other.weight",
            "visual.blocks.0.mlp.up_proj.weight",
        ] {
            assert_eq!(map.to_gguf(name), None, "{name}");
        }
        for name in ["blk.0.attn_q", "blk.attn_q.weight", "blk.-1.attn_q.weight", "blk.0.nothing.weight"] {
            assert_eq!(map.to_hugging_face(name, 0), None, "{name}");
        }
        assert!(map.to_gguf("model.layers.0.self_attn.q_proj.weight").unwrap().to_gguf_rows(12).is_err());
    }
}
