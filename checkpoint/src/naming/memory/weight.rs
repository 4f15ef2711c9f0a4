//! The weights of a checkpoint as a model has them in memory.

use super::kinds::Kinds;
use super::layout::Layout;
use super::placed::Placed;
use crate::source::tensor::{Composed, Expert, Tensor, max_experts};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// A weight: where its rows are in the files, and what is known of it.
#[derive(Debug, Clone)]
pub(crate) struct Weight<'m> {
    /// Its name in the checkpoint: of rows of several tensors or of one, a name that says so.
    pub(crate) label: String,
    rows: Composed<'m>,
    /// What it is in memory, where that is known.
    pub(crate) kind: Option<Kinds>,
    /// Whether it is [in, out] in the file where it is [out, in] in memory, or the other way round.
    pub(crate) turned: bool,
}

impl<'m> Weight<'m> {
    /// The whole of a tensor of a file.
    pub(crate) fn new(label: &str, tensor: Tensor<'m>) -> Self {
        Self { label: label.to_owned(), rows: Composed::whole(tensor), kind: None, turned: false }
    }

    /// The view of its rows.
    pub(crate) fn tensor(&self) -> Tensor<'_> {
        self.rows.tensor()
    }

    /// Its rows as they are in the files; see [`Composed::components`].
    pub(crate) fn components(&self) -> impl Iterator<Item = (usize, usize, Tensor<'m>)> {
        self.rows.components()
    }

    /// Whether it is stored [in, out]; `None` where the architecture does not tell.
    pub(crate) fn is_transposed(&self) -> Option<bool> {
        self.kind?.is_transposed(self.turned)
    }

    /// Which matrix of a stack it is.
    pub(crate) fn expert(&self) -> Option<Expert> {
        self.rows.expert
    }
}

/// The weights of a model by name.
pub(crate) type Weights<'m> = BTreeMap<String, Weight<'m>>;

/// The components of one weight that are found in several tensors.
type ComponentsOf<'m> = Vec<Option<Weight<'m>>>;

/// What is joined, by name and matrix of the stack.
type Joined<'m> = BTreeMap<(String, Option<usize>), ComponentsOf<'m>>;

/// `weights`, by their names in a checkpoint, under the names of memory: the name of a matrix of a stack ends in its
/// number, as in `model.layers.0.mlp.experts.down_proj.3.weight`.
pub(crate) fn in_memory<'m>(weights: Weights<'m>, layout: &Layout) -> Weights<'m> {
    let mut placed = BTreeMap::new();
    let mut joined = Joined::new();
    let mut stacked = 0;
    for (name, weight) in weights {
        match layout.place(&name) {
            Placed::Whole(to) => whole(&mut placed, to, weight, layout, &mut stacked),
            Placed::Turned(to) => {
                let turned = Weight { turned: true, ..weight };
                whole(&mut placed, to, turned, layout, &mut stacked);
            }
            Placed::Joined { name: to, component, components, expert } => {
                add_component(&mut joined, (to, expert), component, components, weight);
            }
            Placed::JoinedStack { name: to, component, components } => {
                match matrices(&weight, &mut stacked) {
                    Some(matrices) => {
                        for (index, matrix) in matrices.into_iter().enumerate() {
                            add_component(
                                &mut joined,
                                (to.clone(), Some(index)),
                                component,
                                components,
                                matrix,
                            );
                        }
                    }
                    None => put(&mut placed, name, weight),
                }
            }
            Placed::TurnedUnless { name: to, axis, entries } => {
                let turned = weight.tensor().shape().get(axis) != Some(&entries);
                whole(&mut placed, to, Weight { turned, ..weight }, layout, &mut stacked);
            }
            Placed::Ordered { name: to, heads } => {
                ordered(&mut placed, to, weight, heads, layout, &mut stacked);
            }
            Placed::Split(names) => split(&mut placed, &names, weight, layout),
            Placed::Cut(names) => cut(&mut placed, &names, weight, layout),
            Placed::Other => {
                put(&mut placed, name, refused(weight, "transformers rearranges its values while loading"));
            }
        }
    }
    join(&mut placed, joined, layout);
    placed
}

/// The same as something that no adapter changes.
fn refused<'m>(weight: Weight<'m>, why: &'static str) -> Weight<'m> {
    Weight { kind: Some(Kinds::Refused(why)), ..weight }
}

/// Puts a weight into its place; one whose place is taken stays under its own name, and is refused.
fn put<'m>(placed: &mut Weights<'m>, name: String, weight: Weight<'m>) {
    if let Entry::Vacant(place) = placed.entry(name) {
        place.insert(weight);
        return;
    }
    let mut free = format!("{} (second)", weight.label);
    while placed.contains_key(&free) {
        free.push('*');
    }
    placed.insert(free, refused(weight, "another tensor of the checkpoint has its place in memory"));
}

/// Takes component `component` of `components` of what is joined.
fn add_component<'m>(
    joined: &mut Joined<'m>,
    key: (String, Option<usize>),
    component: usize,
    components: usize,
    weight: Weight<'m>,
) {
    let all = joined.entry(key).or_default();
    all.resize(components.max(all.len()), None);
    all[component] = Some(weight);
}

/// Puts a tensor into its place: of a stack, each of its matrices.
fn whole<'m>(
    placed: &mut Weights<'m>,
    name: String,
    weight: Weight<'m>,
    layout: &Layout,
    stacked: &mut usize,
) {
    let kind = layout.kind(&name, weight.tensor().shape().len());
    let weight = Weight { kind, ..weight };
    let (name, weight) = as_module(name, weight);
    let stack = matches!(kind, Some(Kinds::Stack { .. })).then(|| matrices(&weight, stacked)).flatten();
    let Some(matrices) = stack else { return put(placed, name, weight) };
    for (index, matrix) in matrices.into_iter().enumerate() {
        put(placed, format!("{name}.{index}.weight"), matrix);
    }
}

/// A parameter that is no module's `weight`: its own name is that of the module that adapters know.
fn as_module(name: String, weight: Weight<'_>) -> (String, Weight<'_>) {
    if !matches!(weight.kind, Some(Kinds::Bare | Kinds::Attention)) || name.ends_with(".weight") {
        return (name, weight);
    }
    (format!("{name}.weight"), Weight { label: format!("{}.weight", weight.label), ..weight })
}

/// The matrices of a stack, of which all have [`max_experts`] together; `None` where it is none, or beyond that.
fn matrices<'m>(weight: &Weight<'m>, stacked: &mut usize) -> Option<Vec<Weight<'m>>> {
    let tensor = weight.tensor();
    let [count, _, _] = *tensor.shape() else { return None };
    let most = max_experts(tensor.stored_len());
    let all = stacked.checked_add(count).filter(|all| *all <= most && !tensor.is_empty())?;
    let matrices = (0..count).map(|index| matrix(weight, index, count)).collect::<Option<_>>()?;
    *stacked = all;
    Some(matrices)
}

/// Matrix `index` of `count` of a stack.
fn matrix<'m>(weight: &Weight<'m>, index: usize, count: usize) -> Option<Weight<'m>> {
    let rows = weight.rows.matrix(index, count)?;
    let label = weight.label.strip_suffix(".weight").unwrap_or(&weight.label);
    Some(Weight { label: format!("{label}.{index}.weight"), rows, ..weight.clone() })
}

/// Why rows cannot be divided, or put into order.
const UNEVEN: &str = "its rows do not divide as transformers splits them";

/// Puts a tensor into its place with its rows, or those of its matrices, in the order of memory.
fn ordered<'m>(
    placed: &mut Weights<'m>,
    name: String,
    weight: Weight<'m>,
    heads: usize,
    layout: &Layout,
    stacked: &mut usize,
) {
    let mut own = Weights::new();
    whole(&mut own, name, weight, layout, stacked);
    for (name, weight) in own {
        match weight.rows.in_halves(heads) {
            Some(rows) => put(placed, name, Weight { rows, ..weight }),
            None => put(placed, name, refused(weight, UNEVEN)),
        }
    }
}

/// Divides the rows of a tensor equally.
fn split<'m>(
    placed: &mut Weights<'m>,
    names: &[(String, Option<usize>)],
    weight: Weight<'m>,
    layout: &Layout,
) {
    let of = |(index, (_, heads)): (usize, &(String, Option<usize>))| {
        let rows = weight.rows.fraction(index, names.len())?;
        match heads {
            Some(heads) => rows.in_halves(*heads),
            None => Some(rows),
        }
    };
    let fractions = names.iter().enumerate().map(of).collect();
    let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
    divide(placed, &names, weight, fractions, layout);
}

/// Divides the rows of a tensor in proportion to the numbers.
fn cut<'m>(placed: &mut Weights<'m>, names: &[(String, usize)], weight: Weight<'m>, layout: &Layout) {
    let all: usize = names.iter().map(|(_, own)| own).sum();
    let mut first = 0;
    let of = |(_, own): &(String, usize)| {
        let rows = weight.rows.fractions(first..first + own, all);
        first += own;
        rows
    };
    let fractions = names.iter().map(of).collect();
    let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
    divide(placed, &names, weight, fractions, layout);
}

/// Gives each of `names` its rows.
fn divide<'m>(
    placed: &mut Weights<'m>,
    names: &[&str],
    weight: Weight<'m>,
    fractions: Option<Vec<Composed<'m>>>,
    layout: &Layout,
) {
    let Some(fractions) = fractions else {
        return put(placed, weight.label.clone(), refused(weight, UNEVEN));
    };
    let (module, parameter) = weight.label.rsplit_once('.').unwrap_or((&weight.label, ""));
    let mut first = 0;
    for (name, rows) in names.iter().zip(fractions) {
        let shape = rows.tensor().shape().to_vec();
        let until = first + shape.first().copied().unwrap_or(0);
        let label = format!("{module}[{first}:{until}].{parameter}");
        let kind = layout.kind(name, shape.len());
        let (name, weight) =
            as_module((*name).to_owned(), Weight { label, rows, kind, turned: weight.turned });
        put(placed, name, weight);
        first = until;
    }
}

/// Joins what belongs together; what cannot be joined keeps its name and is refused.
fn join<'m>(placed: &mut Weights<'m>, joined: Joined<'m>, layout: &Layout) {
    // Experts in each stack, and the highest number of one: a small file cannot name a large stack.
    let mut counts = BTreeMap::<String, (usize, usize)>::new();
    for (name, expert) in joined.keys() {
        let (count, highest) = counts.entry(name.clone()).or_default();
        *count += 1;
        *highest = (*highest).max(expert.unwrap_or(0));
    }
    for ((name, index), components) in joined {
        let (count, highest) = counts.get(&name).copied().unwrap_or_default();
        let expert = index.map(|index| Expert { index, count });
        let all: Option<Vec<_>> = components.iter().cloned().collect();
        let all = all.filter(|_| index.is_none() || count.checked_sub(1) == Some(highest));
        let rows = all.as_ref().and_then(|all| {
            let rows: Vec<_> = all.iter().map(|weight| weight.rows.clone()).collect();
            Composed::joined(&rows, expert)
        });
        let (Some(all), Some(rows)) = (all, rows) else {
            let why = "not all of what transformers joins with it is there, or in one format and shape";
            for weight in components.into_iter().flatten() {
                put(placed, weight.label.clone(), refused(weight, why));
            }
            continue;
        };
        let kind = layout.kind(&name, rows.tensor().shape().len() + usize::from(expert.is_some()));
        let labels: Vec<_> = all.iter().map(|weight| weight.label.as_str()).collect();
        let weight = Weight { label: labels_of(&labels), rows, kind, turned: false };
        let (name, weight) = match index {
            Some(index) => (format!("{name}.{index}.weight"), weight),
            None => as_module(name, weight),
        };
        put(placed, name, weight);
    }
}

/// One name for several: `a.gate_proj.weight` and `a.up_proj.weight` are `a.gate_proj+up_proj.weight`.
fn labels_of(labels: &[&str]) -> String {
    let apart = |label: &&str| {
        let (module, parameter) = label.rsplit_once('.')?;
        let (path, last) = module.rsplit_once('.')?;
        Some((path.to_owned(), last.to_owned(), parameter.to_owned()))
    };
    let split: Option<Vec<_>> = labels.iter().map(apart).collect();
    match split.as_deref() {
        Some([(path, _, parameter), rest @ ..])
            if rest.iter().all(|(p, _, q)| p == path && q == parameter) =>
        {
            let last: Vec<_> = split.iter().flatten().map(|(_, last, _)| last.as_str()).collect();
            format!("{path}.{}.{parameter}", last.join("+"))
        }
        _ => labels.join("+"),
    }
}
