//! A budget by energy against one rank for all modules: what each keeps in the same bytes of a GGUF adapter.

use phlora::{
    AdapterFormat, Criterion, Dtype, Error, ExtractJob, ExtractOptions, Extraction, Goal, Model, Monitor,
    Output, Policy, extract, save,
};
use std::path::Path;

/// One rank for all in f16, and what else its bytes can hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// The rank.
    pub rank: usize,
    /// Bytes of its file.
    pub bytes: u64,
    /// Share of ‖Δ‖² over all modules that it keeps, after rounding.
    pub f16: f64,
    /// The same of the largest rank for all that q8_0 holds in these bytes, and that rank.
    pub q8_0: (f64, usize),
    /// The same of the budget by energy.
    pub budget: f64,
    /// Bytes of the budget's file.
    pub used: u64,
    /// The format that the budget chose.
    pub dtype: Dtype,
}

/// One extraction: kept energy of all modules of which `all` is ‖Δ‖², bytes, and the format.
struct Kept {
    squares: f64,
    all: f64,
    bytes: u64,
    dtype: Dtype,
}

/// Compares at each of `ranks`. Adapters are written to `directory` and removed again.
///
/// # Errors
/// What an extraction says.
pub fn compare(base: &Path, tuned: &Path, ranks: &[usize], directory: &Path) -> Result<Vec<Row>, Error> {
    let (base, tuned) = (Model::open(base)?, Model::open(tuned)?);
    let keep = |policy: Policy, dtype: Dtype, choose_dtype: bool| {
        let mut options = ExtractOptions::default();
        options.policy = policy;
        options.dtype = dtype;
        options.choose_dtype = choose_dtype;
        options.format = AdapterFormat::Gguf;
        kept(&extract(&base, &tuned, &options, &Monitor::default())?, directory)
    };
    let mut rows = Vec::new();
    for &rank in ranks {
        let even = keep(Policy::fixed(rank), Dtype::F16, false)?;
        let mut small = (0.0, 0);
        let more: Vec<_> = (rank..=2 * rank).collect();
        let mut options = ExtractOptions::default();
        options.dtype = Dtype::Q8_0;
        options.format = AdapterFormat::Gguf;
        let extractions =
            ExtractJob::new(&base, &tuned).options(options).ranks(&more).extract(&Monitor::default())?;
        for (extraction, &more) in extractions.iter().zip(&more) {
            let found = kept(extraction, directory)?;
            if found.bytes <= even.bytes && found.squares > small.0 {
                small = (found.squares, more);
            }
        }
        let policy = Policy {
            goal: Goal::Budget(even.bytes),
            max_rank: usize::MAX,
            uniform: false,
            by: Criterion::Energy,
            ..Policy::default()
        };
        let best = keep(policy, Dtype::F16, true)?;
        rows.push(Row {
            rank,
            bytes: even.bytes,
            f16: even.squares / even.all,
            q8_0: (small.0 / even.all, small.1),
            budget: best.squares / even.all,
            used: best.bytes,
            dtype: best.dtype,
        });
    }
    Ok(rows)
}

fn kept(extraction: &Extraction, directory: &Path) -> Result<Kept, Error> {
    let path = directory.join("adapter.gguf");
    let output = Output::new(path).force(true);
    let report = save(extraction, &output, &Monitor::default())?;
    let squares = report.modules.iter().map(|m| (m.energy - m.rounding_loss) * m.delta_norm.powi(2)).sum();
    let named = |dtype: &&Dtype| dtype.name().eq_ignore_ascii_case(&report.dtype);
    let dtype = Dtype::ALL.iter().find(named).copied().unwrap_or(Dtype::F16);
    Ok(Kept { squares, all: report.total.delta_norm.powi(2), bytes: report.bytes_out, dtype })
}
