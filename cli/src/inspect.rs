//! `phlora inspect`.

use crate::args::InspectArgs;
use crate::facts;
use crate::failure::Failure;
use crate::print::{self, bytes, count, percent, plain, seconds};
use crate::say;
use crate::summary;
use crate::table::Table;
use phlora::{AdapterFacts, AdapterFormat, Container, Contents, Count, ModelFacts, Report, inspect};
use std::process::ExitCode;

pub fn run(args: &InspectArgs) -> Result<ExitCode, Failure> {
    let contents = inspect(&args.path)?;
    if args.json {
        print::json(&facts::as_json(&contents, args.modules))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = match &contents {
        Contents::Model(facts) => model(facts),
        Contents::Adapter(facts) => adapter(facts),
        Contents::Report(facts) => report(facts),
    };
    let listed = if args.modules { ["\n", &facts::listed(&contents)].concat() } else { String::new() };
    say::summary(&[text, listed].concat())?;
    Ok(ExitCode::SUCCESS)
}

fn model(facts: &ModelFacts) -> String {
    let known = |text: &Option<String>| plain(text.as_deref().unwrap_or("unknown")).into_owned();
    let what = match &facts.container {
        Container::Gguf { version, architecture } => {
            format!("GGUF model (version {version}), architecture {}", known(architecture))
        }
        _ => {
            format!("model, {} (type {})", known(&facts.config.architecture), known(&facts.config.model_type))
        }
    };
    let mut text = format!(
        "{what}\n{} weights in {} tensors, {}, {}\n",
        count(facts.total.parameters),
        facts.total.tensors,
        bytes(facts.total.bytes),
        if facts.files.len() == 1 { "1 file".to_owned() } else { format!("{} files", facts.files.len()) }
    );
    if facts.config.tied == Some(true) {
        text.push_str("the output head is tied to the embedding\n");
    }
    let method = facts.quantization.as_deref().map(|method| format!("quantised with {}\n", plain(method)));
    text += &method.unwrap_or_default();
    let kinds = facts.kinds.iter().map(|(kind, count)| (kind.label(), count));
    text + "\n" + &counts("kind", kinds) + "\n" + &dtypes(&facts.dtypes)
}

fn adapter(facts: &AdapterFacts) -> String {
    let (least, most) = facts.scales;
    let scale = if least < most { format!("{least} to {most}") } else { most.to_string() };
    let base = facts.base_name.as_ref().map_or(String::new(), |base| format!("base {}\n", plain(base)));
    let what = match (facts.format, &facts.architecture) {
        (AdapterFormat::Gguf, name) => {
            let name = plain(name.as_deref().unwrap_or("unknown"));
            format!("GGUF LoRA adapter, architecture {name}")
        }
        (AdapterFormat::Kohya, _) => "kohya LoRA adapter".to_owned(),
        (AdapterFormat::Comfy, _) => "ComfyUI LoRA adapter".to_owned(),
        (AdapterFormat::Mlx, _) => "LoRA adapter of mlx-lm".to_owned(),
        (AdapterFormat::Phlora, _) => "LoRA adapter in phlora's compact form".to_owned(),
        _ if facts.dora => "DoRA adapter".to_owned(),
        _ => "LoRA adapter".to_owned(),
    };
    let full = match facts.full.tensors {
        0 => String::new(),
        tensors => format!(
            "{} weights in {tensors} tensors beside the factors, {}\n",
            count(facts.full.parameters),
            bytes(facts.full.bytes)
        ),
    };
    let text = format!(
        "{what}, rank {}, alpha {}, scale {scale}\n{} weights for {} modules, {}\n",
        facts.rank,
        facts.alpha,
        count(facts.total.parameters),
        facts.modules,
        bytes(facts.total.bytes)
    );
    let suffixes = facts.suffixes.iter().map(|(name, count)| (name.as_str(), count));
    text + &full + &base + "\n" + &counts("modules", suffixes) + "\n" + &dtypes(&facts.dtypes)
}

fn report(facts: &Report) -> String {
    let total = &facts.total;
    format!(
        "report of phlora {} (version {})\n{} of ‖Δ‖² kept over {} modules: {} weights in, {} out\n\
         read {} in {}, wrote {}\n\n{}",
        plain(&facts.phlora),
        facts.version,
        percent(total.energy),
        facts.modules.len(),
        count(total.parameters_in),
        count(total.parameters_out),
        bytes(facts.bytes_in),
        seconds(facts.seconds),
        bytes(facts.bytes_out),
        [summary::full(facts), summary::left_out(facts)].concat()
    )
}

fn dtypes(dtypes: &std::collections::BTreeMap<String, Count>) -> String {
    counts("dtype", dtypes.iter().map(|(name, count)| (name.as_str(), count)))
}

fn counts<'c>(title: &str, rows: impl Iterator<Item = (&'c str, &'c Count)>) -> String {
    let mut table = Table::new(&[title, "tensors", "weights", "bytes"]);
    for (name, all) in rows {
        table.row(vec![name.to_owned(), all.tensors.to_string(), count(all.parameters), bytes(all.bytes)]);
    }
    table.render()
}
