//! `phlora report`: a report as a page.

use crate::args::ReportArgs;
use crate::destination::{self, is_stdout};
use crate::failure::Failure;
use crate::interrupt;
use crate::print::{self, bytes, print};
use crate::say;
use phlora::{Adapter, Error, Model, read_report, render_page, save_page};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

pub fn run(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let monitor = interrupt::monitor();
    let report = read_report(&args.report).map_err(|error| explained(&args.report, error))?;
    let page = render_page(&report);
    if is_stdout(&args.output) {
        if args.json {
            let problem = "standard output takes one output: give a file for the page beside --json";
            return Err(Failure::Usage(problem.into()));
        }
        destination::take_stdout()?;
        print(&page)?;
        return Ok(ExitCode::SUCCESS);
    }
    save_page(&page, &args.output, args.force, &monitor)?;
    if args.json {
        print::json(&json!({"path": args.output, "bytes": page.len()}))?;
    } else {
        say::summary(&format!("wrote {} to {}\n", bytes(page.len() as u64), args.output.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Why `path` is no report, where it is something else that phlora knows.
fn explained(path: &Path, error: Error) -> Failure {
    let what = match path.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") if path.is_file() => "a page already: open it in a browser",
        _ if Adapter::is_at(path) => {
            "an adapter, not a report: `phlora extract BASE TUNED -o ADAPTER --report page.html` draws the page beside it"
        }
        _ if Model::open(path).is_ok() => {
            "a model, not a report: `phlora plan BASE TUNED --report page.html` draws a page"
        }
        _ => return error.into(),
    };
    Failure::Usage(format!("{}: {what}", path.display()))
}
