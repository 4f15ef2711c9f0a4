//! `phlora convert`.

use crate::args::{ConvertArgs, FormatArg};
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print::{bytes, print};
use phlora::{Adapter, ConvertOptions, Heads, convert};
use std::process::ExitCode;

pub fn run(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    let heads = args
        .heads
        .map(|queries| Heads { queries: queries.get(), keys: args.kv_heads.unwrap_or(queries).get() });
    let mut options = ConvertOptions::new(FormatArg::of(args.format, &args.output)?);
    options.dtype = args.dtype.map(Into::into);
    options.base.clone_from(&args.base);
    options.architecture.clone_from(&args.arch);
    options.heads = heads;
    options.names = args.names.map(Into::into);
    options.prefix.clone_from(&args.prefix);
    options.force = args.force;
    let monitor = interrupt::monitor();
    let adapter = Adapter::open(&args.adapter)?;
    let done = convert(&adapter, &args.output, &options, &monitor)?;
    if done.not_in_blocks > 0 {
        complain(&format!(
            "{} factors are f16, since their rows do not go into whole blocks of the format asked for",
            done.not_in_blocks
        ));
    }
    if !args.quiet {
        let folded = match done.folded {
            0 => String::new(),
            modules => format!("; the scale of {modules} is part of their lora_b now"),
        };
        print(&format!(
            "{} modules of rank {}{folded}\nwrote {} to {}\n",
            done.modules,
            done.rank,
            bytes(done.bytes),
            args.output.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
