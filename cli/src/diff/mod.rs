//! `phlora diff`: how two models, or two adapters, differ.

mod adapters;
mod models;

use crate::args::DiffArgs;
use crate::failure::Failure;
use phlora::Adapter;
use std::process::ExitCode;

/// More than this are not listed one by one.
const LISTED: usize = 12;

pub fn run(args: &DiffArgs) -> Result<ExitCode, Failure> {
    if args
        .first
        .canonicalize()
        .is_ok_and(|first| args.second.canonicalize().is_ok_and(|second| second == first))
    {
        let problem = format!("{} is named twice: name two models or two adapters", args.first.display());
        return Err(Failure::Usage(problem));
    }
    match (Adapter::is_at(&args.first), Adapter::is_at(&args.second)) {
        (true, true) => adapters::run(args),
        (false, false) if args.base.is_some() => {
            let problem = "--base is for two adapters; two models are compared as they are";
            Err(Failure::Usage(problem.into()))
        }
        (false, false) => models::run(args),
        (first, _) => {
            let (adapter, model) =
                if first { (&args.first, &args.second) } else { (&args.second, &args.first) };
            Err(Failure::Usage(format!(
                "{} is an adapter and {} is not: two models or two adapters are compared; `phlora verify` measures an \
                 adapter against two models",
                adapter.display(),
                model.display()
            )))
        }
    }
}
