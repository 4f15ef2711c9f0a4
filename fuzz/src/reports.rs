//! Reports.

use crate::bounds::within;
use crate::place;
use phlora::{Dtype, Monitor, Policy, choose, inspect, read_report, render_page, save_report};

/// A report, as it is in its file.
pub fn run(data: &[u8]) {
    let path = place::write("report.json", data);
    within(data.len(), || {
        let looked = inspect(&path).is_ok();
        let Ok(report) = read_report(&path) else { return };
        assert!(looked, "it is read, but not looked at");
        let html = render_page(&report);
        assert!(!html.contains("<script") && html.contains("</html>"), "names stay text");
        let _ = choose(&report, &Policy::fixed(4), Dtype::F16);
        let again = place::path("again.json");
        place::remove(&again);
        save_report(&report, &again, false, &Monitor::default()).expect("a report that was read is written");
        let second = read_report(&again).expect("a report that was written is read");
        assert_eq!(format!("{second:?}"), format!("{report:?}"), "what is written is what was read");
    });
}
