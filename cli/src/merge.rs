//! `phlora merge`.

use crate::args::MergeArgs;
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print::{bytes, print};
use crate::progress::with_bar;
use phlora::{Adapter, MergeOptions, Model, available_threads, merge};
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
    let work = || merge(&base, &terms, &args.output, &options, &monitor);
    let merged = with_bar(&monitor, "merging", args.quiet, work)?;
    if !args.quiet {
        merged.notes.iter().for_each(|note| complain(note));
        let (adapters, files) = (plural(count, "adapter"), plural(merged.files, "file"));
        let weights = match merged.full {
            0 => plural(merged.weights, "weight"),
            full => format!("{} and {}", plural(merged.weights, "weight"), plural(full, "other tensor")),
        };
        let output = args.output.display();
        print(&format!(
            "merged {adapters} into {weights}, wrote {} in {files} to {output}\n",
            bytes(merged.bytes)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
