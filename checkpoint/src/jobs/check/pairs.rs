//! The pairs of a GGUF adapter against the tensors of its base, as llama.cpp's loader compares them.

use super::findings::{Findings, Severity};
use crate::adapter::Factor;
use crate::adapter::gguf::{SUFFIXES, is_flipped};
use crate::error::Result;
use crate::source::gguf::{File, TensorInfo};
use crate::source::mapped::Mapped;
use crate::source::model::Model;
use phlora_core::Dtype;
use std::collections::BTreeMap;

/// Sizes of the base's tensors in ggml's order, filled up with ones.
type Sizes = [usize; 4];

/// Weights that llama.cpp multiplies without looking for an adapter: architecture, what the name holds.
const IGNORED: [(&str, &str); 5] = [
    ("deepseek2", ".attn_"),
    ("deepseek2", "output"),
    ("gemma3n", "altup"),
    ("gemma3n", "per_layer"),
    ("gemma3n", "laurel"),
];

pub(super) fn check(file: &File<'_>, adapter: &Mapped, base: &Model, findings: &mut Findings) -> Result<()> {
    let files = base.gguf_files()?;
    let tensors: BTreeMap<_, _> =
        files.iter().flat_map(|(file, _)| &file.tensors).map(|tensor| (tensor.name, sizes(tensor))).collect();
    let mut pairs = BTreeMap::<&str, [Option<&TensorInfo<'_>>; 2]>::new();
    for tensor in &file.tensors {
        let found = SUFFIXES
            .iter()
            .enumerate()
            .find_map(|(at, suffix)| Some((tensor.name.strip_suffix(suffix)?, at)));
        match found {
            Some((name, at)) => pairs.entry(name).or_default()[at] = Some(tensor),
            None if tensor.name.ends_with("_norm.weight") => {
                findings.warning(
                    "norm-ignored",
                    Some(tensor.name),
                    "llama.cpp passes over norms in an adapter",
                );
            }
            None => {
                let message =
                    "its name does not end in .lora_a or .lora_b, which llama.cpp refuses; leave it out";
                findings.error("bad-suffix", Some(tensor.name), message);
            }
        }
    }
    if pairs.is_empty() {
        findings.warning("empty", None, "it holds no pair, so that it does nothing");
    }
    for (name, pair) in pairs {
        match pair {
            [Some(a), Some(b)] => {
                match tensors.get(name) {
                    Some(base) => shapes(name, *base, a, b, !tensors.contains_key("output.weight"), findings),
                    None => unknown(name, a.name, !tensors.contains_key("output.weight"), findings),
                }
                let ignored = |(architecture, word): &(&str, &str)| {
                    file.architecture() == Some(architecture) && name.contains(word)
                };
                if IGNORED.iter().any(ignored) {
                    let message = "llama.cpp multiplies this weight without adapters in this architecture";
                    findings.warning("architecture-ignores", Some(a.name), message);
                }
                values(adapter, a, b, findings);
            }
            [a, b] => {
                let alone = a.or(b).map_or(name, |tensor| tensor.name);
                let missing = if a.is_some() { "lora_b" } else { "lora_a" };
                findings.error(
                    "missing-pair",
                    Some(alone),
                    format!("its {missing} is missing; write the adapter again"),
                );
            }
        }
    }
    Ok(())
}

fn unknown(name: &str, tensor: &str, tied: bool, findings: &mut Findings) {
    if name == "output.weight" && tied {
        let message =
            "the base has no output head of its own, it is tied to the embedding; leave the pair out";
        return findings.error("tied-output", Some(tensor), message);
    }
    let message =
        format!("the base has no tensor {name}: wrong base, or names of another format (phlora convert)");
    findings.error("unknown-tensor", Some(tensor), message);
}

/// Compares sizes as the loader does, and what it leaves to crash later.
fn shapes(
    name: &str,
    base: Sizes,
    a: &TensorInfo<'_>,
    b: &TensorInfo<'_>,
    tied: bool,
    findings: &mut Findings,
) {
    let (first, second) = (sizes(a), sizes(b));
    let flipped = is_flipped(name.trim_end_matches(".weight"));
    if flipped && tied {
        let message = "the output head is tied to the embedding, where llama.cpp crashes with such a pair; leave it out";
        return findings.error("tied-embedding", Some(a.name), message);
    }
    let (fits, ranks, of_a, of_b) = if flipped {
        (base[0] == second[1] && base[1] == first[1], first[0] == second[0], base[1], base[0])
    } else {
        (base[0] == first[0] && base[1] == second[1], first[1] == second[0], base[0], base[1])
    };
    if !fits {
        let message = format!(
            "lora_a is {:?} and lora_b {:?}, which does not go with the base's {:?}: wrong base, or transposed",
            a.shape, b.shape, &base
        );
        return findings.error("wrong-shape", Some(a.name), message);
    }
    if !ranks {
        let message = format!("lora_a is {:?} and lora_b {:?}: their ranks differ", a.shape, b.shape);
        return findings.error("rank-mismatch", Some(a.name), message);
    }
    let experts = base[2];
    if first[2] < experts || second[2] < experts || first[2] != second[2] || first[3] * second[3] != 1 {
        let message = format!(
            "lora_a has {} and lora_b {} matrices, the base {experts} experts: llama.cpp crashes",
            first[2], second[2]
        );
        return findings.error("expert-count", Some(a.name), message);
    }
    if first[2] > experts {
        if experts == 1 {
            let message = "stacked matrices for a weight that is none: llama.cpp crashes";
            return findings.error("expert-count", Some(a.name), message);
        }
        let message = format!("it has {} experts, the base {experts}: the others are never used", first[2]);
        findings.warning("more-experts", Some(a.name), message);
    }
    if base[1] == 1 {
        findings.warning("no-effect", Some(a.name), "a pair on a vector (norm or bias) is never used");
    }
    let rank = second[0];
    if rank > of_a.min(of_b) {
        let message =
            format!("rank {rank} is more than the weight's narrower side has: a smaller one does the same");
        findings.add(Severity::Note, "rank-too-large", Some(a.name), message);
    }
}

/// Types that cannot be multiplied, entries that are no numbers, factors that do nothing.
fn values(adapter: &Mapped, a: &TensorInfo<'_>, b: &TensorInfo<'_>, findings: &mut Findings) {
    let mut zero = false;
    for tensor in [a, b] {
        let dtype = match tensor.dtype() {
            Some(Dtype::F64) | None => {
                let message = format!(
                    "its type {} is none that llama.cpp multiplies adapters in; use f32, f16, bf16 or q8_0",
                    tensor.type_name()
                );
                findings.error("bad-type", Some(tensor.name), message);
                continue;
            }
            Some(dtype) => dtype,
        };
        let cols = tensor.shape.last().copied().unwrap_or(1);
        let rows = tensor.shape.iter().rev().skip(1).product();
        let factor = Factor::new(dtype, [rows, cols], &adapter.bytes()[tensor.range.clone()]);
        match factor.and_then(|factor| factor.decoded()) {
            Ok(values) => zero |= values.iter().all(|value| *value == 0.0),
            Err(error) => findings.broken("not-finite", Some(tensor.name), error),
        }
    }
    if zero {
        findings.warning(
            "no-effect",
            Some(a.name),
            "a factor is zero everywhere, so that the pair does nothing",
        );
    }
}

fn sizes(tensor: &TensorInfo<'_>) -> Sizes {
    let mut sizes = [1; 4];
    for (size, stated) in sizes.iter_mut().zip(tensor.shape.iter().rev()) {
        *size = *stated;
    }
    sizes
}
