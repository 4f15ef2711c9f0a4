//! `phlora convert`.

use crate::args::{ConvertArgs, FormatArg};
use crate::destination::{Destination, check_stdout};
use crate::failure::{Failure, complain};
use crate::interrupt;
use crate::modelfile;
use crate::print::{self, bytes, percent};
use crate::say;
use phlora::{Adapter, ConvertOptions, Heads, convert};
use serde_json::json;
use std::num::NonZeroUsize;
use std::process::ExitCode;

pub fn run(args: &ConvertArgs) -> Result<ExitCode, Failure> {
    let heads = args
        .heads
        .map(|queries| Heads { queries: queries.get(), keys: args.kv_heads.unwrap_or(queries).get() });
    let format = FormatArg::of(args.format, &args.output, FormatArg::FACTORED)?;
    check_stdout(&args.output, format, args.json)?;
    modelfile::check(args.modelfile.as_deref(), format, &args.output, false, args.force)?;
    let mut options = ConvertOptions::new(format);
    options.dtype = args.dtype.map(Into::into);
    options.base.clone_from(&args.base);
    options.architecture.clone_from(&args.arch);
    options.heads = heads;
    options.names = args.names.map(Into::into);
    options.prefix.clone_from(&args.prefix);
    options.rank = args.rank.map(NonZeroUsize::get);
    options.force = args.force;
    let place = Destination::of(&args.output, format.file_name())?;
    let monitor = interrupt::monitor();
    let adapter = Adapter::open(&args.adapter)?;
    let done = convert(&adapter, place.path(), &options, &monitor)?;
    if done.not_in_blocks > 0 {
        complain(&format!(
            "{} factors are f16, since their rows do not go into whole blocks of the format asked for",
            done.not_in_blocks
        ));
    }
    done.notes.iter().for_each(|note| complain(note));
    if args.json {
        print::json(&json!({
            "path": args.output,
            "format": format.word(),
            "modules": done.modules,
            "rank": done.rank,
            "folded": done.folded,
            "not_in_blocks": done.not_in_blocks,
            "energy": done.energy,
            "bytes": done.bytes,
            "notes": done.notes,
        }))?;
    } else {
        let folded = match done.folded {
            0 => String::new(),
            modules => format!("; the scale of {modules} is part of their lora_b now"),
        };
        let kept = done
            .energy
            .map_or(String::new(), |energy| format!("; {} of what DoRA changes kept", percent(energy)));
        say::summary(&format!(
            "{} modules of rank {}{kept}{folded}\nwrote {} to {}\n",
            done.modules,
            done.rank,
            bytes(done.bytes),
            place.shown()
        ))?;
    }
    if let Some(from) = &args.modelfile {
        let path = modelfile::write(from, &args.output, args.force, &interrupt::writing())?;
        if !args.json {
            say::summary(&modelfile::said(&path))?;
        }
    }
    place.finish()?;
    Ok(ExitCode::SUCCESS)
}
