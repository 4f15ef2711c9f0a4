//! Reads and kept energy of the modes on generated spectra, against the exact decomposition.

use crate::weights::{Spectrum, Weights};
use phlora_core::{Dtype, Error, Mode, Options, Plan, Rows, Shape};
use serde_json::json;

/// One extraction in f32: the reads, and Σσ².
fn keep(shape: Shape, sides: &[Vec<u8>; 2], options: &Options) -> Result<(u32, f64), Error> {
    let plan = Plan::new(shape, options)?;
    let mut scratch = vec![0.0; plan.scratch_len()];
    let mut extractor = plan.start(&mut scratch)?;
    let [base, tuned] = sides.each_ref().map(|bytes| Rows::new(Dtype::F32, bytes));
    while extractor.wants_pass() {
        extractor.push(base, tuned)?;
        extractor.end_pass()?;
    }
    let (rank, mut sigma) = (plan.rank(), vec![0.0; plan.rank()]);
    let (mut a, mut b) = (vec![0.0; rank * shape.cols], vec![0.0; shape.rows * rank]);
    let report = extractor.finish(&mut a, &mut b, &mut sigma)?;
    Ok((report.reads, report.kept))
}

/// Prints energies over the exact decomposition's as lines of JSON.
///
/// # Errors
/// What the core says.
pub fn measure(rank: usize, size: usize) -> Result<(), Error> {
    let multi = |width| Options { rank, width, mode: Mode::MultiRead, ..Options::default() };
    let stream = |max_reads| Options { rank, max_reads, mode: Mode::StreamOnce, ..Options::default() };
    for (name, spectrum) in [
        ("fast decay", Spectrum::FAST),
        ("middle", Spectrum::MIDDLE),
        ("slow decay", Spectrum::SLOW),
        ("flat bulk", Spectrum::FLAT),
        ("exactly rank 20", Spectrum::LOW_RANK),
        ("rank 200", Spectrum::DEFICIENT),
        ("one huge direction", Spectrum::HUGE),
    ] {
        for (rows, cols) in [(size, size), (4 * size, 64), (64, 4 * size), (size / 2, 3 * size / 2)] {
            let shape = Shape { rows, cols };
            let sides = Weights::new(rows, cols, 1, spectrum).pair(rows, Dtype::F32);
            let exact = Options { rank, mode: Mode::Exact, ..Options::default() };
            let (_, best) = keep(shape, &sides, &exact)?;
            let mut line = json!({ "spectrum": name, "rows": rows, "cols": cols });
            for (column, options) in [
                ("width_8", multi(8)),
                ("width_16", multi(16)),
                ("stream_1", stream(1)),
                ("stream_2", stream(2)),
            ] {
                let (reads, kept) = keep(shape, &sides, &options)?;
                line[column] = json!({ "energy": kept / best, "reads": reads });
            }
            println!("{line}");
        }
    }
    Ok(())
}
