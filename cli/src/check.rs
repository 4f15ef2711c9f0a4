//! `phlora check`.

use crate::args::CheckArgs;
use crate::failure::{CHECK_FAILED, Failure};
use crate::grouped::grouped;
use crate::interrupt;
use crate::print::{self, plain};
use crate::reported::quoted;
use crate::say;
use clap::ValueEnum;
use phlora::{Finding, Model, Repair, Severity, check, check_for};
use std::process::ExitCode;

pub fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let base = Model::open(&args.base)?;
    let monitor = interrupt::monitor();
    let findings = match args.consumer {
        Some(consumer) => check_for(&args.adapter, &base, consumer.into(), &monitor)?,
        None => check(&args.adapter, &base, &monitor)?,
    };
    if args.json {
        print::json(&print::value(serde_json::to_string(&findings)))?;
    } else {
        say::summary(&text(&findings, args))?;
    }
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if failed { ExitCode::from(CHECK_FAILED) } else { ExitCode::SUCCESS })
}

fn text(findings: &[Finding], args: &CheckArgs) -> String {
    let line = |finding: &Finding| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let tensor = finding.tensor.as_ref().map_or(String::new(), |tensor| format!("{tensor}: "));
        let text = format!("{tensor}{}", finding.message);
        let repair = finding
            .repair
            .map_or(String::new(), |repair| format!("  repair: {}\n", plain(&command(repair, args))));
        format!("{severity} {}: {}\n{repair}", finding.code, plain(&text))
    };
    match findings {
        [] => match args.consumer.and_then(|consumer| consumer.to_possible_value()) {
            Some(program) => format!("nothing wrong was found for {}\n", program.get_name()),
            None => "nothing wrong was found; --for PROGRAM checks for another program\n".to_owned(),
        },
        _ => grouped(findings).iter().map(line).collect(),
    }
}

/// The command that repairs a finding.
fn command(repair: Repair, args: &CheckArgs) -> String {
    let (adapter, base) = (quoted(&args.adapter.to_string_lossy()), quoted(&args.base.to_string_lossy()));
    let convert =
        |output: &str, more: &str| format!("phlora convert {adapter} -o {output} --base {base}{more}");
    match repair {
        Repair::Gguf => convert("repaired.gguf", ""),
        Repair::Kohya => convert("repaired.safetensors", " --format kohya"),
        Repair::Mlx => convert("repaired", " --format mlx"),
        Repair::CheckpointNames => convert("repaired", " --names checkpoint"),
        Repair::MemoryNames => convert("repaired", " --names memory"),
        Repair::OneRank(rank) => format!("phlora prune {adapter} -o repaired --rank {rank} --uniform"),
        _ => convert("repaired", ""),
    }
}
