//! Extracts an adapter from two weights in memory, pushed in blocks of rows.

use phlora_core::{Dtype, Error, Options, Plan, Rows, Shape};

const SHAPE: Shape = Shape { rows: 300, cols: 200 };
const RANK: usize = 8;

/// A weight in f32, little-endian; the tuned one differs by three strong directions and a little noise.
fn weight(tuned: bool) -> Vec<u8> {
    let strength = if tuned { 1.0 } else { 0.0 };
    let entry = |i: usize, j: usize| {
        let base = ((i * 7 + j * 13) % 101) as f32 / 101.0;
        let strong = (1..4).map(|k| ((i * k) as f32 / 9.0).sin() * ((j * k) as f32 / 5.0).cos()).sum::<f32>();
        let noise = ((i * 31 + j * 17) % 23) as f32 / 2300.0;
        base + strength * (0.1 * strong + noise)
    };
    (0..SHAPE.rows * SHAPE.cols).flat_map(|n| entry(n / SHAPE.cols, n % SHAPE.cols).to_le_bytes()).collect()
}

fn main() -> Result<(), Error> {
    let (base, tuned) = (weight(false), weight(true));
    let plan = Plan::new(SHAPE, &Options { rank: RANK, ..Options::default() })?;
    let mut scratch = vec![0.0; plan.scratch_len()];
    let mut extractor = plan.start(&mut scratch)?;
    let block = 64 * 4 * SHAPE.cols;
    while extractor.wants_pass() {
        for (base, tuned) in base.chunks(block).zip(tuned.chunks(block)) {
            extractor.push(Rows::new(Dtype::F32, base), Rows::new(Dtype::F32, tuned))?;
        }
        extractor.end_pass()?;
    }
    let (mut a, mut b) = (vec![0.0; RANK * SHAPE.cols], vec![0.0; SHAPE.rows * RANK]);
    let mut singular_values = vec![0.0; RANK];
    let report = extractor.finish(&mut a, &mut b, &mut singular_values)?;
    println!(
        "{:?}: {:.1} % of the difference kept in {} reads",
        plan.mode(),
        100.0 * report.energy(),
        report.reads
    );
    assert!(report.energy() > 0.95);
    Ok(())
}
