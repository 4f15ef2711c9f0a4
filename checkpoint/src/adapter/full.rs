//! Tensors of an adapter beside its factors: norms, biases and rows of vocabularies.

use super::Factor;
use super::stored::{matrix, matrix_shape};
use crate::error::Result;
use crate::source::tensor::Tensor;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// A tensor of the base that an adapter changes without factors.
#[derive(Debug, Clone)]
pub struct FullTensor<'a> {
    /// Its name: `model.norm.weight`; in an adapter with the names of single files the module's name there, with
    /// `.weight` or `.bias`.
    pub name: Cow<'a, str>,
    /// Shape of the values: the tensor's, or [rows, dim] of some rows.
    pub shape: Vec<usize>,
    /// As many entries, as a matrix whose rows are those of the tensor.
    pub values: Factor<'a>,
    /// What the values do.
    pub effect: Effect,
    /// The module that is stored whole with it, where that is not its own but one above.
    pub whole: Option<String>,
}

/// What the values of a [`FullTensor`] do to the base's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
    /// Times this, they are added.
    Adds(f64),
    /// They take their place.
    Replaces,
    /// They take the place of these rows, ascending, which may lie beyond those of the base.
    Rows(Vec<usize>),
}

impl<'a> FullTensor<'a> {
    /// A tensor of an adapter's file that does `effect` to the tensor `name` of the base.
    pub(crate) fn stored(name: impl Into<Cow<'a, str>>, tensor: Tensor<'a>, effect: Effect) -> Result<Self> {
        let (shape, values) = (tensor.shape().to_vec(), matrix(tensor)?);
        Ok(Self { name: name.into(), shape, values, effect, whole: None })
    }
}

impl FullTensor<'_> {
    /// The same, borrowed.
    pub(crate) fn view(&self) -> FullTensor<'_> {
        FullTensor {
            name: Cow::Borrowed(&self.name),
            shape: self.shape.clone(),
            values: self.values.view(),
            effect: self.effect.clone(),
            whole: self.whole.clone(),
        }
    }

    /// Path of the module that it belongs to.
    pub(crate) fn module(&self) -> &str {
        crate::naming::kind::module_of(&self.name)
    }

    /// Path of the module that PEFT stores whole for it.
    pub(crate) fn saved_module(&self) -> &str {
        self.whole.as_deref().unwrap_or_else(|| self.module())
    }

    /// Gives the module that it belongs to another name.
    pub(crate) fn rename(&mut self, module: &str) {
        self.name = format!("{module}.{}", crate::naming::kind::suffix_of(&self.name)).into();
    }

    /// Whether it is added to a bias, which PEFT does beside the factors of the module only.
    pub(crate) fn adds_to_bias(&self) -> bool {
        matches!(self.effect, Effect::Adds(_)) && self.name.ends_with(".bias")
    }

    /// Checks that its fields belong together.
    pub(crate) fn check(&self) -> Result<()> {
        let fits = matrix_shape(&self.shape) == self.values.shape();
        let sound = match &self.effect {
            Effect::Adds(scale) => scale.is_finite(),
            Effect::Replaces => true,
            Effect::Rows(rows) => {
                Some(&rows.len()) == self.shape.first() && rows.is_sorted_by(|one, next| one < next)
            }
        };
        if fits && sound {
            return Ok(());
        }
        let found = self.values.shape();
        Err(self.values.error(format!(
            "its shape {found:?} and what it does to {} of shape {:?} do not go together",
            self.name, self.shape
        )))
    }

    /// Whether `shape`, that of the base's tensor, is one that it can change.
    pub(crate) fn fits(&self, shape: &[usize]) -> bool {
        match (&self.effect, shape, self.shape.as_slice()) {
            (Effect::Rows(rows), [_, dim @ ..], [_, own @ ..]) => dim == own && !rows.is_empty(),
            (_, shape, own) => shape == own,
        }
    }

    /// Whether it belongs to the head of a task that has another number of classes in the base, where the tensor has `shape`.
    pub(crate) fn is_head_for_others(&self, shape: &[usize]) -> bool {
        crate::naming::kind::is_task_head(self.module()) && !self.fits(shape)
    }

    /// Calls `change` with the position of every entry of row `row` that it changes and with what is added to it there,
    /// `base` being the base's row and `values` this tensor's, decoded.
    pub(crate) fn change(
        &self,
        values: &[f32],
        row: usize,
        base: &[f32],
        mut change: impl FnMut(usize, f64),
    ) {
        let values = self.position(row).and_then(|row| values.get(row * base.len()..)?.get(..base.len()));
        let Some(values) = values else { return };
        for (at, (value, base)) in values.iter().zip(base).enumerate() {
            let value = f64::from(*value);
            change(
                at,
                match self.effect {
                    Effect::Adds(scale) => scale * value,
                    Effect::Replaces | Effect::Rows(_) => value - f64::from(*base),
                },
            );
        }
    }

    /// Whether it changes row `row`.
    pub(crate) fn has_row(&self, row: usize) -> bool {
        self.position(row).is_some()
    }

    /// Which row of the values is row `row` of the base.
    fn position(&self, row: usize) -> Option<usize> {
        self.rows().map_or(Some(row), |rows| rows.binary_search(&row).ok())
    }

    /// The rows of the base that it holds, where it is not the whole tensor.
    pub(crate) fn rows(&self) -> Option<&[usize]> {
        if let Effect::Rows(rows) = &self.effect { Some(rows) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phlora_core::Dtype;

    fn tensor(effect: Effect, shape: &[usize]) -> FullTensor<'static> {
        let [rows, cols] = matrix_shape(shape);
        let bytes: Vec<u8> = (1..=rows * cols).flat_map(|value| (value as f32).to_le_bytes()).collect();
        let values = Factor::new(Dtype::F32, [rows, cols], bytes).unwrap();
        FullTensor { name: "m.weight".into(), shape: shape.to_vec(), values, effect, whole: None }
    }

    fn changed(tensor: &FullTensor<'_>, row: usize, base: &[f32]) -> Vec<f64> {
        let values = tensor.values.decoded().unwrap();
        let mut row_after: Vec<f64> = base.iter().map(|&value| f64::from(value)).collect();
        tensor.change(&values, row, base, |at, added| row_after[at] += added);
        row_after
    }

    #[test]
    fn values_are_added_or_take_the_place() {
        assert_eq!(changed(&tensor(Effect::Adds(0.5), &[3]), 0, &[10.0, 20.0, 30.0]), [10.5, 21.0, 31.5]);
        assert_eq!(changed(&tensor(Effect::Replaces, &[3]), 0, &[10.0, 20.0, 30.0]), [1.0, 2.0, 3.0]);
        let rows = tensor(Effect::Rows(vec![1, 7]), &[2, 2]);
        for (row, after) in [(0, [9.0, 9.0]), (1, [1.0, 2.0]), (7, [3.0, 4.0]), (8, [9.0, 9.0])] {
            assert_eq!(changed(&rows, row, &[9.0, 9.0]), after, "row {row}");
            assert_eq!(rows.has_row(row), after != [9.0, 9.0]);
        }
    }

    #[test]
    fn fields_that_do_not_belong_together_are_refused() {
        for (effect, shape) in [
            (Effect::Adds(f64::NAN), &[3][..]),
            (Effect::Rows(vec![1]), &[2, 2]),
            (Effect::Rows(vec![2, 1]), &[2, 2]),
            (Effect::Rows(vec![2, 2]), &[2, 2]),
        ] {
            assert!(tensor(effect.clone(), shape).check().is_err(), "{effect:?}");
        }
        let mut other = tensor(Effect::Replaces, &[4]);
        assert!(other.check().is_ok() && other.fits(&[4]) && !other.fits(&[2, 2]));
        other.shape = vec![2, 2];
        assert!(other.check().is_err());
        let rows = tensor(Effect::Rows(vec![5]), &[1, 3]);
        assert!(rows.check().is_ok() && rows.fits(&[2, 3]) && !rows.fits(&[2, 4]) && !rows.fits(&[]));
    }
}
