//! Decides for each pair of tensors: extract factors, store whole, measure and leave out, or refuse.

use crate::adapter::AdapterFormat;
use crate::error::{Error, Reason, Result};
use crate::jobs::extract::also::{Also, Take};
use crate::jobs::extract::options::Filter;
use crate::naming::kind::{Kind, is_task_head};
use crate::naming::memory::{Kinds, Weight};
use crate::pairing::aligned::Aligned;
use crate::pairing::heads::Heads;
use crate::pairing::pairs::{Pair, is_tied, pairs};
use crate::report::LeftOut;
use crate::source::tensor::Tensor;
use std::collections::BTreeSet;

/// Fewer weights of other shapes than this are looked at one by one.
const MANY: usize = 3;

/// What to do with a pair.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    /// Find its factors. Both sides have the same shape, a matrix or a convolution, and a dtype that is read.
    Extract,
    /// Take it as it is, beside factors.
    Take(Take),
    /// Leave it out and measure its difference.
    Measure {
        reason: String,
        /// Leading entries that both sides have in common; `None` where they cannot be compared.
        entries: Option<usize>,
        /// Whether NaN or infinity in it is an error.
        strict: bool,
    },
}

/// Two models, paired.
#[derive(Debug)]
pub(crate) struct Pairing<'m> {
    pub(crate) jobs: Vec<(Pair<'m>, Task)>,
    /// Tensors of one side only.
    pub(crate) one_sided: Vec<LeftOut>,
}

/// What an adapter can hold beside linear layers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holds<'h> {
    /// What is stored whole, beside factors.
    pub(crate) heads: &'h Heads,
    pub(crate) convolutions: bool,
    /// Or why it cannot.
    pub(crate) embeddings: std::result::Result<(), &'static str>,
    /// Whether it holds factors of multi-head attention of torch, or why it cannot.
    pub(crate) attention: std::result::Result<(), &'static str>,
    /// What is taken beside factors.
    pub(crate) also: Also,
    pub(crate) format: AdapterFormat,
}

/// Pairs two models and decides about each pair.
pub(crate) fn decide<'m>(
    models: &'m Aligned<'_>,
    filter: &Filter,
    mut holds: Holds<'_>,
) -> Result<Pairing<'m>> {
    let (pairs, mut one_sided) = pairs(models)?;
    same_widths(models, &pairs, filter)?;
    let tied = is_tied(models);
    if tied {
        holds.embeddings = Err("tied to the output head, and an adapter would change one of the two alone");
    }
    let one = |pair| Ok((pair, task(&pair, tied, holds, filter)?));
    let mut jobs: Vec<_> = pairs.into_iter().map(one).collect::<Result<_>>()?;
    whole_modules(&mut jobs);
    let new = new_heads(models, holds.heads, filter);
    one_sided.retain(|tensor| !new.iter().any(|(pair, _)| pair.name == tensor.name));
    jobs.extend(new);
    let table =
        |(pair, task): &(Pair<'_>, Task)| matches!(task, Task::Extract) && pair.kind == Kind::Embedding;
    if holds.also.biases && holds.format.is_like_peft() && jobs.iter().any(table) {
        let problem = "PEFT takes no biases beside the factors of an embedding: leave out one of the two";
        return Err(Error::usage(problem.into()));
    }
    Ok(Pairing { jobs, one_sided })
}

/// The tensors of heads that the base lacks.
fn new_heads<'m>(models: &'m Aligned<'_>, heads: &Heads, filter: &Filter) -> Vec<(Pair<'m>, Task)> {
    let new = |(memory, weight): (&'m str, &'m Weight<'_>)| {
        let tuned = weight.tensor();
        let pair = Pair {
            name: &weight.label,
            memory,
            kind: Kind::Head,
            base: tuned,
            tuned,
            origin: None,
            expert: None,
            transposed: false,
            known: None,
        };
        let lacks =
            heads.has(memory) && models.base.weight(memory).is_none() && !filter.excludes(pair.module());
        (lacks && !tuned.is_empty() && tuned.dtype().is_some())
            .then_some((pair, Task::Take(Take::Head { is_new: true })))
    };
    models.tuned.weights().filter_map(new).collect()
}

/// Values are taken of modules as a whole: of none that has anything but a weight and a bias, such as running
/// statistics.
fn whole_modules(jobs: &mut [(Pair<'_>, Task)]) {
    let more: BTreeSet<_> = jobs
        .iter()
        .filter(|(_, task)| !matches!(task, Task::Take(Take::Values)))
        .map(|(pair, _)| pair.module())
        .collect();
    for (pair, task) in jobs.iter_mut().filter(|(_, task)| matches!(task, Task::Take(Take::Values))) {
        if more.contains(pair.module()) {
            let reason = "norm: its module holds more than a weight and a bias".to_owned();
            *task = Task::Measure { reason, entries: Some(pair.base.len()), strict: true };
        }
    }
}

fn task(pair: &Pair<'_>, tied: bool, holds: Holds<'_>, filter: &Filter) -> Result<Task> {
    let convolutions = holds.convolutions;
    let module = pair.module();
    let (base, tuned) = (pair.base.shape(), pair.tuned.shape());
    let included = filter.includes(module) || filter.includes(pair.path());
    let refused = match pair.known {
        Some(Kinds::Refused(why) | Kinds::Whole(why)) => Some(why),
        Some(Kinds::Attention) => holds.attention.err(),
        _ => None,
    };
    let doubt = |shape: &[usize]| if pair.known == Some(Kinds::Convolution) { None } else { doubt(shape) };
    let wanted = refused.is_none()
        && !pair.base.is_empty()
        && match pair.kind {
            Kind::Linear => filter.include.is_empty() || included,
            Kind::Head => included && !tied && base.len() == 2 && base == tuned,
            Kind::Embedding => included && holds.embeddings.is_ok() && base.len() == 2 && base == tuned,
            Kind::Conv if convolutions && base == tuned && !pair.base.is_empty() => {
                base.len() <= 5 && (included || filter.include.is_empty() && doubt(base).is_none())
            }
            _ => false,
        };
    let measure = |reason: &str, strict| Task::Measure {
        reason: reason.to_owned(),
        entries: (base == tuned).then(|| pair.base.len()),
        strict,
    };
    if filter.excludes(module) || filter.excludes(pair.path()) {
        return Ok(measure("excluded", false));
    }
    if holds.heads.has(pair.memory) && !pair.tuned.is_empty() && pair.tuned.dtype().is_some() {
        return Ok(Task::Take(Take::Head { is_new: base != tuned }));
    }
    if pair.kind == Kind::Linear && !wanted && refused.is_none() {
        return Ok(measure("not included", false));
    }
    let take = if wanted { None } else { holds.also.take(pair.name, pair.kind, holds.format, tied) };
    let sound = match take {
        Some(Take::Rows { .. }) => {
            matches!((base, tuned), ([rows, dim], [new, other]) if dim == other && rows <= new)
        }
        _ => base == tuned && !pair.base.is_empty(),
    };
    if let Some(take) = take.filter(|_| sound) {
        for side in [pair.base, pair.tuned] {
            side.readable().map_err(|error| error.because(Reason::Unusable))?;
        }
        return Ok(Task::Take(take));
    }
    if base != tuned {
        return grown(pair);
    }
    if wanted {
        for side in [pair.base, pair.tuned].into_iter().chain(pair.origin) {
            side.readable().map_err(|error| error.because(Reason::Unusable))?;
        }
        return Ok(Task::Extract);
    }
    Ok(match pair.kind {
        Kind::Linear if pair.known == Some(Kinds::Attention) => measure(refused.unwrap_or_default(), true),
        Kind::Linear | Kind::Conv | Kind::Other if refused.is_some() => measure(
            &format!("not adapted by PEFT: {}", refused.unwrap_or_default()),
            pair.kind != Kind::Other,
        ),
        Kind::Head if tied => measure("output head: tied to the embedding", true),
        Kind::Embedding if included => {
            let why = holds.embeddings.err().unwrap_or("no lookup table");
            measure(&format!("embedding: {why}"), true)
        }
        Kind::Conv if convolutions && !filter.include.is_empty() => measure("not included", false),
        Kind::Conv if convolutions => measure(doubt(base).unwrap_or(Kind::Conv.label()), true),
        kind => measure(kind.label(), kind != Kind::Other),
    })
}

/// Why a weight of more than two axes is no convolution that an adapter can be expected to load on.
fn doubt(shape: &[usize]) -> Option<&'static str> {
    match *shape {
        [out, 1, ..] if out > 1 => Some(
            "convolution: of single channels, extracted only where it is included, since it may have groups",
        ),
        [_, _, _] => Some("convolution: or stacked layers, extracted only where it is included"),
        [_, _, 1, 1, _] => Some("convolution: over three axes with a kernel of 1, which PEFT does not merge"),
        [_, _, _, _] | [_, _, _, _, _] => None,
        _ => Some("convolution: of more than three axes"),
    }
}

/// Shapes differ: a vocabulary that grew is measured over the rows in common, the head of a task is left out, all else is
/// refused.
fn grown(pair: &Pair<'_>) -> Result<Task> {
    let (base, tuned) = (pair.base.shape(), pair.tuned.shape());
    if is_task_head(pair.path()) {
        let reason = format!(
            "output head: of shape {base:?} in base, {tuned:?} in tuned, and there is no place for a whole head"
        );
        return Ok(Task::Measure { reason, entries: None, strict: true });
    }
    if let (Kind::Embedding | Kind::Head, Some((rows, rest)), Some((new_rows, new_rest))) =
        (pair.kind, base.split_first(), tuned.split_first())
        && rest == new_rest
    {
        let reason = format!(
            "{}: {rows} rows in base, {new_rows} in tuned, measured over those in common",
            pair.kind.label()
        );
        let entries = rest.iter().product::<usize>().checked_mul(*rows.min(new_rows));
        return Ok(Task::Measure { reason, entries, strict: true });
    }
    let problem = format!(
        "its shape is {base:?} in {} but {tuned:?} in {}",
        pair.base.file().display(),
        pair.tuned.file().display()
    );
    Err(Error::mismatch(pair.name, problem).because(Reason::Unusable))
}

/// Where most weights differ in shape, reports models of different widths instead of the first weight.
fn same_widths(models: &Aligned<'_>, pairs: &[Pair<'_>], filter: &Filter) -> Result<()> {
    let compared = || pairs.iter().filter(|pair| !filter.excludes(pair.module()));
    let others = || compared().filter(|pair| pair.base.shape() != pair.tuned.shape());
    let grown = |pair: &&Pair<'_>| !matches!(grown(pair), Ok(Task::Measure { .. }));
    let count = others().filter(grown).count();
    if count < MANY || 2 * count <= compared().count() {
        return Ok(());
    }
    let base = models.base.model.path().display();
    let width = |tensor: &Tensor<'_>| tensor.shape().last().copied().unwrap_or(0);
    let wide = others().filter(|pair| matches!(pair.kind, Kind::Norm | Kind::Embedding));
    let wide = wide.map(|pair| (width(&pair.tuned), width(&pair.base))).find(|(own, other)| own != other);
    let what = match wide {
        Some((own, other)) => format!("it is {own} wide, but {base} is {other}"),
        None => format!("{count} of its weights have other shapes than in {base}"),
    };
    Err(Error::format(models.tuned.model.path(), format!("{what}: not a fine-tune of this base")))
}

#[cfg(test)]
mod tests {
    use super::doubt;

    #[test]
    fn convolutions_that_peft_may_not_take_are_doubted() {
        for (shape, doubted) in [
            (&[8, 4, 3, 3][..], false),
            (&[8, 4, 1, 1], false),
            (&[8, 4, 2, 3, 3], false),
            (&[8, 4, 1, 3, 3], false),
            (&[8, 4, 1, 1, 1], true),
            (&[8, 1, 3, 3], true),
            (&[8, 4, 3], true),
        ] {
            assert_eq!(doubt(shape).is_some(), doubted, "{shape:?}");
        }
    }
}
