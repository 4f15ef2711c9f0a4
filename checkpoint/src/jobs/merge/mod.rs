//! A model with adapters merged into its weights: W += Σ s·B·A, streamed into copies of its files.
//!
//! What an adapter changes beside factors is merged by `full.rs`. A merged weight keeps its format and its place, so that
//! every other byte of a file, metadata and headers among them, is copied. Only heads that the base lacks, or has for
//! another number of classes, change a header (`layout.rs`). Memory holds the factors of one weight and some of its rows
//! for each thread, and such heads.

mod copies;
mod full;
mod layout;
mod others;
mod rescaled;
mod rows;
mod terms;

use crate::adapter::View;
use crate::adapter::{Adapter, is_adapter_file};
use crate::error::{Error, Result};
use crate::run::monitor::Monitor;
use crate::run::pool::{Ticket, available_threads, run};
use crate::run::staging::{Known, Replaces, StagedDir, StagedFile, is_within};
use crate::source::model::Model;
use copies::Copy;
use layout::Layout;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use terms::{Targets, targets};

/// Bytes of a job: what is copied, or the rows that are merged with one preparation of the factors.
const JOB: usize = 16 << 20;

/// A model of one file, on disk.
const MODEL: Known =
    Known { name: "a model", is: |path| !is_adapter_file(path) && Model::open(path).is_ok() };

/// Options of [`merge`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MergeOptions {
    /// Whether a model that is there already is replaced.
    pub force: bool,
    /// Threads. The bytes do not depend on it.
    pub threads: NonZeroUsize,
}

impl Default for MergeOptions {
    fn default() -> Self {
        Self { force: false, threads: available_threads() }
    }
}

/// Result of [`merge`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Merged {
    /// Weights that adapters were merged into, each expert counted.
    pub weights: usize,
    /// Tensors that adapters change beside factors, those that the base lacks among them.
    pub full: usize,
    /// Files of the model.
    pub files: usize,
    /// Bytes of these files.
    pub bytes: u64,
    /// How the names of an adapter were paired with the base's, and what is to be known of heads.
    pub notes: Vec<String>,
}

/// Work for one thread.
#[derive(Debug, Clone)]
enum Job {
    /// Rows of a target.
    Rows(usize, Range<usize>),
    /// A tensor that is changed beside factors.
    Full(usize),
    /// Bytes of a file that stay.
    Bytes(usize, Range<usize>),
}

/// Writes `base` with every adapter merged, times its strength, to `path`.
///
/// A model of one file becomes one file. One of several files, or one that was opened as a directory or by its index,
/// becomes a directory with files of the same names; in the latter cases with all else that the base's directory
/// holds, but for hidden files and weights that are not the model's. Adapters of the other container are renamed and
/// reordered as [`Lora::to_gguf`](crate::Lora::to_gguf) does.
///
/// Bytes of untouched tensors and of all metadata are the base's. The merged ones are rounded to nearest in the format
/// that they had. A task's head that the base lacks, or has for another number of classes, is stored as the adapter has it,
/// at the end of a safetensors file. Names that begin otherwise than the base's are paired by their ends.
///
/// # Errors
/// When the names or shapes of an adapter's modules are not those of the base, a factor or a merged entry is no finite
/// number, a weight is stored in a format that is not written, an embedding that an adapter changes is the output head
/// as well, the output exists and may not be replaced, or [`Error::Cancelled`]; nothing is left behind.
///
/// ```no_run
/// use phlora::{Adapter, MergeOptions, Model, Monitor, merge};
/// use std::path::Path;
///
/// let (base, adapter) = (Model::open(Path::new("base"))?, Adapter::open(Path::new("adapter"))?);
/// let merged =
///     merge(&base, &[(&adapter, 1.0)], Path::new("merged"), &MergeOptions::default(), &Monitor::default())?;
/// println!("{} weights changed", merged.weights);
/// # Ok::<(), phlora::Error>(())
/// ```
pub fn merge(
    base: &Model,
    adapters: &[(&Adapter, f32)],
    path: &Path,
    options: &MergeOptions,
    monitor: &Monitor,
) -> Result<Merged> {
    refuse_inputs(base, adapters, path)?;
    let view = View::new(base);
    let targets = targets(&view, adapters)?;
    base.check_on_disk()?;
    let others = others::of(base)?;
    let names = others::names(base)?;
    let layouts = layouts(base, &targets)?;
    monitor.begin_writing()?;
    if !others::is_directory(base) {
        let staged = StagedFile::create(path, MODEL, options.force)?;
        let copies = Copy::all(base, layouts, |_| staged.path().to_owned(), path)?;
        let merged = write(&copies, &targets, path, options, monitor)?;
        staged.commit()?;
        return Ok(merged);
    }
    // A directory of that name would be taken for the file that its name promises.
    if path
        .extension()
        .is_some_and(|end| end.eq_ignore_ascii_case("safetensors") || end.eq_ignore_ascii_case("gguf"))
    {
        return Err(Error::usage(format!(
            "{} is the name of a file, but the base {} is a directory, and so is what is merged: name a directory",
            path.display(),
            base.path().display()
        )));
    }
    let first = |name: &Path| name.components().next().map(|name| name.as_os_str().to_owned());
    let kept: BTreeSet<OsString> = names.iter().chain(&others.files).filter_map(|name| first(name)).collect();
    let staged = StagedDir::create(path, Replaces::Model(kept), options.force)?;
    let mut at = names.iter();
    let place = |_: &Path| staged.path().join(at.next().map_or(Path::new(""), |name| name));
    let copies = Copy::all(base, layouts, place, path)?;
    let merged = write(&copies, &targets, path, options, monitor)?;
    others.copy(staged.path(), path, monitor)?;
    others.name_new(staged.path(), &names, &copies, &targets.new)?;
    staged.commit()?;
    Ok(merged)
}

/// The output is none of the inputs, however its path is written.
fn refuse_inputs(base: &Model, adapters: &[(&Adapter, f32)], path: &Path) -> Result<()> {
    let above = base.path().is_dir() && base.path() != path && is_within(path, base.path());
    if above && path.canonicalize().ok() != base.path().canonicalize().ok() {
        let base = base.path().display();
        let problem = format!(
            "{} would be inside of the model {base}, all of which is copied; choose another place",
            path.display()
        );
        return Err(Error::usage(problem));
    }
    let Ok(resolved) = path.canonicalize() else { return Ok(()) };
    let inputs = [base.path()].into_iter().chain(base.files());
    let mut inputs = inputs.chain(adapters.iter().map(|(adapter, _)| adapter.path()));
    match inputs.find(|input| input.canonicalize().is_ok_and(|input| input == resolved)) {
        Some(_) => Err(Error::exists(path, "is one of the inputs; it is not replaced")),
        None => Ok(()),
    }
}

/// Fills the files and waits until they are on disk.
fn write(
    copies: &[Copy<'_>],
    targets: &Targets<'_>,
    path: &Path,
    options: &MergeOptions,
    monitor: &Monitor,
) -> Result<Merged> {
    let jobs = jobs(copies, targets);
    let bytes = copies.iter().map(|copy| copy.layout.len as u64).sum();
    monitor.correct_total(0, bytes);
    copies::synced(copies, path, |written| {
        let work = |buffer: &mut Vec<u8>, ticket: Ticket<'_>| {
            let put = |file: usize, at, bytes: &[u8]| {
                copies[file].put(at, bytes).map_err(|e| Error::io(path, "write", e))
            };
            let file = match &jobs[ticket.job()] {
                Job::Bytes(file, range) => {
                    ticket.tick(range.len())?;
                    put(*file, range.start, &copies[*file].bytes[range.clone()])?;
                    *file
                }
                Job::Rows(target, rows) => {
                    let target = &targets.products[*target];
                    let put = |at, bytes: &[u8]| put(target.file, at, bytes);
                    if target.terms.iter().any(|term| term.module.magnitude.is_some()) {
                        rescaled::merge(target, rows.clone(), ticket, put)?;
                    } else {
                        rows::merge(target, rows.clone(), buffer, ticket, put)?;
                    }
                    target.file
                }
                Job::Full(target) => {
                    let target = &targets.full[*target];
                    full::merge(target, ticket, |at, bytes| put(target.file, at, bytes))?;
                    target.file
                }
            };
            written(file);
            Ok(())
        };
        run(options.threads.get(), jobs.len(), monitor, Vec::new, work).map(drop)
    })?;
    monitor.check()?;
    let full = targets.full.len() + targets.new.len();
    let notes = targets.notes.clone();
    Ok(Merged { weights: targets.products.len(), full, files: copies.len(), bytes, notes })
}

/// How the copies of the base's files are laid out.
fn layouts<'t>(base: &Model, targets: &'t Targets<'_>) -> Result<Vec<Layout<'t>>> {
    let one = |(number, (path, bytes)): (usize, (&Path, &[u8]))| {
        let new = targets.new.chunk_by(|one, next| one.file == next.file).find(|new| new[0].file == number);
        new.map_or_else(|| Ok(Layout::same(bytes.len())), |new| Layout::with(path, bytes, new))
    };
    base.contents().enumerate().map(one).collect()
}

/// What is to be done, the merging first: the copying then fills the threads evenly.
fn jobs(copies: &[Copy<'_>], targets: &Targets<'_>) -> Vec<Job> {
    let (mut merged, mut copied) = (Vec::new(), Vec::new());
    let mut taken = vec![Vec::new(); copies.len()];
    for (at, target) in targets.full.iter().enumerate() {
        merged.push(Job::Full(at));
        taken[target.file].push(target.tensor.range());
    }
    for (at, target) in targets.products.iter().enumerate() {
        let rows = target.shape[0];
        let step = (JOB / target.row_bytes().max(1)).max(1);
        merged.extend((0..rows).step_by(step).map(|from| Job::Rows(at, from..rows.min(from + step))));
        taken[target.file].push(target.tensor.range());
    }
    for (file, (copy, mut taken)) in copies.iter().zip(taken).enumerate() {
        taken.sort_by_key(|range| range.start);
        for kept in copy.layout.kept() {
            let inside = taken.iter().filter(|range| kept.contains(&range.start)).cloned();
            let mut from = kept.start;
            for next in inside.chain(std::iter::once(kept.end..kept.end)) {
                let gap = from..next.start;
                copied.extend(
                    gap.clone()
                        .step_by(JOB)
                        .map(|at| Job::Bytes(file, at..gap.end.min(at.saturating_add(JOB)))),
                );
                from = next.end;
            }
        }
    }
    merged.append(&mut copied);
    merged
}
