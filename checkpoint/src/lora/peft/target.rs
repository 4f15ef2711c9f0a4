//! What PEFT wraps: modules, and parameters of modules, among them the stacks of experts.
//!
//! A parameter is named in `target_parameters`. PEFT wraps several parameters of one module one around the other, in
//! the order in which their class has them, and their factors are told apart by how deep they lie:
//! `experts.base_layer.lora_A.weight` is that of the first of two, `experts.lora_A.weight` that of the second.
//! A stack of E matrices has A [rank·E, in], row e·rank + k being that of expert e, and B [out, rank·E], column
//! k·E + e being that of expert e (peft/tuners/lora/layer.py, `ParamWrapper`).

use crate::error::Result;
use crate::lora::values::{Stack, Values};
use crate::lora::{self, Factor, Lora, LoraModule};
use crate::memory::param_order;
use crate::names::{module_of, suffix_of};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// PEFT's name for the module that a wrapper holds.
pub(super) const INNER: &str = ".base_layer";

/// Most experts of a stack.
pub(super) const MAX_EXPERTS: usize = 1 << 14;

/// Something with a pair of factors.
#[derive(Debug)]
pub(super) struct Target<'l> {
    /// By what `rank_pattern` and `alpha_pattern` know it: path of the module, or name of the parameter.
    pub(super) key: String,
    /// What stands before `.lora_A` in the file.
    pub(super) path: String,
    pub(super) rank: usize,
    pub(super) scale: f64,
    pub(super) parameter: bool,
    /// One, or some experts of a stack.
    pub(super) modules: Vec<&'l LoraModule<'l>>,
}

/// The targets of an adapter, in the order of its modules.
///
/// # Errors
/// When experts of one stack do not belong together.
pub(super) fn targets<'l>(lora: &'l Lora<'_>) -> Result<Vec<Target<'l>>> {
    let mut targets = Vec::<Target<'l>>::new();
    let mut stacks = BTreeMap::<&str, usize>::new();
    for module in &lora.modules {
        if let (Some(&at), Some(_)) = (stacks.get(module.tensor()), module.expert) {
            let target = &mut targets[at];
            target.rank = target.rank.max(module.rank());
            belongs(module, target.modules[0])?;
            target.modules.push(module);
            continue;
        }
        let parameter = module.target != lora::Target::Module;
        let key = match module.target {
            lora::Target::Weight => format!("{}.weight", module.name),
            lora::Target::Parameter | lora::Target::Module => module.tensor().to_owned(),
        };
        if module.expert.is_some() {
            belongs(module, module)?;
            stacks.insert(module.tensor(), targets.len());
        }
        let (path, modules) = (key.clone(), vec![module]);
        targets.push(Target { key, path, rank: module.rank(), scale: module.scale, parameter, modules });
    }
    // PEFT warns of rank patterns of parameters although it follows them: single ones are small, and get the rank of all.
    let rank = lora.rank();
    let single = |target: &&mut Target<'_>| target.parameter && target.modules[0].expert.is_none();
    targets.iter_mut().filter(single).for_each(|target| target.rank = rank);
    let mut owners = BTreeMap::<String, Vec<String>>::new();
    for target in targets.iter().filter(|target| target.parameter) {
        owners.entry(module_of(&target.key).to_owned()).or_default().push(target.key.clone());
    }
    for target in targets.iter_mut().filter(|target| target.parameter) {
        let owner = module_of(&target.key);
        let mut names: Vec<_> = owners[owner].iter().map(|key| suffix_of(key)).collect();
        param_order(&mut names);
        let place = names.iter().position(|name| *name == suffix_of(&target.key)).unwrap_or(0);
        target.path = format!("{owner}{}", INNER.repeat(names.len() - 1 - place));
    }
    Ok(targets)
}

/// Which of `parameters`, names or ends of names, the factors at `path` are those of; `None`: those of a module.
pub(super) fn parameter_at(path: &str, parameters: &[String]) -> Option<String> {
    let owner = path.trim_end_matches(INNER);
    let depth = (path.len() - owner.len()) / INNER.len();
    let of_owner = |name: &String| {
        let key = format!("{owner}.{}", suffix_of(name));
        (key == *name || key.ends_with(&format!(".{name}"))).then_some(key)
    };
    let mut keys: Vec<_> = parameters.iter().filter_map(of_owner).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut names: Vec<_> = keys.iter().map(|key| suffix_of(key)).collect();
    param_order(&mut names);
    let name = names.len().checked_sub(depth + 1).map(|at| names[at])?;
    Some(format!("{owner}.{name}"))
}

/// Whether two experts can be in one stack.
fn belongs(module: &LoraModule<'_>, first: &LoraModule<'_>) -> Result<()> {
    let count = |module: &LoraModule<'_>| module.expert.map_or(0, |expert| expert.count);
    let inside = module.expert.is_some_and(|expert| expert.index < expert.count);
    if module.shape() == first.shape()
        && count(module) == count(first)
        && inside
        && count(first) <= MAX_EXPERTS
    {
        return Ok(());
    }
    let problem = format!(
        "{} of shape {:?} and {} of shape {:?} are not of one stack of {} experts",
        module.name,
        module.shape(),
        first.name,
        first.shape(),
        count(first)
    );
    Err(module.a.error(problem))
}

impl<'l> Target<'l> {
    /// The values of A and of B of a stack.
    pub(super) fn stacked(&self) -> Option<[Values<'l>; 2]> {
        let first = *self.modules.first()?;
        let count = first.expert?.count;
        let [out, input] = first.shape();
        let (mut a, mut b) = (vec![None; count], vec![None; count]);
        for module in &self.modules {
            let index = module.expert?.index;
            let (mut one, mut other) = (Cow::Borrowed(&module.a), Cow::Borrowed(&module.b));
            if module.rank() != self.rank {
                one.to_mut().resize([self.rank, input]);
                other.to_mut().resize([out, self.rank]);
            }
            if module.scale != self.scale {
                other.to_mut().scale(module.scale / self.scale);
            }
            for (factor, first) in [(&mut one, &first.a), (&mut other, &first.b)] {
                if factor.dtype() != first.dtype() {
                    factor.to_mut().set_dtype(first.dtype());
                }
            }
            (*a.get_mut(index)?, *b.get_mut(index)?) = (Some(one), Some(other));
        }
        let stack = |experts: Vec<Option<Cow<'l, Factor<'l>>>>| {
            let first = experts.iter().flatten().next()?.clone();
            Some(Stack { first, experts })
        };
        Some([Values::Rows(stack(a)?), Values::Columns(stack(b)?)])
    }

    /// The shapes of both in the file.
    pub(super) fn shapes(&self) -> [Vec<usize>; 2] {
        let count = self.modules[0].expert.map_or(1, |expert| expert.count);
        let [out, input] = self.modules[0].shape();
        [vec![self.rank * count, input], vec![out, self.rank * count]]
    }
}
