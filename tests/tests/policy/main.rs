//! Rank policies: what one matrix gets by its spectrum, how far the solver reads for it (this file), and how bytes are
//! shared out.

mod bytes;

use nalgebra::DMatrix;
use phlora_core::{Goal, Mode, Options, Plan, Shape, Spectrum};
use phlora_tests::{
    drive::Pair,
    matrix::{Normal, singular_values, with_spectrum},
};

type Decay = fn(usize) -> f64;

const DECAYS: [(&str, Decay); 5] = [
    ("fast", |i| 0.8_f64.powi(i32::try_from(i).unwrap())),
    ("slow", |i| 1.0 / ((i + 1) as f64).sqrt()),
    ("power law on a bulk", |i| 1.0 / (i + 1) as f64 + 0.02),
    ("two groups", |i| if i < 20 { 1.0 } else { 0.1 }),
    ("flat", |_| 1.0),
];

/// The smallest rank that keeps `share` of Σσ².
fn exact_rank(sigma: &[f64], share: f64) -> usize {
    let total: f64 = sigma.iter().map(|s| s * s).sum();
    let mut kept = 0.0;
    1 + sigma
        .iter()
        .take_while(|&&s| {
            kept += s * s;
            kept < share * total
        })
        .count()
}

#[test]
fn energy_is_met_at_a_rank_at_most_one_above_the_least() {
    for (rows, cols) in [(256, 320), (320, 96)] {
        for (name, decay) in DECAYS {
            let delta = with_spectrum(rows, cols, 31, decay);
            let sigma = singular_values(&delta);
            for share in [0.3, 0.6, 0.9, 0.99, 0.999] {
                for mode in [Mode::Exact, Mode::MultiRead] {
                    let least = exact_rank(&sigma, share);
                    let options =
                        Options { rank: 320, goal: Goal::Energy(share), mode, ..Options::default() };
                    let factors = Pair::of(&delta).extract(&options).unwrap();
                    let (rank, energy) = (factors.report.rank, factors.report.energy());
                    let what =
                        format!("{name}, {rows}×{cols}, {share}, {mode:?}: rank {rank}, least {least}");
                    assert!(energy >= share, "{what}: {energy}");
                    assert!((least..=least + 1).contains(&rank), "{what}");
                    assert!(factors.report.converged, "{what}");
                    let shape = Shape { rows, cols };
                    let left = (&delta - factors.product(shape)).norm_squared() / delta.norm_squared();
                    assert!(1.0 - left >= share, "{what}: measured {}", 1.0 - left);
                }
            }
        }
    }
}

#[test]
fn energy_reads_no_more_than_it_needs() {
    // 30 of 1024 directions hold nearly all: the space must stay far from the whole.
    let delta = with_spectrum(640, 512, 32, |i| if i < 30 { 1.0 } else { 0.01 });
    let options = Options { rank: 512, goal: Goal::Energy(0.9), mode: Mode::MultiRead, ..Options::default() };
    let report = Pair::of(&delta).extract(&options).unwrap().report;
    assert!(report.rank <= 29 && report.reads <= 5, "{report:?}");
}

#[test]
fn energy_out_of_reach_gives_the_largest_rank() {
    let delta = with_spectrum(200, 160, 33, |i| 1.0 / ((i + 1) as f64).sqrt());
    for mode in [Mode::MultiRead, Mode::Exact, Mode::StreamOnce] {
        let options = Options { rank: 8, goal: Goal::Energy(0.99), mode, ..Options::default() };
        let report = Pair::of(&delta).extract(&options).unwrap().report;
        assert_eq!(report.rank, 8);
        assert!(report.energy() < 0.99);
    }
}

/// A product of `rank` directions of the length `strength`, in units of the edge of the noise around it.
fn in_noise(rows: usize, cols: usize, rank: usize, strength: f64, seed: u64) -> DMatrix<f64> {
    let edge = (rows as f64).sqrt() + (cols as f64).sqrt();
    let signal = with_spectrum(rows, cols, seed, |i| if i < rank { strength * edge } else { 0.0 });
    signal + Normal::new(seed + 1).matrix(rows, cols)
}

#[test]
fn the_noise_floor_separates_signal_from_noise() {
    for (rows, cols) in [(256, 256), (320, 120), (100, 400)] {
        for rank in [0, 1, 7, 20] {
            let delta = in_noise(rows, cols, rank, 1.5, 40 + rank as u64);
            let mut found = Vec::new();
            for mode in [Mode::MultiRead, Mode::Exact] {
                let options = Options { rank: 64, goal: Goal::NoiseFloor, mode, ..Options::default() };
                let factors = Pair::of(&delta).extract(&options).unwrap();
                found.push(factors.report.rank);
            }
            let sigma: Vec<f32> = singular_values(&delta).iter().map(|&s| s as f32).collect();
            let sum_squares = delta.norm_squared();
            let spectrum = Spectrum { singular_values: &sigma, sum_squares, shape: Shape { rows, cols } };
            let (noise, edge) = (spectrum.noise(), (rows as f64).sqrt() + (cols as f64).sqrt());
            // The entries have variance 1.
            assert!((noise.floor / edge - 1.0).abs() < 0.06, "{noise:?} {edge}");
            // The whole spectrum says no more than what was read of it; one in a hundred is one too many.
            assert_eq!(found, [noise.rank; 2], "{rows}×{cols}, {rank} directions");
            assert!((rank..=rank + 1).contains(&noise.rank), "{rows}×{cols}, {rank} directions: {noise:?}");
        }
    }
}

#[test]
fn pure_noise_stays_below_its_floor() {
    let above = (0..200).filter(|&seed| {
        let delta = Normal::new(1000 + seed).matrix(40, 60);
        let sigma: Vec<f32> = singular_values(&delta).iter().map(|&s| s as f32).collect();
        let sum_squares = delta.norm_squared();
        let spectrum = Spectrum { singular_values: &sigma, sum_squares, shape: Shape { rows: 40, cols: 60 } };
        spectrum.noise().rank > 0
    });
    // One in a hundred is expected.
    assert!((0..=6).contains(&above.count()));
}

#[test]
fn values_beyond_the_rank_are_bounds_from_below() {
    let delta = with_spectrum(200, 240, 34, |i| 0.9_f64.powi(i32::try_from(i).unwrap()));
    let reference = singular_values(&delta);
    let pair = Pair::of(&delta);
    for mode in [Mode::Exact, Mode::MultiRead, Mode::StreamOnce] {
        let plan = Plan::new(pair.shape, &Options { rank: 8, mode, ..Options::default() }).unwrap();
        let mut scratch = vec![0.0; plan.scratch_len()];
        let mut extractor = plan.start(&mut scratch).unwrap();
        while extractor.wants_pass() {
            let (base, tuned) = pair.rows(0, 200);
            extractor.push(base, tuned).unwrap();
            extractor.end_pass().unwrap();
        }
        let mut sigma = vec![f32::NAN; plan.most_singular_values() + 3];
        assert!(plan.most_singular_values() > 20);
        extractor.finish(&mut vec![0.0; 8 * 240], &mut vec![0.0; 200 * 8], &mut sigma).unwrap();
        assert!(sigma.is_sorted_by(|x, y| x >= y), "{mode:?}: {sigma:?}");
        for (i, (&found, best)) in sigma.iter().zip(&reference).enumerate() {
            assert!(f64::from(found) <= best * 1.0001 + 1e-7, "{mode:?} σ{i}: {found} above {best}");
        }
        assert!(sigma[12] > 0.0 && *sigma.last().unwrap() == 0.0);
    }
}

#[test]
fn another_rank_at_the_end() {
    let delta = with_spectrum(120, 140, 35, |i| 0.8_f64.powi(i32::try_from(i).unwrap()));
    let pair = Pair::of(&delta);
    for mode in [Mode::Exact, Mode::MultiRead, Mode::StreamOnce] {
        let options = Options { rank: 12, goal: Goal::Energy(0.8), mode, ..Options::default() };
        let plan = Plan::new(pair.shape, &options).unwrap();
        let run = |extra: usize| {
            let mut scratch = vec![0.0; plan.scratch_len()];
            let mut extractor = plan.start(&mut scratch).unwrap();
            while extractor.wants_pass() {
                let (base, tuned) = pair.rows(0, 120);
                extractor.push(base, tuned).unwrap();
                extractor.end_pass().unwrap();
            }
            let rank = extractor.rank() + extra;
            let (mut a, mut b, mut s) = (vec![0.0; rank * 140], vec![0.0; 120 * rank], vec![0.0; rank]);
            extractor.finish_at(rank, &mut a, &mut b, &mut s).map(|report| (report.rank, report.energy(), a))
        };
        let (rank, energy, a) = run(0).unwrap();
        let (more, higher, longer) = run(2).unwrap();
        assert_eq!(more, rank + 2);
        assert!(higher > energy + 0.01, "{mode:?}: {energy} {higher}");
        // The leading directions are the same.
        assert_eq!(a, longer[..a.len()]);
        assert!(run(13 - rank).is_err());
    }
}
