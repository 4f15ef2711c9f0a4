//! Batches whose tokens name their adapters, against f64; what a registry refuses; hot swap under load.

mod load;

use std::{
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nalgebra::DMatrix;
use phlora_core::{
    Adapter, Apply, Assignment, Dtype, Error, Inputs, Kernel, OutputsF32, Pin, Place, Registry, Rows, Shape,
    Slice, Usage, apply_scratch,
};
use phlora_tests::{
    adapters::{FORMATS, Pair, exists},
    matrix::{Normal, from_rows},
    tolerance,
};

const UNIT: f64 = f32::EPSILON as f64 / 2.0;
const SHAPE: Shape = Shape { rows: 130, cols: 96 };

fn uses(list: &[(u32, u32, f32)]) -> Vec<Assignment> {
    list.iter().map(|&(token, adapter, weight)| Assignment { token, adapter, weight }).collect()
}

/// Applies a routed batch in slices and compares every token with its own sum of adapters.
fn check(pairs: &[Option<Pair>], tokens: usize, assignments: &[Assignment]) {
    let adapters: Vec<Option<Adapter<'_>>> = pairs.iter().map(|pair| pair.as_ref().map(Pair::view)).collect();
    let mut normal = Normal::new(21);
    let mut values = |len: usize| -> Vec<f32> { (0..len).map(|_| normal.draw() as f32).collect() };
    let (x, start) = (values(tokens * SHAPE.cols), values(tokens * SHAPE.rows));
    let inputs = from_rows(tokens, SHAPE.cols, &x);
    let mut exact = from_rows(tokens, SHAPE.rows, &start);
    let mut size = exact.abs();
    let mut terms = DMatrix::<f64>::zeros(tokens, 1);
    for of in assignments {
        let token = of.token as usize;
        if let Some(pair) = &pairs[of.adapter as usize] {
            let row = inputs.row(token) * pair.product().transpose() * f64::from(of.weight);
            let sum = exact.row(token) + row;
            exact.set_row(token, &sum);
            let row = inputs.row(token).abs() * pair.magnitude().transpose() * f64::from(of.weight.abs());
            let sum = size.row(token) + row;
            size.set_row(token, &sum);
            terms[token] += tolerance::APPLY_TERMS;
        }
    }
    let mut grouped = assignments.to_vec();
    Assignment::group(&mut grouped);
    let most = adapters.iter().flatten().map(Adapter::rank).max().unwrap_or(1);
    for kernel in Kernel::available() {
        let apply = Apply::routed(kernel, SHAPE, tokens, &grouped, &adapters).unwrap();
        let (t_most, scratch_most) = apply_scratch(SHAPE, most, assignments.len());
        assert!(apply.t_len() <= t_most.count().unwrap());
        assert!(apply.scratch_len() <= scratch_most.count().unwrap());
        let mut whole: Option<Vec<f32>> = None;
        for slices in [1, 2, 7] {
            let (mut y, mut t) = (start.clone(), vec![f32::NAN; apply.t_len()]);
            let mut scratch = vec![f32::NAN; apply.scratch_len()];
            for i in 0..slices {
                let slice = Slice::new(i, slices).unwrap();
                let part = &mut t[apply.t_range(slice)];
                apply.down(slice, Inputs::f32(&x, SHAPE.cols), part, &mut scratch).unwrap();
            }
            for i in 0..slices {
                let mut outputs = OutputsF32 { values: &mut y, stride: SHAPE.rows };
                apply.up(Slice::new(i, slices).unwrap(), &t, &mut outputs, &mut scratch).unwrap();
            }
            let got = from_rows(tokens, SHAPE.rows, &y);
            for token in 0..tokens {
                let terms = tolerance::PRODUCT_TERMS * (SHAPE.cols + most) as f64 + terms[token];
                for i in 0..SHAPE.rows {
                    let error = (got[(token, i)] - exact[(token, i)]).abs();
                    let bound = terms * UNIT * size[(token, i)];
                    assert!(
                        error <= bound,
                        "token {token} row {i}: {error:e} > {bound:e}, {}",
                        kernel.name()
                    );
                }
            }
            assert_eq!(*whole.get_or_insert(y.clone()), y, "slices give the same bits");
        }
    }
}

#[test]
fn every_token_gets_its_own_adapters() {
    let ranks = [1, 3, 16, 17, 32, 64, 5, 8];
    let mut pairs: Vec<Option<Pair>> = ranks
        .iter()
        .enumerate()
        .map(|(i, &rank)| {
            let b = FORMATS[(i + 1) % FORMATS.len()];
            let b = if exists(b, rank) { b } else { Dtype::F16 };
            Some(Pair::random(i as u64, SHAPE, rank, [FORMATS[i % FORMATS.len()], b], 1.0 / (i + 1) as f32))
        })
        .collect();
    // An adapter that leaves this layer alone.
    pairs[6] = None;
    check(&pairs, 1, &uses(&[(0, 3, 1.0)]));
    check(&pairs, 1, &[]);
    check(&pairs, 4, &uses(&[(2, 6, 1.0)]));
    check(&pairs, 3, &uses(&[(0, 0, 1.0), (0, 1, 0.5), (0, 5, -2.0), (2, 1, 0.0)]));
    check(&pairs, 2, &uses(&[(1, 2, 1.0), (1, 2, 1.0)]));
    let spread: Vec<Assignment> =
        (0..16).map(|i| Assignment { token: i, adapter: i % 8, weight: 1.0 }).collect();
    check(&pairs, 16, &spread);
    let mut normal = Normal::new(22);
    for tokens in [5, 40, 200] {
        let many: Vec<Assignment> = (0..2 * tokens)
            .map(|_| Assignment {
                token: normal.below(tokens) as u32,
                adapter: normal.below(8) as u32,
                weight: normal.draw() as f32,
            })
            .collect();
        check(&pairs, tokens as usize, &many);
    }
}

#[test]
fn a_batch_is_refused_as_a_whole() {
    let kernel = Kernel::detect();
    let pair = Pair::random(1, SHAPE, 2, [Dtype::F32, Dtype::F32], 1e38);
    let other = Pair::random(1, Shape { rows: 96, cols: 96 }, 2, [Dtype::F32, Dtype::F32], 1.0);
    let adapters = [Some(pair.view()), None, Some(other.view())];
    let refused = |tokens: usize, list: &[(u32, u32, f32)]| {
        Apply::routed(kernel, SHAPE, tokens, &uses(list), &adapters).err()
    };
    assert_eq!(refused(2, &[(0, 0, 1.0), (1, 1, 1.0)]), None);
    assert_eq!(refused(0, &[]), Some(Error::Empty));
    assert_eq!(refused(2, &[(0, 0, 1.0), (2, 0, 1.0)]), Some(Error::UnknownToken { index: 1 }));
    assert_eq!(refused(2, &[(0, 3, 1.0)]), Some(Error::UnknownAdapter { index: 0 }));
    assert_eq!(refused(2, &[(0, 1, 1.0), (1, 0, 1.0)]), Some(Error::NotGrouped));
    assert_eq!(refused(2, &[(0, 0, f32::NAN)]), Some(Error::NonFiniteScale));
    assert_eq!(refused(2, &[(0, 0, 1e10)]), Some(Error::NonFiniteScale), "weight × scale");
    assert_eq!(refused(2, &[(0, 0, 1.0), (1, 2, 1.0)]), Some(Error::AdapterShape { index: 2 }));
}

#[test]
fn the_registry_keeps_what_is_pinned() {
    let mut places = [const { Place::<&str>::EMPTY }; 3];
    let registry = Registry::new(&mut places, 100);
    assert_eq!(registry.add(1, "one", 40), Ok(()));
    assert_eq!(registry.add(1, "again", 1), Err(Error::IdTaken));
    assert_eq!(registry.add(2, "two", 61), Err(Error::OverBudget { needed: 101 }));
    assert_eq!(registry.add(2, "two", 60), Ok(()));
    assert_eq!(registry.replace(3, "three", 0), Err(Error::UnknownId));
    assert_eq!(registry.remove(3), Err(Error::UnknownId));
    assert_eq!(registry.pin(3).err(), Some(Error::UnknownId));
    // Nobody holds it: the old value is free at once.
    assert_eq!(registry.replace(1, "ONE", 30), Ok(Some("one")));
    let pinned = registry.pin(1).unwrap();
    assert_eq!(
        registry.replace(1, "uno", 20),
        Err(Error::OverBudget { needed: 110 }),
        "the old one still counts"
    );
    assert_eq!(registry.replace(1, "uno", 10), Ok(None));
    assert_eq!(registry.add(4, "four", 0), Err(Error::RegistryFull { capacity: 3 }));
    assert_eq!((*pinned.value(), *registry.pin(1).unwrap().value()), ("ONE", "uno"));
    let second = registry.pin(1).unwrap();
    assert_eq!(registry.replace(1, "eins", 0), Err(Error::RegistryFull { capacity: 3 }));
    assert_eq!(registry.usage(), Usage { entries: 2, retired: 1, bytes: 100, budget: 100 });
    assert_eq!(registry.reclaim(), None);
    drop(pinned);
    assert_eq!(registry.reclaim(), Some("ONE"));
    assert_eq!(registry.reclaim(), None);
    assert_eq!(registry.remove(1), Ok(None));
    assert_eq!(registry.pin(1).err(), Some(Error::UnknownId));
    assert_eq!(registry.add(1, "new", 20), Ok(()), "an id may come back while its old entry is pinned");
    drop(second);
    assert_eq!(registry.reclaim(), Some("uno"));
    assert_eq!(registry.usage(), Usage { entries: 2, retired: 0, bytes: 80, budget: 100 });
}

#[test]
fn the_least_recently_used_goes_first() {
    let mut places = [const { Place::<u32>::EMPTY }; 4];
    let registry = Registry::new(&mut places, 100);
    for id in 0..4 {
        registry.add(id, id * 10, 25).unwrap();
    }
    drop(registry.pin(0).unwrap());
    let held = registry.pin(1).unwrap();
    let mut gone = Vec::new();
    registry.add_evicting(9, 90, 30, |id, value| gone.push((id, value))).unwrap();
    assert_eq!(gone, [(2, 20), (3, 30)], "not 0, used since; not 1, pinned");
    assert_eq!(registry.add_evicting(9, 0, 1, |_, _| panic!()), Err(Error::IdTaken));
    assert_eq!(registry.add_evicting(5, 0, 76, |_, _| panic!()), Err(Error::OverBudget { needed: 101 }));
    gone.clear();
    registry.add_evicting(5, 50, 75, |id, value| gone.push((id, value))).unwrap();
    assert_eq!(gone, [(0, 0), (9, 90)]);
    let all = [registry.pin(5).unwrap(), held];
    registry.add(6, 60, 0).unwrap();
    registry.add(7, 70, 0).unwrap();
    let more = [registry.pin(6).unwrap(), registry.pin(7).unwrap()];
    assert_eq!(registry.add_evicting(8, 0, 0, |_, _| panic!()), Err(Error::RegistryFull { capacity: 4 }));
    drop((all, more));
}

#[test]
fn a_batch_is_pinned_at_one_moment_or_not_at_all() {
    let mut places = [const { Place::<char>::EMPTY }; 4];
    let mut pins = [const { Pin::EMPTY }; 4];
    let registry = Registry::new(&mut places, usize::MAX);
    for (id, value) in [(70, 'a'), (50, 'b'), (60, 'c')] {
        registry.add(id, value, 1).unwrap();
    }
    let mut list = uses(&[(0, 60, 1.0), (1, 70, 1.0), (2, 60, 1.0), (3, 61, 1.0)]);
    let before = list.clone();
    assert_eq!(registry.pin_all(&mut list, &mut pins).err(), Some(Error::UnknownAdapter { index: 3 }));
    assert_eq!(list, before);
    assert_eq!(registry.remove(60), Ok(Some('c')), "nothing was left pinned");
    registry.add(60, 'd', 1).unwrap();
    let mut list = uses(&[(0, 60, 1.0), (1, 70, 1.0), (2, 60, 0.5)]);
    let mut short = [const { Pin::EMPTY }; 1];
    assert_eq!(registry.pin_all(&mut list, &mut short).err(), Some(Error::ScratchTooSmall { needed: 4 }));
    let pinned = registry.pin_all(&mut list, &mut pins).unwrap();
    assert_eq!(pinned.values().collect::<String>(), "da");
    assert_eq!(
        list,
        uses(&[(0, 0, 1.0), (2, 0, 0.5), (1, 1, 1.0)]),
        "grouped, by the place among the pinned"
    );
    assert_eq!(registry.remove(60), Ok(None));
    assert_eq!(registry.reclaim(), None);
    drop(pinned);
    assert_eq!(registry.reclaim(), Some('d'), "pinned once, whatever the number of tokens");
    assert_eq!(registry.pin_all(&mut [], &mut pins).unwrap().len(), 0);
}
