//! Options that cannot be met, or that would be met in silence by nothing.

use crate::Row;
use crate::common::small::{Small, TUNED};
use crate::common::{noise, write_model};
use phlora_core::Dtype::F32;
use std::path::Path;

/// A Mamba, whose class PEFT adapts only in part.
fn mamba(root: &Path) {
    let config = r#"{"model_type": "mamba", "architectures": ["MambaForCausalLM"], "hidden_size": 8}"#;
    for (name, change) in [("base", 0.0), ("tuned", 0.1)] {
        let mut tensors = crate::common::Tensors::default();
        for (i, (part, shape)) in
            [("in_proj", &[16, 8][..]), ("conv1d", &[8, 1, 4]), ("x_proj", &[5, 8]), ("out_proj", &[8, 8])]
                .iter()
                .enumerate()
        {
            let (n, seed) = (shape.iter().product(), i as u64);
            let more = noise(seed + 100, n, change);
            let values: Vec<_> = noise(seed + 1, n, 1.0).iter().zip(more).map(|(a, b)| a + b).collect();
            let name = format!("backbone.layers.0.mixer.{part}.weight");
            tensors = tensors.add(&name, shape, F32, &values);
        }
        write_model(&root.join(name), &tensors, config);
    }
}

pub const ROWS: &[Row] = &[
    Row {
        mistake: "rank 0",
        make: |_| (),
        typed: "extract base tuned -o out --rank 0",
        code: 2,
        says: &["--rank", "at least 1"],
    },
    Row {
        mistake: "a rank above that of the weights",
        make: |_| (),
        typed: "extract base tuned -o out --rank 64",
        code: 0,
        says: &["rank 64 is above the narrower side", "capped", "rank 16"],
    },
    Row {
        mistake: "an energy in per cent",
        make: |_| (),
        typed: "extract base tuned -o out --energy 90",
        code: 2,
        says: &["--energy", "90", "0.9 for 90 %, or 90%"],
    },
    Row {
        mistake: "an energy above 100 %",
        make: |_| (),
        typed: "extract base tuned -o out --energy 900",
        code: 2,
        says: &["--energy", "900", "a share from 0 to 1, as in 0.9 or 90%"],
    },
    Row {
        mistake: "a share above all in prune",
        make: |root| crate::model::adapter(root, "lora", &[]),
        typed: "prune lora -o out -r 1 --drop-below 90",
        code: 2,
        says: &["--drop-below", "90", "0.9 for 90 %, or 90%"],
    },
    Row {
        mistake: "a directory to standard output",
        make: |_| (),
        typed: "extract base tuned -o -",
        code: 2,
        says: &["standard output takes one file", "--format gguf"],
    },
    Row {
        mistake: "a Modelfile beside a directory",
        make: |_| (),
        typed: "extract base tuned -o out --modelfile llama3",
        code: 2,
        says: &["a Modelfile is written beside a GGUF adapter", "adapter.gguf"],
    },
    Row {
        mistake: "a module to be stored whole that is not there",
        make: |_| (),
        typed: "extract base tuned -o out --save-module lm_haed",
        code: 2,
        says: &["no module matches lm_haed"],
    },
    Row {
        mistake: "quiet and verbose at once",
        make: |_| (),
        typed: "extract base tuned -o out -q -v",
        code: 2,
        says: &["--quiet", "--verbose", "cannot be used with"],
    },
    Row {
        mistake: "a budget of bytes that cannot hold any rank",
        make: |_| (),
        typed: "extract base tuned -o out --budget 20",
        code: 2,
        says: &["20", "bytes", "at least"],
    },
    Row {
        mistake: "an --include with a typo",
        make: |_| (),
        typed: "extract base tuned -o out --include q_porj",
        code: 2,
        says: &["--include q_porj matches no module", "q_proj"],
    },
    Row {
        mistake: "an --include as a shell pattern",
        make: |_| (),
        typed: "extract base tuned -o out --include *.q_proj",
        code: 2,
        says: &["--include", "*.q_proj", "regular expression", r".*\.q_proj"],
    },
    Row {
        mistake: "an --include of a whole tensor's name",
        make: |_| (),
        typed: "extract base tuned -o out --include q_proj.weight",
        code: 2,
        says: &["--include q_proj.weight matches no module", "without .weight"],
    },
    Row {
        mistake: "an --include of a norm",
        make: |_| (),
        typed: "extract base tuned -o out --include layernorm",
        code: 2,
        says: &["--include layernorm", "norm", "--also norms"],
    },
    Row {
        mistake: "an --include of the head of a tied model",
        make: |root| {
            for name in ["base", "tuned"] {
                crate::common::small::configure(root, name, "tie_word_embeddings", true.into());
            }
        },
        typed: "extract base tuned -o out --include lm_head --include q_proj",
        code: 2,
        says: &["--include lm_head", "tied"],
    },
    Row {
        mistake: "an --include of a convolution that PEFT refuses",
        make: mamba,
        typed: "extract base tuned -o out --include conv1d",
        code: 2,
        says: &["--include conv1d", "PEFT", "--also layers"],
    },
    Row {
        mistake: "an --include of a vocabulary that grew",
        make: |root| Small { rows: 11, ..TUNED }.write(root, "tuned"),
        typed: "extract base tuned -o out --include embed_tokens --include q_proj",
        code: 2,
        says: &["--include embed_tokens", "9 rows in base, 11 in tuned", "--also tokens"],
    },
    Row {
        mistake: "an --include that an --exclude takes back",
        make: |_| (),
        typed: "extract base tuned -o out --include q_proj --exclude self_attn",
        code: 2,
        says: &["--include q_proj", "--exclude"],
    },
    Row {
        mistake: "an --include that the server does not take",
        make: |_| (),
        typed: "extract base tuned -o out --include lm_head --include q_proj --for slora",
        code: 2,
        says: &["--include lm_head", "server"],
    },
    Row {
        mistake: "an --exclude of everything",
        make: |_| (),
        typed: "extract base tuned -o out --exclude .",
        code: 1,
        says: &["nothing to extract", "excluded (17)", "see --include and --exclude"],
    },
    Row {
        mistake: "an --exclude with a typo",
        make: |_| (),
        typed: "extract base tuned -o out --exclude q_porj",
        code: 0,
        says: &["--exclude q_porj matches no", "q_proj"],
    },
    Row {
        mistake: "both a rank and an energy",
        make: |_| (),
        typed: "extract base tuned -o out --rank 8 --energy 0.9",
        code: 2,
        says: &["--rank", "--energy", "cannot be used with"],
    },
    Row { mistake: "no output", make: |_| (), typed: "extract base tuned", code: 2, says: &["--output"] },
    Row {
        mistake: "an unknown server",
        make: |_| (),
        typed: "extract base tuned -o out --for ollama",
        code: 2,
        says: &["ollama", "vllm", "llama.cpp"],
    },
];
