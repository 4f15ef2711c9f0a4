//! What PEFT wraps: modules, and parameters of modules, among them the stacks of experts.
//!
//! A parameter is named in `target_parameters`. PEFT wraps several parameters of one module one around the other, in
//! the order in which their class has them, and their factors are told apart by how deep they lie:
//! `experts.base_layer.lora_A.weight` is that of the first of two, `experts.lora_A.weight` that of the second.
//! A stack of E matrices has A [rank·E, in], row e·rank + k being that of expert e, and B [out, rank·E], column
//! k·E + e being that of expert e (peft/tuners/lora/layer.py, `ParamWrapper`).
//!
//! A multi-head attention of torch is one module, whose path stands for its joint projection, `in_proj_weight`, and for
//! its output projection: `attention.lora_A.weight` is that of the first, `attention.base_layer.out_proj.lora_A.weight`
//! that of the second. PEFT wants both, of one rank and scale, and as far as 0.21.2 it adds the second twice, merged and
//! unmerged (its pull request 3774), so that half of it is stored: a PEFT that adds it once then applies half of it.

use crate::adapter::values::{Stack, Values};
use crate::adapter::{self, Factor, IN_PROJ, Lora, LoraModule, OUT_PROJ};
use crate::error::Result;
use crate::naming::kind::{module_of, suffix_of};
use crate::naming::memory::param_order;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// PEFT's name for the module that a wrapper holds.
pub(super) const INNER: &str = ".base_layer";

/// How often PEFT adds what the factors of an output projection say.
pub(super) const OUT_TIMES: f64 = 2.0;

/// Where the output projection of a multi-head attention is.
const INNER_OUT: &str = ".base_layer.out_proj";

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
        let parameter = matches!(module.target, adapter::Target::Weight | adapter::Target::Parameter);
        let key = match module.target {
            adapter::Target::Attention => attention_of(&module.name).to_owned(),
            adapter::Target::Weight => format!("{}.weight", module.name),
            adapter::Target::Parameter | adapter::Target::Module => module.tensor().to_owned(),
        };
        if module.expert.is_some() {
            belongs(module, module)?;
            stacks.insert(module.tensor(), targets.len());
        }
        let inner = module.target == adapter::Target::Attention && module.name.ends_with(OUT_PROJ);
        let path = if inner { format!("{key}{INNER_OUT}") } else { key.clone() };
        let modules = vec![module];
        targets.push(Target { key, path, rank: module.rank(), scale: module.scale, parameter, modules });
    }
    // PEFT warns of rank patterns of parameters although it follows them: single ones are small, and get the rank of all.
    let rank = lora.rank();
    let single = |target: &&mut Target<'_>| target.parameter && target.modules[0].expert.is_none();
    targets.iter_mut().filter(single).for_each(|target| target.rank = rank);
    same_of_attention(&mut targets);
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

/// The path of the attention that the projection `name` is of.
fn attention_of(name: &str) -> &str {
    name.strip_suffix(IN_PROJ).or_else(|| name.strip_suffix(OUT_PROJ)).unwrap_or(name)
}

/// The name of the projection of a multi-head attention whose factors are at `path`; `None` where it is something else.
/// `is_target` says whether there are factors at a path.
pub(super) fn projection_at(path: &str, is_target: impl Fn(&str) -> bool) -> Option<String> {
    if let Some(owner) = path.strip_suffix(INNER_OUT) {
        return is_target(owner).then(|| format!("{owner}{OUT_PROJ}"));
    }
    is_target(&format!("{path}{INNER_OUT}")).then(|| format!("{path}{IN_PROJ}"))
}

/// Gives both projections of an attention the larger rank and the scale of the first.
fn same_of_attention(targets: &mut [Target<'_>]) {
    let mut largest = BTreeMap::<String, (usize, f64)>::new();
    let is = |target: &&mut Target<'_>| target.modules[0].target == adapter::Target::Attention;
    for target in targets.iter_mut().filter(is) {
        let (rank, _) = largest.entry(target.key.clone()).or_insert((0, target.scale));
        *rank = (*rank).max(target.rank);
    }
    for target in targets.iter_mut().filter(is) {
        (target.rank, target.scale) = largest[&target.key];
    }
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
    /// What PEFT multiplies B·A by.
    pub(super) fn applied(&self) -> f64 {
        if self.is_output() { self.scale * OUT_TIMES } else { self.scale }
    }

    /// Whether it is the output projection of an attention.
    fn is_output(&self) -> bool {
        let module = self.modules[0];
        module.target == adapter::Target::Attention && module.name.ends_with(OUT_PROJ)
    }

    /// What the other projection of an attention has where it does not change: path, [out, in], which PEFT wants as
    /// well. `None` where it has factors, or this is something else.
    pub(super) fn missing_projection(&self, targets: &[Self]) -> Option<(String, [usize; 2])> {
        let (module, [rows, width]) = (*self.modules.first()?, self.modules.first()?.shape());
        if module.target != adapter::Target::Attention {
            return None;
        }
        let (path, shape) = if self.is_output() {
            (self.key.clone(), [3 * rows, width])
        } else {
            (format!("{}{INNER_OUT}", self.key), [width, width])
        };
        (!targets.iter().any(|target| target.path == path)).then_some((path, shape))
    }

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

#[cfg(test)]
mod tests;
