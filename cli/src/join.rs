//! `phlora join`.

use crate::args::{Cli, Command, ExtractArgs, FormatArg, JoinArgs};
use crate::extract;
use crate::failure::Failure;
use clap::CommandFactory;
use phlora::{AdapterFormat, Error, PartHeader, Shard, Work};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub fn run(args: &JoinArgs) -> Result<ExitCode, Failure> {
    let headers = args.parts.iter().map(|path| PartHeader::read(path)).collect::<Result<Vec<_>, _>>()?;
    all_shares(args, &headers)?;
    let Some((first, path)) = headers.first().zip(args.parts.first()) else {
        return Err(Failure::Usage("no part file is named".into()));
    };
    let asked = asked(first, path, args)?;
    match extract::execute(&asked, Work::None) {
        Err(Failure::Library(error @ Error::Unfinished { .. })) => Err(Failure::Usage(format!(
            "{error}; run every shard again, with --parts and all of these part files, since {}",
            if asked.ranks.shares_out() || asked.ranks.uniform {
                "the ranks follow from all of them"
            } else {
                "one of them has not come to its end"
            }
        ))),
        other => other,
    }
}

/// The extraction that the parts are of, with the output that `args` names.
fn asked(header: &PartHeader, path: &Path, args: &JoinArgs) -> Result<Box<ExtractArgs>, Failure> {
    let words = std::iter::once("phlora").chain(header.command.iter().map(String::as_str));
    let parsed = Cli::command().try_get_matches_from(words).and_then(|matches| Cli::read(&matches));
    let Ok(Cli { command: Command::Extract(mut asked), .. }) = parsed else {
        let problem =
            "it does not say how its extraction was asked for: make it anew with this version of phlora";
        return Err(Failure::Usage(format!("{}: {problem}", path.display())));
    };
    let stays = |path: &Path| path.exists() || phlora::is_address(path);
    let absolute = |path: PathBuf| if stays(&path) { path } else { header.directory.join(path) };
    asked.base = args.base.clone().unwrap_or_else(|| absolute(asked.base.clone()));
    asked.tuned = match &args.tuned {
        Some(tuned) => vec![tuned.clone()],
        None => asked.tuned.iter().cloned().map(absolute).collect(),
    };
    asked.deployed_base = asked.deployed_base.map(absolute);
    asked.what.channel_scale = asked.what.channel_scale.map(absolute);
    asked.format = Some(format(&asked, args)?);
    asked.output.clone_from(&args.output);
    asked.work.parts.clone_from(&args.parts);
    (asked.work.shard, asked.work.resume, asked.work.fresh, asked.dry_run) = (None, false, false, false);
    let named = asked.saved.base_name.take();
    asked.saved = args.saved.clone();
    asked.saved.base_name = asked.saved.base_name.or(named);
    Ok(asked)
}

/// The format that the shards were asked for, be it by the name of the first part file; the name of the adapter does not change it.
fn format(asked: &ExtractArgs, args: &JoinArgs) -> Result<FormatArg, Failure> {
    let gguf = |path: &Path| AdapterFormat::of_path(path) == AdapterFormat::Gguf;
    let by_name = if gguf(&asked.output) { FormatArg::Gguf } else { FormatArg::Peft };
    let format = asked.format.unwrap_or(by_name);
    if gguf(&args.output) && !matches!(format, FormatArg::Gguf) {
        let output = args.output.display();
        let problem = "the name of a GGUF adapter, but the shards were asked for another format: run them with --format \
                       gguf, or choose another name";
        return Err(Failure::Usage(format!("{output}: {problem}")));
    }
    Ok(format)
}

/// Checks that every shard is there, once.
fn all_shares(args: &JoinArgs, headers: &[PartHeader]) -> Result<(), Failure> {
    let mut found = BTreeMap::<usize, &Path>::new();
    let mut count = None::<(usize, &Path)>;
    for (header, path) in headers.iter().zip(&args.parts) {
        let shard: Option<Shard> = header.shard.as_deref().and_then(|shard| shard.parse().ok());
        let Some(shard) = shard else { continue };
        let (of, other) = *count.get_or_insert((shard.count(), path));
        if of != shard.count() {
            let (own, other) = (path.display(), other.display());
            return Err(Failure::Usage(format!("{own} is shard {shard}, but {other} is one of {of} shards")));
        }
        if let Some(other) = found.insert(shard.index(), path) {
            let (own, other) = (path.display(), other.display());
            return Err(Failure::Usage(format!(
                "{own} and {other} are both shard {shard}: name one of them"
            )));
        }
    }
    let Some((of, _)) = count else { return Ok(()) };
    let missing: Vec<_> =
        (1..=of).filter(|index| !found.contains_key(index)).map(|i| format!("{i}/{of}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let shown = missing.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if missing.len() > 8 { ", …" } else { "" };
    Err(Failure::Usage(format!("{} of {of} shards are missing: {shown}{more}", missing.len())))
}
