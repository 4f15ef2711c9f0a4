//! What pruning makes: an adapter of other factors.

use crate::adapter::{Factors, FullTensor, Lora, LoraModule, Naming};

/// The adapter with these factors, scales among them; without the modules that have none.
pub(super) fn cut_to<'l>(lora: &Lora<'l>, factors: Vec<Option<Factors>>) -> Lora<'l> {
    let with = |(module, factors): (&LoraModule<'l>, Option<Factors>)| {
        let Factors { a, b, .. } = factors?;
        Some(LoraModule { a, b, scale: 1.0, ..module.clone() })
    };
    let modules: Vec<_> = lora.modules.iter().zip(factors).filter_map(with).collect();
    // A suffix may now also name a module without factors: full paths never do.
    let all = modules.len() == lora.modules.len();
    let targets = lora.targets.clone().filter(|_| all);
    // PEFT's place for what is added to a bias is beside factors.
    let left = |module: &str| modules.iter().any(|left| left.name == module);
    let beside = |tensor: &&FullTensor<'_>| {
        lora.naming != Naming::HuggingFace || !tensor.adds_to_bias() || left(tensor.module())
    };
    let full = lora.full.iter().filter(beside).cloned().collect();
    Lora { modules, full, targets, ..lora.clone() }
}
