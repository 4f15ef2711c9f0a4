//! Task heads that an adapter has to bring along: those that only the tuned model has, those that it has for another
//! number of classes, and those that PEFT's class for the task expects to find in the file.

use crate::adapter::Naming;
use crate::error::Result;
use crate::naming::kind::{is_task_head, is_token_table, module_of, top};
use crate::naming::memory::task_of;
use crate::pairing::aligned::{Aligned, Side};
use crate::source::held::Held;
use crate::source::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// PEFT's task types whose classes take the head from the adapter, and the modules that are the head.
const TASKS: [(&str, &[&str]); 3] = [
    ("SEQ_CLS", &["classifier", "score"]),
    ("TOKEN_CLS", &["classifier", "score"]),
    ("QUESTION_ANS", &["qa_outputs"]),
];

/// The modules at the top of the adapter's model that are stored whole.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heads {
    /// Those that are stored whether they changed or not.
    modules: BTreeSet<String>,
    /// PEFT's task type.
    pub(crate) task: Option<&'static str>,
}

impl Heads {
    /// The heads of the adapter's model. Only where its names are those of memory are all of them known.
    ///
    /// # Errors
    /// When weights at an address cannot be read that tell whether a head is one.
    pub(crate) fn of(models: &Aligned<'_>) -> Result<Self> {
        // A GGUF file has names of its own beside those that are mapped.
        if models.tuned.model.is_gguf() || models.naming() == Naming::Gguf {
            return Ok(Self::default());
        }
        let resized = resized(models);
        let Some(layout) = &models.layout else { return Ok(Self { modules: resized, task: None }) };
        let task = task_of(layout.class);
        let tops = |side: &'_ Side<'_>| -> BTreeSet<String> {
            side.weights().map(|(name, _)| top(name).to_owned()).collect()
        };
        let (base, tuned) = (tops(&models.base), tops(&models.tuned));
        // The model that holds most tensors is the model itself.
        let mut counts = BTreeMap::<&str, usize>::new();
        for (name, _) in models.tuned.weights() {
            *counts.entry(top(name)).or_default() += 1;
        }
        let main = counts.into_iter().max_by_key(|(_, count)| *count).map_or("", |(name, _)| name);
        let mut modules = resized;
        for name in tuned.difference(&base).filter(|name| *name != main) {
            if !(layout.is_tied_module(name) && is_tied(models, name)?) {
                modules.insert(name.clone());
            }
        }
        let wanted =
            TASKS.iter().find(|(name, _)| Some(*name) == task).map_or(&[][..], |(_, modules)| modules);
        modules.extend(wanted.iter().filter(|name| tuned.contains(**name)).map(|name| (*name).to_owned()));
        // Without its head in the file, PEFT's class for the task says that keys are missing.
        let complete = wanted.is_empty() || wanted.iter().any(|name| modules.contains(*name));
        Ok(Self { modules, task: task.filter(|_| complete) })
    }

    /// Whether the tensor `name` belongs to one of them.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.modules.contains(top(name))
    }
}

/// The heads of tasks that have another number of classes in the base.
fn resized(models: &Aligned<'_>) -> BTreeSet<String> {
    let other = |(name, tensor): &(&str, Tensor<'_>)| {
        is_task_head(module_of(name))
            && models.base.tensor(name).is_some_and(|base| base.shape() != tensor.shape())
    };
    models.tuned.tensors().filter(other).map(|(name, _)| top(name).to_owned()).collect()
}

/// Whether the head `module`, which its class can tie to the embedding, is tied: where a configuration says so, or where
/// none says anything and the head holds the same bytes as an embedding.
fn is_tied(models: &Aligned<'_>, module: &str) -> Result<bool> {
    let mut stated = models.sides().filter_map(|side| side.model.config().tied).peekable();
    if stated.peek().is_some() {
        return Ok(stated.any(|tied| tied));
    }
    let Some(head) = models.tuned.tensor(&format!("{module}.weight")) else { return Ok(true) };
    let tables = models.tuned.tensors().filter(|(name, _)| is_token_table(module_of(name)));
    for (_, table) in tables.filter(|(_, table)| table.shape() == head.shape()) {
        let _held = Held::now(vec![table, head])?;
        if table.byte_slices().eq(head.byte_slices()) {
            return Ok(true);
        }
    }
    Ok(false)
}
