//! What serving systems accept, and options made to fit them.

use crate::adapter::AdapterFormat;
use crate::jobs::extract::also::Also;
use crate::jobs::extract::options::ExtractOptions;
use crate::pairing::aligned::Names;
use phlora_core::{Dtype, Goal, Policy};
use regex::Regex;

/// A system that serves adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// PEFT itself: any rank, also mixed ones.
    Peft,
    /// vLLM: one scale and one rank, at most 512.
    Vllm,
    /// llama.cpp: GGUF, any rank, also mixed ones.
    LlamaCpp,
    /// `LoRAX`: one rank, 8 or a multiple of 16; a kind of module in all layers or in none.
    Lorax,
    /// S-LoRA: one rank, f16, attention's q, k, v and o alone.
    Slora,
    /// Punica: one rank of 8, 16, 32 or 64, projections alone.
    Punica,
}

/// The largest rank that vLLM can be started for.
const VLLM_MOST: usize = 512;
/// Ranks that `LoRAX` takes without padding; as far as ranks are of use.
const LORAX: [usize; 17] = [8, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256];
const PUNICA: [usize; 4] = [8, 16, 32, 64];

impl Server {
    /// Changes `options` to what the server accepts and says what had to give.
    pub fn adjust(self, options: &mut ExtractOptions) -> Vec<String> {
        let before = options.clone();
        let policy = &mut options.policy;
        match self {
            Self::Peft => {}
            Self::LlamaCpp => options.format = AdapterFormat::Gguf,
            Self::Vllm => policy.max_rank = policy.max_rank.min(VLLM_MOST),
            Self::Lorax => {
                policy.allowed = &LORAX;
                options.complete_kinds = true;
            }
            Self::Slora => {
                options.dtype = Dtype::F16;
                options.filter.accepted = accepted(r"(^|\.)[qkvo]_proj$");
            }
            Self::Punica => {
                policy.allowed = &PUNICA;
                options.filter.accepted = accepted(r"_proj$");
            }
        }
        let policy = &mut options.policy;
        if !matches!(self, Self::Peft | Self::LlamaCpp) {
            options.format = AdapterFormat::Peft;
            // They find modules by the names of the checkpoint, experts one by one.
            options.names = Names::Checkpoint;
            options.filter.linear_only = true;
            policy.uniform = true;
        }
        if self != Self::Peft {
            options.also = Also::default();
        }
        if let Some(&most) = policy.allowed.last() {
            let first = policy.allowed.first().copied().unwrap_or(1);
            // A given rank becomes the next one that there is, not a smaller one.
            let up = Policy { max_rank: most, ..*policy }.round(policy.max_rank.min(most));
            policy.max_rank =
                if policy.goal == Goal::Fixed { up } else { policy.max_rank.min(most).max(first) };
        }
        notes(&before, options)
    }
}

fn accepted(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).ok()
}

/// What is not as it was asked for.
fn notes(before: &ExtractOptions, after: &ExtractOptions) -> Vec<String> {
    let mut notes = Vec::new();
    if after.policy.uniform && !before.policy.uniform {
        notes.push("one rank for all modules".to_owned());
    }
    if after.policy.max_rank != before.policy.max_rank {
        notes.push(if after.policy.goal == Goal::Fixed {
            format!("rank {} in the place of {}", after.policy.max_rank, before.policy.max_rank)
        } else {
            format!("no rank above {}", after.policy.max_rank)
        });
    }
    if after.dtype != before.dtype {
        notes.push(format!("factors in {}", after.dtype.name().to_ascii_lowercase()));
    }
    if after.format != before.format {
        let name = if after.format == AdapterFormat::Gguf { "a GGUF file" } else { "a PEFT directory" };
        notes.push(format!("{name} as the format"));
    }
    if after.also != before.also {
        notes.push("no norms, biases or tokens beside the factors".to_owned());
    }
    if let Some(accepted) = &after.filter.accepted {
        notes.push(format!("only modules that match {accepted}"));
    }
    notes
}
