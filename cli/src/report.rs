//! `phlora report`: a report as a page.

use crate::args::ReportArgs;
use crate::failure::Failure;
use crate::interrupt;
use phlora::{read_report, render_page, save_page};
use std::process::ExitCode;

pub fn run(args: &ReportArgs) -> Result<ExitCode, Failure> {
    let monitor = interrupt::monitor();
    let report = read_report(&args.report)?;
    save_page(&render_page(&report), &args.output, args.force, &monitor)?;
    Ok(ExitCode::SUCCESS)
}
