//! `phlora merge`.

use crate::args::MergeArgs;
use crate::destination::{Destination, is_stdout};
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print::{self, bytes};
use crate::progress::with_bar;
use crate::say;
use phlora::{Adapter, MergeOptions, Model, available_threads, merge};
use serde_json::json;
use std::process::ExitCode;

pub fn run(args: &MergeArgs) -> Result<ExitCode, Failure> {
    let count = args.adapters.len();
    let scales = match *args.scale.as_slice() {
        [] => vec![1.0; count],
        [one] => vec![one; count],
        ref each if each.len() == count => each.to_vec(),
        ref each => {
            let problem =
                format!("{} scales for {count} adapters, expected one, or one for each", each.len());
            return Err(Failure::Usage(problem));
        }
    };
    let monitor = interrupt::monitor();
    let base = Model::open(&args.base)?;
    let adapters: Vec<_> = args.adapters.iter().map(|path| Adapter::open(path)).collect::<Result<_, _>>()?;
    let terms: Vec<_> = adapters.iter().zip(scales).collect();
    let mut options = MergeOptions::default();
    options.force = args.force;
    options.threads = args.threads.unwrap_or_else(available_threads);
    if is_stdout(&args.output) && (args.json || !args.base.is_file()) {
        let problem = "standard output takes a model of one file, and nothing beside it: give a place";
        return Err(Failure::Usage(problem.into()));
    }
    let name = args.base.file_name().and_then(|name| name.to_str()).unwrap_or("model.safetensors");
    let place = Destination::of(&args.output, name)?;
    let work = || merge(&base, &terms, place.path(), &options, &monitor);
    let merged = with_bar(&monitor, "merging", args.json, work)?;
    merged.notes.iter().for_each(|note| complain(note));
    if args.json {
        print::json(&json!({
            "path": args.output,
            "adapters": count,
            "weights": merged.weights,
            "full": merged.full,
            "files": merged.files,
            "bytes": merged.bytes,
            "notes": merged.notes,
        }))?;
    } else {
        let (adapters, files) = (plural(count, "adapter"), plural(merged.files, "file"));
        let weights = match merged.full {
            0 => plural(merged.weights, "weight"),
            full => format!("{} and {}", plural(merged.weights, "weight"), plural(full, "other tensor")),
        };
        let output = place.shown();
        say::summary(&format!(
            "merged {adapters} into {weights}, wrote {} in {files} to {output}\n",
            bytes(merged.bytes)
        ))?;
    }
    place.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
