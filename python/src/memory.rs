//! Factors of weights that Python holds. Rows are copied block by block, so that no other thread can change them while they are
//! read and Python's lock is free meanwhile; no weight is ever copied whole.

use crate::errors::{Error, exception};
use crate::options::{dtype, format};
use phlora::{Factor, Kind, Lora, LoraModule, Monitor, Naming, Target, kind_of};
use phlora_core::{Dtype, Options, Plan, Rows, Shape};
use pyo3::exceptions::{PyKeyboardInterrupt, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyDict, PySlice};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes of one side that are copied at once.
const BLOCK: usize = 1 << 20;

/// Stops the extractions that have it.
#[derive(Debug, Default)]
#[pyclass(frozen)]
pub struct Cancel(AtomicBool);

#[pymethods]
impl Cancel {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the library takes the tensor `name` of `shape` for a linear layer that gets factors by default.
#[pyfunction]
pub fn is_linear(name: &str, shape: Vec<usize>) -> bool {
    kind_of(name, &shape) == Kind::Linear
}

/// One side of a weight: a contiguous buffer of bytes and its dtype.
#[derive(Debug, FromPyObject)]
pub struct Side {
    data: Py<PyAny>,
    dtype: String,
}

impl Side {
    fn dtype(&self, name: &str) -> PyResult<Dtype> {
        let known = [Dtype::F32, Dtype::F16, Dtype::Bf16, Dtype::F64];
        known.into_iter().find(|known| known.name().eq_ignore_ascii_case(&self.dtype)).ok_or_else(|| {
            PyValueError::new_err(format!("tensor {name}: {}, expected f32, f16, bf16 or f64", self.dtype))
        })
    }

    /// The bytes from `from` to `to`.
    fn copy(&self, from: usize, to: usize) -> PyResult<PyBackedBytes> {
        Python::attach(|py| {
            let range = PySlice::new(py, from.cast_signed(), to.cast_signed(), 1);
            let block = self.data.bind(py).get_item(range)?.call_method0("tobytes")?;
            let bytes: PyBackedBytes = block.extract()?;
            Ok(bytes)
        })
    }
}

/// The factors of tuned − base, and their figures; None where both are the same.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // of Python alone
pub fn factorise<'py>(
    py: Python<'py>,
    name: &str,
    base: Side,
    tuned: Side,
    shape: (usize, usize),
    rank: usize,
    tolerance: f64,
    max_reads: u32,
    cancel: &Cancel,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let refuse = |error: phlora_core::Error| Error::new_err(format!("tensor {name}: {error}"));
    let shape = Shape { rows: shape.0, cols: shape.1 };
    let dtypes = [base.dtype(name)?, tuned.dtype(name)?];
    let bytes = |dtype: Dtype| {
        dtype
            .row_bytes(shape.cols)
            .ok_or_else(|| Error::new_err(format!("tensor {name}: its rows have no size")))
    };
    let widths = [bytes(dtypes[0])?, bytes(dtypes[1])?];
    let options = Options { rank, tolerance, max_reads, ..Options::default() };
    let plan = Plan::new(shape, &options).map_err(refuse)?;
    let rank = plan.rank();
    let (mut a, mut b) = (vec![0.0_f32; rank * shape.cols], vec![0.0_f32; shape.rows * rank]);
    let mut sigma = vec![0.0_f32; rank];
    let report = py.detach(|| {
        let mut scratch = vec![0.0_f32; plan.scratch_len()];
        let mut extractor = plan.start(&mut scratch).map_err(refuse)?;
        let step = (BLOCK / widths[0].max(widths[1]).max(1)).max(1);
        while extractor.wants_pass() {
            for first in (0..shape.rows).step_by(step) {
                if cancel.0.load(Ordering::Relaxed) {
                    return Err(PyKeyboardInterrupt::new_err("cancelled"));
                }
                let last = (first + step).min(shape.rows);
                let base = base.copy(first * widths[0], last * widths[0])?;
                let tuned = tuned.copy(first * widths[1], last * widths[1])?;
                extractor.push(Rows::new(dtypes[0], &base), Rows::new(dtypes[1], &tuned)).map_err(refuse)?;
            }
            extractor.end_pass().map_err(refuse)?;
        }
        extractor.finish(&mut a, &mut b, &mut sigma).map_err(refuse)
    })?;
    if report.delta.sum_squares == 0.0 {
        return Ok(None);
    }
    let rank = report.rank;
    let raw = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_ne_bytes()).collect() };
    let found = PyDict::new(py);
    found.set_item("rank", rank)?;
    found.set_item("a", PyByteArray::new(py, &raw(&a[..rank * shape.cols])))?;
    found.set_item("b", PyByteArray::new(py, &raw(&b[..shape.rows * rank])))?;
    found.set_item("singular_values", sigma[..rank].to_vec())?;
    found.set_item("energy", report.energy())?;
    found.set_item("delta_norm", report.delta.sum_squares.sqrt())?;
    found.set_item("reads", report.reads)?;
    found.set_item("converged", report.converged)?;
    Ok(Some(found))
}

/// Factors of one module in f32: A [rank, in], B [out, rank].
#[derive(Debug, FromPyObject)]
pub struct Found {
    name: String,
    a: PyBackedBytes,
    b: PyBackedBytes,
    out: usize,
    input: usize,
    rank: usize,
}

/// What an adapter says of itself.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub struct Saving {
    format: Option<String>,
    dtype: String,
    force: bool,
    base_name: Option<String>,
    architecture: Option<String>,
    task: Option<String>,
}

/// Writes an adapter of `modules`; gives the bytes of its files.
#[pyfunction]
pub fn save(py: Python<'_>, path: PathBuf, modules: Vec<Found>, how: Saving) -> PyResult<u64> {
    let format = format(how.format.as_deref(), &path)?;
    let stored = dtype(&how.dtype)?;
    py.detach(|| {
        let factor = |shape: [usize; 2], bytes: &PyBackedBytes| {
            let little: Vec<u8> = bytes
                .chunks_exact(4)
                .flat_map(|four| {
                    let four = [four[0], four[1], four[2], four[3]];
                    f32::from_ne_bytes(four).to_le_bytes()
                })
                .collect();
            let mut factor = Factor::new(Dtype::F32, shape, little)?;
            factor.set_dtype(stored);
            Ok(factor)
        };
        let module = |found: &Found| {
            Ok(LoraModule {
                name: found.name.clone().into(),
                a: factor([found.rank, found.input], &found.a)?,
                b: factor([found.out, found.rank], &found.b)?,
                scale: 1.0,
                expert: None,
                target: Target::Module,
                embedding: false,
                kernel: Vec::new(),
                magnitude: None,
            })
        };
        let modules = modules.iter().map(module).collect::<phlora::Result<_>>()?;
        let mut lora = Lora::new(modules, Naming::HuggingFace);
        lora.base_name = how.base_name;
        lora.architecture = how.architecture;
        lora.task = how.task;
        lora.save(&path, format, how.force, &Monitor::default())
    })
    .map_err(|error: phlora::Error| exception(&error))
}
