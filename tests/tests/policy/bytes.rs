//! How bytes, or a share of the energy, are shared out among matrices.

use phlora_core::policy::{
    Allocation, Candidate, Limit, Totals, allocate, allocate_best, factor_bytes, uniform_rank,
};
use phlora_core::{Criterion, Dtype, Policy, Shape, Spectrum};
use phlora_tests::matrix::Normal;

/// A candidate with all its singular values.
fn candidate(singular_values: &[f32], shape: Shape) -> Candidate<'_> {
    let sum_squares = singular_values.iter().map(|&s| f64::from(s).powi(2)).sum();
    let spectrum = Spectrum { singular_values, sum_squares, shape };
    Candidate { spectrum, stretch: 3.0 * f64::from(singular_values[0]), apart: false, dtype: Dtype::F16 }
}

/// What the first `rank` directions of a candidate are worth.
fn worth(one: &Candidate<'_>, rank: usize, by: Criterion) -> f64 {
    let Spectrum { shape, singular_values, .. } = one.spectrum;
    let room = (shape.rows + shape.cols) as f64;
    let each = singular_values.iter().take(rank).enumerate().map(|(at, &sigma)| match by {
        Criterion::Energy => f64::from(sigma).powi(2),
        Criterion::Relative => {
            let whole = f64::from(singular_values[0]) * one.stretch;
            room * f64::from(sigma).powi(2) / ((at + 1) as f64 * whole)
        }
    });
    each.sum()
}

/// The most that all ways to give ranks are worth, by trying them all.
fn best_by_force(candidates: &[Candidate<'_>], budget: u64, by: Criterion) -> f64 {
    let Some((first, rest)) = candidates.split_first() else { return 0.0 };
    let mut best = 0.0_f64;
    for rank in 0..=first.spectrum.singular_values.len() {
        let bytes = factor_bytes(first.spectrum.shape, rank, first.dtype);
        if bytes <= budget {
            best = best.max(worth(first, rank, by) + best_by_force(rest, budget - bytes, by));
        }
    }
    best
}

#[test]
fn bytes_go_where_they_are_worth_the_most() {
    let mut normal = Normal::new(36);
    for _ in 0..40 {
        let spectra: Vec<Vec<f32>> = (0..3)
            .map(|_| {
                let mut sigma: Vec<f32> = (0..4).map(|_| normal.uniform() as f32).collect();
                sigma.sort_by(|a, b| b.total_cmp(a));
                sigma
            })
            .collect();
        let shapes = [Shape { rows: 10, cols: 10 }; 3];
        let candidates: Vec<_> =
            spectra.iter().zip(shapes).map(|(sigma, shape)| candidate(sigma, shape)).collect();
        for (budget, by) in [0, 39, 40, 100, 200, 333, 480, 10_000]
            .into_iter()
            .flat_map(|budget| [Criterion::Relative, Criterion::Energy].map(|by| (budget, by)))
        {
            let mut allocated = [Allocation::default(); 3];
            let policy = Policy { by, ..Policy::fixed(usize::MAX) };
            let used = allocate(&candidates, &policy, Limit::Bytes(budget), &mut allocated);
            let each = || candidates.iter().zip(&allocated);
            let spent: u64 =
                each().map(|(one, given)| factor_bytes(one.spectrum.shape, given.rank, one.dtype)).sum();
            assert_eq!(used, spent);
            assert!(used <= budget);
            // Components of one size: greedy is exact.
            let found: f64 = each().map(|(one, given)| worth(one, given.rank, by)).sum();
            let best = best_by_force(&candidates, budget, by);
            assert!((found - best).abs() <= 1e-9 * best, "{budget} {by:?}: {found} of {best}");
        }
    }
}

#[test]
fn a_share_of_all_takes_the_fewest_bytes() {
    let mut normal = Normal::new(37);
    for _ in 0..40 {
        let spectra: Vec<Vec<f32>> = (0..3)
            .map(|_| {
                let mut sigma: Vec<f32> = (0..4).map(|_| normal.uniform() as f32).collect();
                sigma.sort_by(|a, b| b.total_cmp(a));
                sigma
            })
            .collect();
        let shape = Shape { rows: 10, cols: 10 };
        let candidates: Vec<_> = spectra.iter().map(|sigma| candidate(sigma, shape)).collect();
        let all: f64 = candidates.iter().map(|one| one.spectrum.sum_squares).sum();
        let one = factor_bytes(shape, 1, Dtype::F16);
        for share in [0.2, 0.5, 0.9, 0.999, 1.0] {
            let limit = Limit::Energy(share);
            let kept = |allocated: &[Allocation; 3]| -> f64 {
                candidates.iter().zip(allocated).map(|(one, given)| one.spectrum.kept(given.rank)).sum()
            };
            // 1 cannot be told from a millionth less.
            let wanted = share.min(1.0 - 1e-6) * all;
            let mut bytes = [0; 2];
            for (by, bytes) in [Criterion::Energy, Criterion::Relative].into_iter().zip(&mut bytes) {
                let mut allocated = [Allocation::default(); 3];
                *bytes =
                    allocate(&candidates, &Policy { by, ..Policy::fixed(usize::MAX) }, limit, &mut allocated);
                assert!(kept(&allocated) >= wanted, "{share} {by:?}");
            }
            assert!(bytes[0] <= bytes[1]);
            // Components of one size: with one less no choice keeps the share.
            assert!(best_by_force(&candidates, bytes[0] - one, Criterion::Energy) < wanted * (1.0 + 2e-6));
            let rank = uniform_rank(&candidates, &Policy::fixed(usize::MAX), 4, limit);
            let at = |rank| candidates.iter().map(|one| one.spectrum.kept(rank)).sum::<f64>();
            assert!(at(rank) >= wanted && at(rank - 1) < wanted * (1.0 + 2e-6));
        }
    }
}

#[test]
fn relative_to_the_weights_small_differences_get_their_part() {
    let (large, small) = ([8.0, 7.0, 6.0, 5.0, 4.0], [0.08, 0.07, 0.06, 0.05, 0.04]);
    let shape = Shape { rows: 16, cols: 16 };
    let candidates = [candidate(&large, shape), candidate(&small, shape)];
    let ranks = |by| {
        let mut allocated = [Allocation::default(); 2];
        let budget = 4 * factor_bytes(shape, 1, Dtype::F16);
        allocate(
            &candidates,
            &Policy { by, ..Policy::fixed(usize::MAX) },
            Limit::Bytes(budget),
            &mut allocated,
        );
        allocated.map(|one| one.rank)
    };
    assert_eq!(ranks(Criterion::Energy), [4, 0]);
    assert_eq!(ranks(Criterion::Relative), [2, 2]);
}

#[test]
fn relative_to_the_weights_a_direction_counts_as_much_as_it_takes_room() {
    // Of one spectrum in a small and a large shape both get the same rank.
    let sigma: Vec<f32> = (1..=12).map(|i| 1.0 / i as f32).collect();
    let shapes = [Shape { rows: 12, cols: 20 }, Shape { rows: 100, cols: 156 }];
    let candidates = shapes.map(|shape| candidate(&sigma, shape));
    for rank in 1..12 {
        let budget = shapes.iter().map(|&shape| factor_bytes(shape, rank, Dtype::F16)).sum();
        let mut allocated = [Allocation::default(); 2];
        let used = allocate(&candidates, &Policy::fixed(usize::MAX), Limit::Bytes(budget), &mut allocated);
        assert_eq!((used, allocated.map(|one| one.rank)), (budget, [rank; 2]));
    }
}

#[test]
fn ranks_in_multiples_and_one_for_all() {
    let sigma: Vec<f32> = (0..40).map(|i| 1.0 / (i + 1) as f32).collect();
    let shape = Shape { rows: 64, cols: 48 };
    let one = |scale: usize| candidate(&sigma, Shape { rows: shape.rows * scale, cols: shape.cols });
    let candidates = [one(1), one(2), one(4)];
    let mut allocated = [Allocation::default(); 3];
    let policy = |max_rank, multiple| Policy { multiple, ..Policy::fixed(max_rank) };
    allocate(&candidates, &policy(40, 8), Limit::Bytes(9_000), &mut allocated);
    assert!(allocated.iter().all(|one| one.rank % 8 == 0), "{allocated:?}");
    assert!(allocated.iter().any(|one| one.rank > 0));
    let rank = uniform_rank(&candidates, &policy(40, 8), 40, Limit::Bytes(10_000));
    let bytes = |rank| candidates.iter().map(|c| factor_bytes(c.spectrum.shape, rank, c.dtype)).sum::<u64>();
    assert!(rank == 8 && bytes(rank) <= 10_000 && bytes(rank + 8) > 10_000);

    assert_eq!([1, 8, 9, 60, 70].map(|rank| policy(64, 8).round(rank)), [8, 8, 16, 64, 64]);
    assert_eq!(policy(60, 16).round(50), 48);
    assert_eq!(policy(60, 1).round(50), 50);
    let listed = Policy { allowed: &[8, 16, 32, 64], ..policy(40, 1) };
    assert_eq!([0, 1, 8, 9, 30, 33, 100].map(|rank| listed.round(rank)), [0, 8, 8, 16, 32, 32, 32]);
}

#[test]
fn what_is_worth_more_does_not_outweigh_a_change_that_is_lost() {
    let outcome = |worth, lost, even| Totals { worth, lost, even };
    let even = outcome(1.0, 0.2, true);
    let (near, far) = (outcome(1.1, 0.209, false), outcome(2.0, 0.211, false));
    assert_eq!(Criterion::Relative.best(&[even, far, near]), Some(2));
    assert_eq!(Criterion::Relative.best(&[far, even]), Some(1));
    // Nothing to compare with, or another measure.
    assert_eq!(Criterion::Relative.best(&[near, far]), Some(1));
    assert_eq!(Criterion::Energy.best(&[even, near, far]), Some(2));
    // One rank for all in a coarser format is held to the same.
    assert_eq!(Criterion::Relative.best(&[even, outcome(3.0, 0.5, true)]), Some(0));
    assert_eq!(Criterion::Relative.best(&[near, near]), Some(0));
    assert_eq!(Criterion::Relative.best(&[]), None);
}

/// Two with steep spectra, whose later directions are worth little, and two with flat ones that change little by themselves.
fn steep_and_flat() -> ([Vec<f32>; 4], [Shape; 4]) {
    let spectrum = |decay: f32, scale: f32| (0..24).map(|i| scale * decay.powi(i)).collect::<Vec<f32>>();
    let spectra = [spectrum(0.5, 1.0), spectrum(0.6, 1.0), spectrum(0.97, 0.1), spectrum(0.98, 0.1)];
    (spectra, [Shape { rows: 24, cols: 40 }; 4])
}

#[test]
fn a_matrix_apart_gets_the_rank_of_one_rank_for_all() {
    let (spectra, shapes) = steep_and_flat();
    let mut candidates: Vec<_> =
        spectra.iter().zip(shapes).map(|(sigma, shape)| candidate(sigma, shape)).collect();
    candidates[0].apart = true;
    let policy = Policy { uniform: false, ..Policy::fixed(usize::MAX) };
    for rank in 1..20 {
        let budget = candidates.iter().map(|one| factor_bytes(one.spectrum.shape, rank, one.dtype)).sum();
        let mut allocated = [Allocation::default(); 4];
        let used = allocate(&candidates, &policy, Limit::Bytes(budget), &mut allocated);
        assert!(allocated[0].rank == rank && used == budget, "{allocated:?}");
        // The others share what is left as they do by themselves.
        let mut others = [Allocation::default(); 3];
        let left = budget - factor_bytes(shapes[0], rank, Dtype::F16);
        allocate(&candidates[1..], &policy, Limit::Bytes(left), &mut others);
        assert_eq!(allocated[1..].iter().map(|one| one.rank).collect::<Vec<_>>(), others.map(|one| one.rank));
        // By energy nothing stands apart.
        let mut energy = [Allocation::default(); 4];
        allocate(&candidates, &Policy { by: Criterion::Energy, ..policy }, Limit::Bytes(budget), &mut energy);
        assert!(rank < 8 || energy[0].rank < rank, "{energy:?}");
    }
    // Of a share of the energy as well.
    let mut allocated = [Allocation::default(); 4];
    allocate(&candidates, &policy, Limit::Energy(0.95), &mut allocated);
    assert_eq!(allocated[0].rank, uniform_rank(&candidates, &policy, 24, Limit::Energy(0.95)));
    let all: f64 = candidates.iter().map(|one| one.spectrum.sum_squares).sum();
    let kept: f64 = candidates.iter().zip(&allocated).map(|(one, given)| one.spectrum.kept(given.rank)).sum();
    assert!(kept >= 0.95 * all);
}

#[test]
fn one_rank_for_all_is_taken_where_ranks_of_their_own_lose_much_more() {
    // One whose spectrum is long keeps most of all squares, and its weight is large.
    let long: Vec<f32> = (0..24).map(|i| 0.97_f32.powi(i)).collect();
    let short: Vec<f32> = (0..24).map(|i| 0.2 * 0.97_f32.powi(i)).collect();
    let shape = Shape { rows: 24, cols: 40 };
    let mut candidates = [candidate(&long, shape), candidate(&short, shape)];
    let policy = Policy { uniform: false, ..Policy::fixed(usize::MAX) };
    for (stretch, even) in [(3.0, false), (3000.0, true)] {
        candidates[0].stretch = stretch;
        for limit in [Limit::Bytes(16 * factor_bytes(shape, 1, Dtype::F16)), Limit::Energy(0.5)] {
            let mut allocated = [Allocation::default(); 2];
            let rank = allocate_best(&candidates, &policy, limit, &mut allocated);
            assert_eq!(rank.is_some(), even, "{stretch} {limit:?} {allocated:?}");
            if let Some(rank) = rank {
                assert_eq!((rank, rank), (allocated[0].rank, allocated[1].rank));
                assert_eq!(rank, uniform_rank(&candidates, &policy, 24, limit));
            }
            // By energy what loses the least is what is worth the most.
            let by = Policy { by: Criterion::Energy, ..policy };
            assert_eq!(allocate_best(&candidates, &by, limit, &mut allocated), None);
        }
    }
    let mut allocated = [Allocation::default(); 2];
    let uniform = Policy::fixed(usize::MAX);
    assert_eq!(
        allocate_best(&candidates, &uniform, Limit::Energy(0.5), &mut allocated),
        Some(allocated[0].rank)
    );
}

#[test]
fn one_rank_for_all_is_no_more_than_a_matrix_is_wide() {
    let sigma: Vec<f32> = (0..24).map(|i| 0.9_f32.powi(i)).collect();
    let (wide, narrow) = (Shape { rows: 24, cols: 40 }, Shape { rows: 4, cols: 40 });
    let candidates = [candidate(&sigma, wide), candidate(&sigma[..4], narrow)];
    let bytes = factor_bytes(wide, 16, Dtype::F16) + factor_bytes(narrow, 4, Dtype::F16);
    let policy = Policy { uniform: false, ..Policy::fixed(usize::MAX) };
    assert_eq!(uniform_rank(&candidates, &policy, 24, Limit::Bytes(bytes)), 16);
    assert_eq!([wide, narrow].map(|shape| policy.even_rank(shape, 16)), [16, 4]);
    let padded = Policy { uniform: true, ..policy };
    assert!(uniform_rank(&candidates, &padded, 24, Limit::Bytes(bytes)) < 16);
    assert_eq!(padded.even_rank(narrow, 16), 16);
}
