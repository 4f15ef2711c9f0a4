//! Why there is nothing to extract.

use crate::error::{Error, Reason};
use crate::jobs::extract::full::Full;
use crate::pairing::aligned::Aligned;
use crate::report::LeftOut;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why there is nothing: all alike, or only what is not extracted differs, or what is stored beside factors alone.
pub(super) fn nothing(models: &Aligned<'_>, full: &[Arc<Full>], left_out: &[LeftOut]) -> Error {
    let mut groups = BTreeMap::<&str, usize>::new();
    for full in full.iter().filter(|full| full.report.delta_norm > 0.0 || full.report.new_rows > 0) {
        *groups.entry(&full.report.kind).or_default() += 1;
    }
    for tensor in left_out.iter().filter(|tensor| tensor.group() != "unchanged") {
        *groups.entry(tensor.group()).or_default() += 1;
    }
    if groups.is_empty() {
        return Error::nothing(format!(
            "all {} tensors are the same on both sides, {} and {}: is the second the fine-tuned model?",
            left_out.len(),
            models.base.model.path().display(),
            models.tuned.model.path().display()
        ));
    }
    let by_options = groups.keys().any(|group| matches!(*group, "excluded" | "not included"));
    let list: Vec<_> = groups.iter().map(|(group, count)| format!("{group} ({count})")).collect();
    let error = Error::nothing(format!("no selected layer differs; left out: {}", list.join(", ")));
    if by_options { error.because(Reason::FilteredOut) } else { error }
}
