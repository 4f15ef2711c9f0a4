//! Whether what repairs a finding can be done with this adapter.

use super::findings::Repair;
use crate::adapter::{Adapter, AdapterFormat};
use crate::error::{Error, Reason, Result};
use crate::jobs::convert::{ConvertOptions, prepare};
use crate::pairing::aligned::Names;
use crate::run::monitor::Monitor;
use crate::source::model::Model;
use std::path::Path;

/// Whether `repair` makes an adapter of `adapter`, which may be broken, or have no place in the other format.
///
/// # Errors
/// Where that cannot be told, since memory is refused or the check is cancelled.
pub(super) fn works(repair: Repair, adapter: &Path, base: &Model, monitor: &Monitor) -> Result<bool> {
    let tried = Adapter::open(adapter).and_then(|adapter| tried(repair, &adapter, base, monitor));
    match tried {
        Err(error @ Error::Cancelled) => Err(error),
        Err(error) if error.reason() == Some(Reason::NoMemory) => Err(error),
        tried => Ok(tried.is_ok()),
    }
}

fn tried(repair: Repair, adapter: &Adapter, base: &Model, monitor: &Monitor) -> Result<()> {
    let (format, names) = match repair {
        Repair::OneRank(_) => return adapter.lora().map(drop),
        Repair::Peft => (AdapterFormat::Peft, None),
        Repair::Gguf => (AdapterFormat::Gguf, None),
        Repair::Kohya => (AdapterFormat::Kohya, None),
        Repair::Mlx => (AdapterFormat::Mlx, None),
        Repair::CheckpointNames => (AdapterFormat::Peft, Some(Names::Checkpoint)),
        Repair::MemoryNames => (AdapterFormat::Peft, Some(Names::Memory)),
    };
    let mut options = ConvertOptions::new(format);
    options.base = Some(base.path().to_owned());
    options.names = names;
    // The total of the check does not count its bytes.
    let quiet = Monitor::default();
    monitor.check()?;
    let lora = prepare(adapter, &options, &quiet)?.lora;
    lora.factors_alone()?;
    format.length(&lora).map(drop)
}
