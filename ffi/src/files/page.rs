//! phlora_page_file.

use super::call::{job, path};
use crate::guard::{In, Out};
use crate::status::Status;
use core::ffi::c_char;
use phlora::{Monitor, read_report, render_page, save_page};

/// Draws a report as one page for a browser, which needs no network: `phlora report REPORT -o PAGE`. Allocates.
///
/// - `report`: what phlora_plan_files or phlora_extract_files wrote at `report_path`.
/// - `page`: the HTML file to create.
/// - `force`: 1: replace a page that is there already.
/// - `message`, `message_len`: as for phlora_extract_files.
///
/// Any thread. Returns OK, NULL_POINTER, OVERLAP, BAD_TEXT, IO, FORMAT, EXISTS, INTERNAL.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_page_file(
    report: In<c_char>,
    page: In<c_char>,
    force: u32,
    message: Out<c_char>,
    message_len: usize,
) -> Status {
    job(message, message_len, |guard| {
        let (report, page) = (path(guard, "report", report)?, path(guard, "page", page)?);
        let html = render_page(&read_report(&report)?);
        save_page(&html, &page, force != 0, &Monitor::default())?;
        Ok(String::new())
    })
}
