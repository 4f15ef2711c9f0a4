//! What the library says, in the words of the command line.

use phlora::{Error, Note, Reason};

/// An error with what to do about it.
pub fn error(error: &Error) -> String {
    let problem = match error {
        Error::Include { pattern, problem, .. } => format!("--include {pattern} {problem}"),
        other => other.to_string(),
    };
    match error.reason().and_then(advice) {
        Some(advice) => format!("{problem}; {advice}"),
        None => problem,
    }
}

/// A note, with the patterns that were typed.
pub fn note(note: &Note) -> String {
    match note {
        Note::Include { pattern, said } => format!("--include {pattern} {said}"),
        Note::Exclude { pattern, said } => format!("--exclude {pattern} {said}"),
        Note::Rows { .. } => format!(
            "{note}: --include with a pattern of its path gives it factors, --token-energy stores only the rows that changed \
             the most"
        ),
        other => other.to_string(),
    }
}

/// What to type instead.
fn advice(reason: Reason) -> Option<String> {
    Some(match reason {
        Reason::Exists(replaced) => format!("--force replaces {replaced}"),
        Reason::Unusable => "--exclude leaves it out".into(),
        Reason::FilteredOut => "see --include and --exclude".into(),
        Reason::AlsoExcluded => "an --exclude names it as well".into(),
        Reason::NotAdaptedByPeft => {
            "leave it out, or take it with --names checkpoint, for `phlora merge` and servers \
                                     that go by the names of the checkpoint"
                .into()
        }
        Reason::WholeLayer => "--also layers stores it whole".into(),
        Reason::OtherRows => "--also tokens stores the rows that changed and those that are new".into(),
        Reason::Norm => "LoRA cannot represent norms, --also norms stores them".into(),
        Reason::Bias => "LoRA cannot represent biases, --also biases stores them".into(),
        Reason::NoMemory => {
            "the system refuses it: free some, or raise the limit (ulimit -v, cgroups)".into()
        }
        Reason::Memory => "see --scratch and --threads".into(),
        Reason::Spool => "allow more (--spool-size), on a disk if memory is short (--spool)".into(),
        Reason::Range => "use --dtype bf16 or f32".into(),
        Reason::NoArchitecture => {
            "--base (a GGUF file, or a directory with config.json) or --arch says it".into()
        }
        Reason::NoHeads => {
            "--base (a GGUF file, or a directory with config.json), or --heads and --kv-heads say it".into()
        }
        Reason::NoBase => "--base names it, with its weights".into(),
        Reason::Dora => {
            "`phlora convert --base BASE --rank R` makes a LoRA adapter of it, `phlora merge` the model"
                .into()
        }
        Reason::NoBaseOrPrefix => "--base or --prefix tells it".into(),
        Reason::NoPrefix => {
            "--prefix says what stands before their paths (lora_unet, lora_te1, diffusion_model, …)".into()
        }
        Reason::Dotted => "--format kohya is read by ComfyUI as well".into(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use phlora::{ExtractJob, Monitor, Output};

    #[test]
    fn what_to_type_is_the_commands_alone() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        std::fs::create_dir(&out).unwrap();
        let job = ExtractJob::new("base", "tuned");
        let refused = job.run(&Output::new(out), &Monitor::default()).unwrap_err();
        assert!(refused.to_string().ends_with("exists already"), "{refused}");
        assert!(error(&refused).ends_with("exists already; --force replaces an adapter directory"));
    }
}
