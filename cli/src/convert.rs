//! `phlora convert`.

use crate::args::{ConvertArgs, FormatArg};
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::print::{bytes, print};
use phlora_checkpoint::{Adapter, ConvertOptions, Heads, convert};
use std::process::ExitCode;

pub fn run(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    let heads = args
        .heads
        .map(|queries| Heads { queries: queries.get(), keys: args.kv_heads.unwrap_or(queries).get() });
    let options = ConvertOptions {
        format: FormatArg::of(args.format, &args.output)?,
        dtype: args.dtype.map(Into::into),
        base: args.base.clone(),
        architecture: args.arch.clone(),
        heads,
        names: args.names.map(Into::into),
        prefix: args.prefix.clone(),
        force: args.force,
    };
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
