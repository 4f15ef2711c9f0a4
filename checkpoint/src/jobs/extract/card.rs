//! The model card of an adapter: the README.md that hubs show.

use crate::adapter::AdapterFormat;
use crate::report::{LeftOut, Report};
use crate::source::hub;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a card says beyond the report.
#[derive(Debug)]
pub(crate) struct Card<'c> {
    pub(crate) report: &'c Report,
    pub(crate) format: AdapterFormat,
    /// What the models are called; never paths.
    pub(crate) base: &'c str,
    pub(crate) tuned: &'c str,
    pub(crate) rank: usize,
    /// PEFT's task type.
    pub(crate) task: Option<&'c str>,
    /// How the extraction was asked for, without paths.
    pub(crate) asked: Option<&'c str>,
}

impl Card<'_> {
    /// The text, with the hub's metadata at its head. The licence is left open: it follows from those of the models.
    pub(crate) fn text(&self) -> String {
        let Self { report, base, tuned, .. } = self;
        let total = &report.total;
        let mut text = self.head();
        let _ = write!(
            text,
            "\n# LoRA adapter of {} on {}\n\nIt keeps {} of the difference of the two models' weights: {} of that of the {} \
             modules that it changes. It was computed from the weights alone, without data and without training, by the \
             method of PHLoRA (arXiv 2509.10971).\n\n",
            code(tuned),
            code(base),
            percent(total.whole_energy.unwrap_or(total.energy)),
            percent(total.energy),
            report.modules.len(),
        );
        let rows = [
            ("base", code(base)),
            ("fine-tuned model", code(tuned)),
            ("rank", self.rank.to_string()),
            ("modules", report.modules.len().to_string()),
            ("storage format", report.dtype.clone()),
            ("made by", format!("phlora {}", report.phlora)),
        ];
        text.push_str("| | |\n|---|---|\n");
        for (name, value) in rows {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        text.push_str(&left_out(report));
        text.push_str(&self.usage());
        if let Some(asked) = self.asked {
            let _ = write!(text, "\n## How it was made\n```sh\n{asked}\n```\n");
        }
        text.push_str("\nNo licence is stated here: it follows from those of the two models.\n");
        text
    }

    fn head(&self) -> String {
        let mut head = String::from("---\n");
        if self.base.contains('/') && hub::is_id(self.base) {
            let _ = writeln!(head, "base_model: {}", self.base);
        }
        let library = if self.format == AdapterFormat::Mlx { "mlx" } else { "peft" };
        let _ = writeln!(head, "library_name: {library}");
        if self.task == Some("CAUSAL_LM") {
            head.push_str("pipeline_tag: text-generation\n");
        }
        head.push_str("tags:\n- lora\n- phlora\n---\n");
        head
    }

    fn usage(&self) -> String {
        let (base, python) = (quoted(self.base), self.format == AdapterFormat::Peft);
        if python {
            let loaded = if self.task == Some("CAUSAL_LM") {
                format!(
                    "from transformers import AutoModelForCausalLM\n\nmodel = AutoModelForCausalLM.from_pretrained({base})\n"
                )
            } else {
                format!("\nmodel = …  # {base}, loaded by its own library\n")
            };
            return format!(
                "\n## Use\n```python\nfrom peft import PeftModel\n{loaded}model = PeftModel.from_pretrained(model, \
                 \"ADAPTER\")\n```\n"
            );
        }
        format!(
            "\n## Use\n```sh\nmlx_lm.generate --model {base} --adapter-path ADAPTER --prompt Hello\n```\n"
        )
    }
}

/// What the adapter does not change, by group.
fn left_out(report: &Report) -> String {
    let full: f64 = report.full.iter().map(|tensor| tensor.delta_norm.powi(2)).sum();
    let left: f64 = report.left_out.iter().map(LeftOut::sum_squares).sum();
    let all = report.total.delta_norm.powi(2) + full + left;
    let mut groups = BTreeMap::<&str, (usize, f64)>::new();
    for tensor in report.left_out.iter().filter(|tensor| tensor.group() != "unchanged") {
        let group = groups.entry(tensor.group()).or_default();
        *group = (group.0 + 1, group.1 + tensor.sum_squares());
    }
    if groups.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n| left out | tensors | of the difference |\n|---|---|---|\n");
    for (group, (tensors, squares)) in groups {
        let share = percent(if all > 0.0 { squares / all } else { 0.0 });
        let _ = writeln!(text, "| {} | {tensors} | {share} |", plain(group));
    }
    text
}

/// A share of a difference of weights; the last digit of more would differ between processors.
fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// `text` from a file or a name, without what would be markup, a new line or invisible.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && !"`|<>[]\\".contains(*c)).collect()
}

fn code(text: &str) -> String {
    format!("`{}`", plain(text))
}

/// A string of Python and of shells.
fn quoted(text: &str) -> String {
    format!("\"{}\"", plain(text).replace(['"', '$'], ""))
}

#[cfg(test)]
mod tests {
    use super::{code, quoted};

    #[test]
    fn names_are_no_markup() {
        assert_eq!(code("a`b|c\n<d>"), "`abcd`");
        assert_eq!(quoted("a\"$(x)\\"), "\"a(x)\"");
    }
}
