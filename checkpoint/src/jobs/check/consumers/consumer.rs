//! The programs, and what all their checks use.

/// Most names that are read of a list.
pub(super) const MAX_NAMES: usize = 1 << 20;

/// A program that runs adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Consumer {
    /// llama.cpp.
    LlamaCpp,
    /// PEFT.
    Peft,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// diffusers.
    Diffusers,
    /// Ollama.
    Ollama,
    /// mlx-lm.
    Mlx,
}

impl Consumer {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::LlamaCpp => "llama.cpp",
            Self::Peft => "PEFT",
            Self::Vllm => "vLLM",
            Self::Sglang => "SGLang",
            Self::Diffusers => "diffusers",
            Self::Ollama => "Ollama",
            Self::Mlx => "mlx-lm",
        }
    }
}

/// A few of many names, and how many more.
pub(super) fn some<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let count = names.len();
    let shown: Vec<_> = names.take(3).collect();
    let more = count - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &more
}
