//! `phlora report`: a report as a page.

use crate::args::ReportArgs;
use crate::destination::{self, is_stdout};
use crate::failure::Failure;
use crate::interrupt;
use crate::print::{self, bytes, print};
use crate::say;
use phlora::{Adapter, AdapterDiff, Error, Model, read_report, render_adapter_diff, render_page, save_page};
use serde_json::json;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::process::ExitCode;

/// More bytes than the comparison of any two adapters has.
const LARGEST: u64 = 1 << 30;

pub fn run(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let monitor = interrupt::monitor();
    let page = match read_report(&args.report) {
        Ok(report) => render_page(&report),
        Err(error) => match adapters(&args.report) {
            Some(found) => render_adapter_diff(&found),
            None => return Err(explained(&args.report, error)),
        },
    };
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

/// What `diff` found of two adapters, if that is what `path` holds.
fn adapters(path: &Path) -> Option<AdapterDiff> {
    let small = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= LARGEST);
    // Reading ends where it is seen to be something else.
    let file = if small { File::open(path).ok()? } else { return None };
    serde_json::from_reader(BufReader::new(file)).ok()
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
