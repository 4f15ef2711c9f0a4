//! `phlora check`.

use crate::args::CheckArgs;
use crate::failure::{CHECK_FAILED, Failure};
use crate::print::{self, plain};
use crate::say;
use phlora::{Finding, Model, Severity, check};
use std::process::ExitCode;

pub fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let base = Model::open(&args.base)?;
    let findings = check(&args.adapter, &base)?;
    if args.json {
        print::json(&print::value(serde_json::to_string(&findings)))?;
    } else {
        say::summary(&text(&findings))?;
    }
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if failed { ExitCode::from(CHECK_FAILED) } else { ExitCode::SUCCESS })
}

fn text(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        let tensor = finding.tensor.as_ref().map_or(String::new(), |tensor| format!("{tensor}: "));
        let text = format!("{tensor}{}", finding.message);
        format!("{severity} {}: {}\n", finding.code, plain(&text))
    };
    match findings {
        [] => "nothing wrong was found\n".to_owned(),
        _ => findings.iter().map(line).collect(),
    }
}
