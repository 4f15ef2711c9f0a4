//! What became of a pair, as a text and bytes, and back.

use crate::adapter::{Effect, Factor, Factors, FullTensor};
use crate::error::{Error, Result};
use crate::jobs::extract::full::Full;
use crate::jobs::extract::module::Module;
use crate::jobs::extract::options::ExtractOptions;
use crate::jobs::extract::outcome::Outcome;
use crate::pairing::pairs::Pair;
use crate::report::{FullReport, LeftOut, ModuleReport};
use phlora_core::Dtype;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::sync::Arc;

/// The text of a record.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry<'k> {
    /// What was asked of which pair.
    pub(crate) key: Cow<'k, str>,
    outcome: Stored,
}

#[derive(Debug, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant)] // one at a time, on its way to a file or from it
enum Stored {
    Module { report: ModuleReport, factors: Option<StoredFactors> },
    Full { full: Option<StoredFull>, left_out: Option<LeftOut> },
    LeftOut(LeftOut),
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFactors {
    a: Matrix,
    b: Matrix,
    lost_squares: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredFull {
    name: String,
    shape: Vec<usize>,
    values: Matrix,
    effect: Effect,
    whole: Option<String>,
    report: FullReport,
}

/// A factor whose bytes are beside the text, in the order in which the text names them.
#[derive(Debug, Serialize, Deserialize)]
struct Matrix {
    dtype: String,
    shape: [usize; 2],
}

impl Matrix {
    fn of(factor: &Factor<'_>) -> Self {
        Self { dtype: factor.dtype().name().to_owned(), shape: factor.shape() }
    }

    /// The factor, of which the bytes are taken from the beginning of `bytes`.
    fn take(&self, bytes: &mut &[u8]) -> Result<Factor<'static>> {
        let [rows, cols] = self.shape;
        let dtype = Dtype::ALL.iter().copied().find(|dtype| dtype.name() == self.dtype);
        let length = dtype.and_then(|dtype| dtype.row_bytes(cols)?.checked_mul(rows));
        let found = dtype.zip(length.and_then(|length| bytes.split_at_checked(length)));
        let Some((dtype, (own, rest))) = found else {
            return Err(Error::usage(format!(
                "no {} factor of shape {:?} in a part file",
                self.dtype, self.shape
            )));
        };
        *bytes = rest;
        Factor::new(dtype, self.shape, own.to_vec())
    }
}

/// The text and the bytes of what became of the pair with this key.
pub(crate) fn write(key: &str, outcome: &Outcome) -> Result<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut bytes = Vec::new();
    let mut add = |factor: &Factor<'_>| -> Result<Matrix> {
        bytes.push(factor.encoded()?.into_owned());
        Ok(Matrix::of(factor))
    };
    let stored = match outcome {
        Outcome::Module(module) => {
            let factors = module.factors.as_ref().map(|factors| {
                let (a, b) = (add(&factors.a)?, add(&factors.b)?);
                Ok::<_, Error>(StoredFactors { a, b, lost_squares: factors.lost_squares })
            });
            Stored::Module { report: module.report.clone(), factors: factors.transpose()? }
        }
        Outcome::Full(full, left_out) => {
            let full = full.as_ref().map(|full| {
                let FullTensor { name, shape, values, effect, whole } = full.tensor.view();
                Ok::<_, Error>(StoredFull {
                    name: name.into_owned(),
                    shape,
                    values: add(&values)?,
                    effect,
                    whole,
                    report: full.report.clone(),
                })
            });
            Stored::Full { full: full.transpose()?, left_out: left_out.clone() }
        }
        Outcome::LeftOut(left_out) => Stored::LeftOut(left_out.clone()),
    };
    let entry = Entry { key: key.into(), outcome: stored };
    let text = serde_json::to_vec(&entry)
        .map_err(|e| Error::usage(format!("a part file cannot be written: {e}")))?;
    Ok((text, bytes))
}

/// What became of `pair`, by the text and the bytes of a record.
pub(crate) fn read(
    text: &[u8],
    mut bytes: &[u8],
    pair: &Pair<'_>,
    options: &ExtractOptions,
) -> Result<Outcome> {
    let bad = |e: serde_json::Error| {
        Error::usage(format!("a record of {} in a part file is not sound: {e}", pair.name))
    };
    let Entry { outcome, .. } = serde_json::from_slice(text).map_err(bad)?;
    Ok(match outcome {
        Stored::Module { report, factors } => {
            let factors = factors.map(|stored| {
                let (a, b) = (stored.a.take(&mut bytes)?, stored.b.take(&mut bytes)?);
                Ok::<_, Error>(Factors { a, b, lost_squares: stored.lost_squares })
            });
            let channels = options.channel_scales.of(pair);
            Outcome::Module(Box::new(Module::new(pair, report, channels, factors.transpose()?)))
        }
        Stored::Full { full, left_out } => {
            let full = full.map(|stored| {
                let StoredFull { name, shape, values, effect, whole, report } = stored;
                let values = values.take(&mut bytes)?;
                let tensor = FullTensor { name: name.into(), shape, values, effect, whole };
                Ok::<_, Error>(Arc::new(Full { tensor, report }))
            });
            Outcome::Full(full.transpose()?, left_out)
        }
        Stored::LeftOut(left_out) => Outcome::LeftOut(left_out),
    })
}
