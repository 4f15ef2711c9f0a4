//! Finds what makes a runtime refuse, crash on or ignore an adapter, before it does. `docs/checks.md` lists
//! the codes and what llama.cpp does.

mod consumers;
mod container;
mod findings;
mod modules;
mod pairs;
mod repairs;

pub use consumers::{Consumer, check_for};
pub use findings::{Finding, Repair, Severity};

use crate::error::Result;
use crate::run::monitor::Monitor;
use crate::source::model::Model;
use std::path::Path;

/// Checks `adapter`, a file or a PEFT directory, against `base`: a PEFT directory as [`check_for`] does for PEFT, where the base
/// is no GGUF file. A broken adapter gives findings, not an error; the worst come first.
///
/// # Errors
/// When a file cannot be read, or the base is not sound; [`Error::Cancelled`](crate::Error::Cancelled).
///
/// ```no_run
/// use phlora::{Model, Monitor, check};
/// use std::path::Path;
///
/// for finding in check(Path::new("adapter"), &Model::open(Path::new("base"))?, &Monitor::default())? {
///     println!("{:?} {}: {}", finding.severity, finding.code, finding.message);
/// }
/// # Ok::<(), phlora::Error>(())
/// ```
pub fn check(adapter: &Path, base: &Model, monitor: &Monitor) -> Result<Vec<Finding>> {
    if !base.is_gguf() && consumers::is_peft(adapter) {
        return check_for(adapter, base, Consumer::Peft, monitor);
    }
    modules::sound(adapter, base, monitor)?.sorted()
}
