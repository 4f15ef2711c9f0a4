//! An adapter under the names of memory, where experts are stacked and projections joined or split, and back under
//! those of the checkpoint.

use super::{Factor, IN_PROJ, Lora, LoraModule, Naming, Spelling, Target};
use crate::error::{Result, filled, room_for};
use crate::naming::kind::module_of;
use crate::naming::memory::{Kinds, Layout, Placed};
use crate::source::permutation::RowPermutation;
use crate::source::tensor::Expert;
use phlora_core::Dtype;
use std::collections::BTreeMap;

/// The factors of what is one weight in memory, by component.
type Components<'a> = Vec<Option<LoraModule<'a>>>;

impl<'a> Lora<'a> {
    /// The same adapter under the names that its modules have in memory. What is joined there gets the factors of all
    /// components, A one below the other and B along a diagonal; what is split, rows of B.
    ///
    /// # Errors
    /// When factors that go together have shapes that do not.
    pub(crate) fn into_memory(mut self, layout: &Layout) -> Result<Self> {
        if self.naming != Naming::HuggingFace {
            return Ok(self);
        }
        let before: Vec<_> = self.modules.iter().map(|module| module.name.clone()).collect();
        let mut modules = Vec::with_capacity(self.modules.len());
        let mut joined = BTreeMap::<(String, Option<usize>), Components<'a>>::new();
        for module in std::mem::take(&mut self.modules) {
            // The matrices of a stack are in memory already.
            if module.expert.is_some() || matches!(module.target, Target::Parameter | Target::Attention) {
                modules.push(module);
                continue;
            }
            match layout.place(&format!("{}.weight", module.name)) {
                Placed::Whole(name) | Placed::Turned(name) | Placed::TurnedUnless { name, .. } => {
                    modules.push(renamed(module, &name, layout));
                }
                Placed::Joined { name, component, components, expert } => {
                    let all = joined.entry((name, expert)).or_default();
                    all.resize(components.max(all.len()), None);
                    all[component] = Some(module);
                }
                Placed::Ordered { name, heads } => {
                    modules.push(renamed(in_halves(module, heads)?, &name, layout));
                }
                Placed::Split(names) => {
                    let [out, _] = module.shape();
                    let rows = out / names.len().max(1);
                    for (at, (name, heads)) in names.iter().enumerate() {
                        let mut own = module.clone();
                        own.b = own.b.settled()?.row_range(at * rows, rows)?;
                        let own =
                            heads.map_or_else(|| Ok(own.clone()), |heads| in_halves(own.clone(), heads))?;
                        modules.push(renamed(own, name, layout));
                    }
                }
                Placed::Cut(names) => {
                    let [out, _] = module.shape();
                    let all: usize = names.iter().map(|(_, weight)| weight).sum();
                    let mut first = 0;
                    for (name, weight) in &names {
                        let rows = out * weight / all.max(1);
                        let mut own = module.clone();
                        own.b = own.b.settled()?.row_range(first, rows)?;
                        modules.push(renamed(own, name, layout));
                        first += rows;
                    }
                }
                Placed::JoinedStack { .. } | Placed::Other => modules.push(module),
            }
        }
        let mut counts = BTreeMap::<String, usize>::new();
        for (name, expert) in joined.keys() {
            let count = counts.entry(name.clone()).or_default();
            *count = (*count).max(expert.map_or(0, |expert| expert.saturating_add(1)));
        }
        for ((name, index), components) in joined {
            let expert = index.map(|index| Expert { index, count: counts[&name] });
            let module = join(&components)?;
            modules.push(match expert {
                Some(Expert { index, .. }) => LoraModule {
                    name: format!("{name}.{index}").into(),
                    expert,
                    target: Target::Parameter,
                    ..module
                },
                None => renamed(module, &name, layout),
            });
        }
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        for tensor in &mut self.full {
            if let Placed::Whole(name) = layout.place(&tensor.name) {
                tensor.name = name.into();
            }
        }
        let same = modules.iter().map(|module| &module.name).eq(&before);
        let targets = self
            .targets
            .take()
            .filter(|_| same && !modules.iter().any(|module| module.target != Target::Module));
        Ok(Self { modules, targets, spelling: layout.spelling(), ..self })
    }

    /// The same adapter under the names of the checkpoint: what is joined in memory is apart there, each with its
    /// rows of B and the whole A.
    ///
    /// # Errors
    /// When rows do not divide so.
    pub(crate) fn into_checkpoint(mut self, layout: &Layout) -> Result<Self> {
        if self.naming != Naming::HuggingFace {
            return Ok(self);
        }
        let mut modules = Vec::with_capacity(self.modules.len());
        for module in std::mem::take(&mut self.modules) {
            let stack = module.expert.map(|expert| (module.tensor().to_owned(), expert.index));
            let sources = match &stack {
                Some((name, index)) => layout.sources(name, Some(*index)),
                None if module.is_parameter() => layout.sources(&module.name, None),
                None => layout.sources(&format!("{}.weight", module.name), None),
            };
            let [out, _] = module.shape();
            let rows = out / sources.len().max(1);
            for (at, name) in sources.iter().enumerate() {
                let mut own = module.clone();
                if sources.len() > 1 {
                    own.b = own.b.settled()?.row_range(at * rows, rows)?;
                }
                own.name = name.strip_suffix(".weight").unwrap_or(name).to_owned().into();
                let same = sources.len() == 1 && module.expert.is_none() && module.target != Target::Weight;
                own.target = if same { module.target } else { Target::Module };
                own.expert = None;
                modules.push(own);
            }
            // A stack that is one in the checkpoint as well.
            if sources.is_empty() {
                modules.push(module);
            }
        }
        modules.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { modules, targets: None, spelling: Spelling::default(), ..self })
    }
}

impl LoraModule<'_> {
    /// Whether its name is that of a parameter, not of a module with a `weight`.
    fn is_parameter(&self) -> bool {
        match self.target {
            Target::Parameter => true,
            Target::Attention => self.name.ends_with(IN_PROJ),
            Target::Module | Target::Weight => false,
        }
    }
}

/// `module` with the rows of so many heads in the order of memory, halves one after the other.
fn in_halves(mut module: LoraModule<'_>, heads: usize) -> Result<LoraModule<'_>> {
    let [rows, _] = module.shape();
    let Some(order) = RowPermutation::to_gguf(rows, heads) else {
        return Err(module.b.error(format!("its {rows} rows are no {heads} heads of two halves")));
    };
    module.b = module.b.settled()?;
    module.b.permute_rows(order.inverse());
    Ok(module)
}

/// `module` as the weight `name` in memory.
fn renamed<'a>(module: LoraModule<'a>, name: &str, layout: &Layout) -> LoraModule<'a> {
    let kind = layout.kind(name, 2);
    let target = match kind {
        Some(Kinds::Linear { parameter: true, .. }) => Target::Weight,
        _ => Target::Module,
    };
    LoraModule { name: module_of(name).to_owned().into(), target, ..module }
}

/// One pair of factors for the rows of all `components`: A one below the other, B along a diagonal; one A where all have the
/// same, as those of one weight have. Components that are missing change nothing and have as many rows as the first that is there.
fn join<'a>(components: &[Option<LoraModule<'a>>]) -> Result<LoraModule<'a>> {
    let Some(first) = components.iter().flatten().next() else {
        return Err(crate::error::Error::usage("factors of no component".into()));
    };
    if let [Some(only)] = components {
        return Ok(only.clone());
    }
    let [rows, input] = first.shape();
    let outs: Vec<_> = components
        .iter()
        .map(|component| component.as_ref().map_or(rows, |component| component.shape()[0]))
        .collect();
    let ranks: Vec<_> =
        components.iter().map(|component| component.as_ref().map_or(0, LoraModule::rank)).collect();
    let one_a = have_one_a(components)?;
    let out = outs.iter().sum::<usize>();
    let rank = if one_a { ranks[0] } else { ranks.iter().sum() };
    let (mut a, mut b) = (room_for(rank.saturating_mul(input))?, filled(0.0_f32, out.saturating_mul(rank))?);
    let (mut row, mut column) = (0, 0);
    for (component, (&component_out, &component_rank)) in components.iter().zip(outs.iter().zip(&ranks)) {
        if let Some(component) = component {
            if component.shape()[1] != input {
                let problem =
                    format!("its input has {} entries, that of {} {input}", component.shape()[1], first.name);
                return Err(component.a.error(problem));
            }
            if a.len() < rank * input {
                a.extend(component.a.decoded()?);
            }
            let scale = component.scale / first.scale;
            for (i, values) in component.b.decoded()?.chunks_exact(component_rank.max(1)).enumerate() {
                let to = &mut b[(row + i) * rank + column..][..component_rank];
                to.iter_mut().zip(values).for_each(|(to, value)| *to = (f64::from(*value) * scale) as f32);
            }
        }
        row += component_out;
        column += if one_a { 0 } else { component_rank };
    }
    let factor = |values: &[f32], shape: [usize; 2], dtype: Dtype| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let mut factor = Factor::new(Dtype::F32, shape, bytes)?;
        factor.set_dtype(dtype);
        Ok::<_, crate::error::Error>(factor)
    };
    let (a, b) = (factor(&a, [rank, input], first.a.dtype())?, factor(&b, [out, rank], first.b.dtype())?);
    Ok(LoraModule { a, b, ..first.clone() })
}

/// Whether all components are there and have the same A.
fn have_one_a(components: &[Option<LoraModule<'_>>]) -> Result<bool> {
    let [Some(first), rest @ ..] = components else { return Ok(false) };
    let a = first.a.decoded()?;
    for component in rest {
        let Some(component) = component.as_ref().filter(|component| component.a.shape() == first.a.shape())
        else {
            return Ok(false);
        };
        if component.a.decoded()? != a {
            return Ok(false);
        }
    }
    Ok(true)
}
