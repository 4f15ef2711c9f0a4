//! Jobs over paths. Each returns what the library reports, as JSON, which `phlora/_files.py` reads.

use crate::errors::{Error, exception};
use crate::job::run;
use crate::options::{Ranks, What, channel_scales, check_bits, dtype, format, names, threads};
use phlora::{
    Adapter, AdapterFormat, ConvertOptions, ExtractJob, Heads, MergeOptions, Model, Output, Policy,
    PruneOptions, Saved,
};
use pyo3::prelude::*;
use serde::Serialize;
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

fn text(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|error| Error::new_err(error.to_string()))
}

fn open(path: &Path) -> PyResult<Adapter> {
    Adapter::open(path).map_err(|error| exception(&error))
}

/// Where an extraction goes.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub struct Place {
    base: PathBuf,
    tuned: PathBuf,
    deployed_base: Option<PathBuf>,
    output: PathBuf,
    report: Option<PathBuf>,
    force: bool,
    progress: Option<Py<PyAny>>,
}

/// The adapters that were written, as (path, report), and what a server made of the options.
type Written = (Vec<(PathBuf, String)>, Vec<String>);

fn write(py: Python<'_>, place: &Place, policy: Policy, ranks: &[usize], what: &What) -> PyResult<Written> {
    let (options, notes) = what.options(policy, &place.output)?;
    let mut job = ExtractJob::new(place.base.as_path(), place.tuned.as_path()).options(options).ranks(ranks);
    if let Some(deployed) = place.deployed_base.as_deref() {
        job = job.deployed_base(deployed);
    }
    let output = Output::new(&place.output).report(place.report.clone()).force(place.force);
    let saved = run(py, place.progress.as_ref(), |monitor| job.run(&output, monitor))?;
    let one = |Saved { path, report, .. }| Ok((path, text(&report)?));
    Ok((saved.into_iter().map(one).collect::<PyResult<_>>()?, notes))
}

#[pyfunction]
pub fn extract(py: Python<'_>, place: Place, ranks: Ranks, what: What) -> PyResult<Written> {
    write(py, &place, ranks.policy()?, &[], &what)
}

#[pyfunction]
pub fn extract_ranks(py: Python<'_>, place: Place, ranks: Vec<usize>, what: What) -> PyResult<Written> {
    let most = ranks.iter().copied().max().unwrap_or(0);
    write(py, &place, Policy::fixed(most), &ranks, &what)
}

/// Where the extractions of several fine-tunes of one base go.
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub struct Places {
    base: PathBuf,
    tuned: Vec<PathBuf>,
    deployed_base: Option<PathBuf>,
    outputs: Vec<PathBuf>,
    report: Option<PathBuf>,
    force: bool,
    progress: Option<Py<PyAny>>,
}

/// The adapters that were written, and the exception of each fine-tune that has none.
type SeveralWritten = (Vec<(PathBuf, String)>, Vec<String>, Vec<(PathBuf, Py<PyAny>)>);

#[pyfunction]
pub fn extract_several(py: Python<'_>, places: Places, ranks: Ranks, what: What) -> PyResult<SeveralWritten> {
    let first = places.outputs.first().ok_or_else(|| Error::new_err("expected at least one fine-tune"))?;
    let (options, notes) = what.options(ranks.policy()?, first)?;
    let output = |path: &PathBuf| {
        let report = places.report.as_deref();
        let report = report.map(|report| Output::report_beside(report, path, options.format));
        Output::new(path).report(report).force(places.force)
    };
    let outputs: Vec<_> = places.outputs.iter().map(output).collect();
    let results = run(py, places.progress.as_ref(), |monitor| {
        let base = Model::open(&places.base)?;
        let deployed = places.deployed_base.as_deref().map(Model::open).transpose()?;
        let job = |tuned: &PathBuf| {
            let job = ExtractJob::new(&base, tuned.as_path()).options(options.clone());
            match &deployed {
                Some(deployed) => job.deployed_base(deployed),
                None => job,
            }
        };
        let jobs: Vec<_> = places.tuned.iter().map(job).collect();
        ExtractJob::run_together(&jobs, &outputs, monitor)
    })?;
    let (mut written, mut failed) = (Vec::new(), Vec::new());
    for (result, tuned) in results.into_iter().zip(&places.tuned) {
        match result {
            Ok(saved) => {
                for Saved { path, report, .. } in saved {
                    written.push((path, text(&report)?));
                }
            }
            Err(error) => failed.push((tuned.clone(), exception(&error).into_value(py).into_any())),
        }
    }
    Ok((written, notes, failed))
}

#[pyfunction]
pub fn plan(py: Python<'_>, place: Place, max_rank: usize, what: What) -> PyResult<String> {
    let (options, _) = what.options(Policy::fixed(max_rank), &place.output)?;
    let job = ExtractJob::new(place.base.as_path(), place.tuned.as_path()).options(options);
    text(&run(py, place.progress.as_ref(), |monitor| job.plan(monitor))?)
}

#[pyfunction]
pub fn verify(
    py: Python<'_>,
    base: PathBuf,
    tuned: PathBuf,
    adapter: PathBuf,
    scales: Option<PathBuf>,
    count: Option<NonZeroUsize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let scales = channel_scales(scales.as_deref())?;
    let verified = run(py, progress.as_ref(), |monitor| {
        let (base, tuned) = (Model::open(&base)?, Model::open(&tuned)?);
        let adapter = Adapter::open(&adapter)?;
        phlora::verify(&base, &tuned, &adapter, &scales, threads(count), monitor)
    })?;
    text(&verified)
}

#[pyfunction]
pub fn check(py: Python<'_>, adapter: PathBuf, base: PathBuf) -> PyResult<String> {
    text(&run(py, None, |monitor| phlora::check(&adapter, &Model::open(&base)?, monitor))?)
}

/// Options of [`convert`].
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub struct Conversion {
    format: Option<String>,
    dtype: Option<String>,
    base: Option<PathBuf>,
    architecture: Option<String>,
    heads: Option<(usize, usize)>,
    names: Option<String>,
    prefix: Option<String>,
    force: bool,
}

#[pyfunction]
pub fn convert(py: Python<'_>, adapter: PathBuf, output: PathBuf, how: Conversion) -> PyResult<String> {
    let mut options = ConvertOptions::new(format(how.format.as_deref(), &output)?);
    options.dtype = how.dtype.as_deref().map(dtype).transpose()?;
    options.base = how.base;
    options.architecture = how.architecture;
    options.heads = how.heads.map(|(queries, keys)| Heads { queries, keys });
    options.names = how.names.as_deref().map(names).transpose()?;
    options.prefix = how.prefix;
    options.force = how.force;
    let adapter = open(&adapter)?;
    let done = run(py, None, |monitor| phlora::convert(&adapter, &output, &options, monitor))?;
    text(&json!({
        "modules": done.modules, "rank": done.rank, "not_in_blocks": done.not_in_blocks,
        "folded": done.folded, "bytes": done.bytes,
    }))
}

/// Options of [`prune`].
#[derive(Debug, FromPyObject)]
#[pyo3(from_item_all)]
pub struct Pruning {
    drop_below: f64,
    dtype: Option<String>,
    threads: Option<NonZeroUsize>,
    force: bool,
}

#[pyfunction]
pub fn prune(
    py: Python<'_>,
    adapter: PathBuf,
    output: PathBuf,
    ranks: Ranks,
    how: Pruning,
) -> PyResult<String> {
    let adapter = open(&adapter)?;
    let compact = AdapterFormat::of_path(&output) == AdapterFormat::Phlora;
    let mut options = PruneOptions::default();
    options.policy = ranks.policy()?;
    options.drop_below = how.drop_below;
    options.format = if compact { AdapterFormat::Phlora } else { adapter.format() };
    check_bits(options.format, how.dtype.as_deref())?;
    options.dtype = how.dtype.as_deref().map(dtype).transpose()?;
    options.threads = threads(how.threads);
    options.force = how.force;
    let pruned = run(py, None, |monitor| phlora::prune(&adapter, &output, &options, monitor))?;
    let modules = pruned.modules.iter().map(|module| {
        json!({
            "name": module.name, "before": module.before, "rank": module.rank, "energy": module.energy,
            "sum_squares": module.sum_squares,
        })
    });
    text(&json!({
        "modules": modules.collect::<Vec<_>>(), "energy": pruned.energy, "bytes": pruned.bytes,
    }))
}

#[pyfunction]
pub fn merge(
    py: Python<'_>,
    base: PathBuf,
    adapters: Vec<(PathBuf, f32)>,
    output: PathBuf,
    force: bool,
    count: Option<NonZeroUsize>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let mut options = MergeOptions::default();
    options.force = force;
    options.threads = threads(count);
    let merged = run(py, progress.as_ref(), |monitor| {
        let base = Model::open(&base)?;
        let open = |(path, strength): &(PathBuf, f32)| Ok((Adapter::open(path)?, *strength));
        let opened = adapters.iter().map(open).collect::<phlora::Result<Vec<_>>>()?;
        let adapters: Vec<_> = opened.iter().map(|(adapter, strength)| (adapter, *strength)).collect();
        phlora::merge(&base, &adapters, &output, &options, monitor)
    })?;
    text(&json!({
        "weights": merged.weights, "full": merged.full, "files": merged.files, "bytes": merged.bytes,
        "notes": merged.notes,
    }))
}
