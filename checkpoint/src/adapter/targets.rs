//! Which modules a PEFT configuration names for those with factors.

use crate::naming::kind::{is_number, module_of, suffix_of};
use std::collections::BTreeSet;

/// The targets of a PEFT configuration: the last names of the extracted modules' paths, or their full paths
/// where such a suffix may also name another module: one without factors, one with modules below it, or, where it is a
/// number, anything in a list. `names` are those of the model's tensors.
pub(crate) fn targets<'n>(
    extracted: &BTreeSet<&str>,
    mut names: impl Iterator<Item = &'n str>,
) -> Vec<String> {
    let suffixes: BTreeSet<_> = extracted.iter().map(|module| suffix_of(module)).collect();
    let other = |module: &str| suffixes.contains(suffix_of(module)) && !extracted.contains(module);
    let ambiguous = suffixes.iter().any(|suffix| is_number(suffix))
        || names.any(|name| {
            let module = module_of(name);
            let above = module.match_indices('.').any(|(end, _)| other(&module[..end]));
            above || suffix_of(name) == "weight" && other(module)
        });
    let chosen = if ambiguous { extracted } else { &suffixes };
    chosen.iter().map(|&name| name.to_owned()).collect()
}

/// Whether PEFT takes `target` of a list for `module`: its path, or the end of it after a dot.
pub(crate) fn names_module(target: &str, module: &str) -> bool {
    module.strip_suffix(target).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
