//! Chooses ranks from singular values: by energy, by the noise floor, and by bytes over several weights.

use phlora_core::policy::{Allocation, Candidate, Criterion, Limit, allocate, factor_bytes};
use phlora_core::{Dtype, Goal, Policy, Shape, Spectrum};

const SHAPE: Shape = Shape { rows: 1024, cols: 1024 };

fn spectrum(singular_values: &[f32]) -> Spectrum<'_> {
    let sum_squares = singular_values.iter().map(|&s| f64::from(s).powi(2)).sum();
    Spectrum { singular_values, sum_squares, shape: SHAPE }
}

fn main() {
    // Two weights whose singular values decay slowly and fast.
    let [slow, fast] =
        [0.5, 1.5].map(|decay| (1..=64).map(|k| (k as f32).powf(-decay)).collect::<Vec<f32>>());
    for (name, values) in [("slow", &slow), ("fast", &fast)] {
        let spectrum = spectrum(values);
        let [energy, noise] = [Goal::Energy(0.9), Goal::NoiseFloor].map(|goal| goal.rank(&spectrum, 64));
        println!("{name}: rank {energy} keeps 90 %, {noise} directions are above the noise");
        assert!(spectrum.energy(energy) >= 0.9);
    }
    let candidates = [&slow, &fast].map(|values| Candidate {
        spectrum: spectrum(values),
        stretch: 1.0,
        apart: false,
        dtype: Dtype::F16,
    });
    let budget = 2 * factor_bytes(SHAPE, 16, Dtype::F16);
    for by in [Criterion::Relative, Criterion::Energy] {
        let policy = Policy { goal: Goal::Budget(budget), uniform: false, by, ..Policy::fixed(64) };
        let mut allocated = [Allocation::default(); 2];
        let used = allocate(&candidates, &policy, Limit::Bytes(budget), &mut allocated);
        println!(
            "{}: {used} of {budget} bytes, ranks {} and {}",
            by.name(),
            allocated[0].rank,
            allocated[1].rank
        );
        assert!(used <= budget && allocated[0].rank > allocated[1].rank);
    }
}
