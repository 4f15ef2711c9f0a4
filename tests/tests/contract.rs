//! What plans and extractors refuse, and that a refusal changes nothing.

use phlora_core::{Dtype, Error, Goal, Mode, Options, Plan, Rows, Scratch, Shape};
use phlora_tests::{drive::Pair, matrix::with_spectrum};

const MODES: [Mode; 3] = [Mode::Exact, Mode::MultiRead, Mode::StreamOnce];

fn options(mode: Mode) -> Options {
    Options { rank: 3, mode, ..Options::default() }
}

fn pair() -> Pair {
    Pair::of(&with_spectrum(30, 20, 31, |i| 0.5_f64.powi(i32::try_from(i).unwrap())))
}

#[test]
fn plans_refuse_what_cannot_be_done() {
    let shape = Shape { rows: 30, cols: 20 };
    for mode in MODES {
        let plan = |options| Plan::new(shape, &options);
        assert_eq!(plan(Options { rank: 0, ..options(mode) }), Err(Error::RankZero));
        assert_eq!(plan(Options { max_reads: 0, ..options(mode) }), Err(Error::TooFewReads { needed: 1 }));
        let short = plan(Options { max_scratch: 10, ..options(mode) });
        assert!(matches!(short, Err(Error::ScratchTooSmall { needed }) if needed > 10), "{short:?}");
        let huge = Shape { rows: usize::MAX / 2, cols: 3 };
        assert_eq!(Plan::new(huge, &options(mode)), Err(Error::TooLarge), "{mode:?}");
        let wide = Shape { rows: 1 << 45, cols: 1 << 20 };
        assert!(Plan::new(wide, &options(mode)).is_err(), "{mode:?}");
        assert_eq!(plan(Options { rank: 1000, ..options(mode) }).unwrap().rank(), 20, "capped");
    }
    let few = Options { rank: 20, max_reads: 1, mode: Mode::MultiRead, ..Options::default() };
    assert_eq!(Plan::new(Shape { rows: 300, cols: 300 }, &few), Err(Error::TooFewReads { needed: 4 }));
}

#[test]
fn auto_chooses_by_size_and_reads() {
    let mode = |rows, cols, options: Options| Plan::new(Shape { rows, cols }, &options).unwrap().mode();
    assert_eq!(mode(96, 192, Options::default()), Mode::Exact);
    assert_eq!(mode(4096, 4096, Options::default()), Mode::MultiRead);
    assert_eq!(mode(4096, 4096, Options { max_reads: 1, ..Options::default() }), Mode::StreamOnce);
    let small = Options { max_scratch: 20_000, rank: 4, ..Options::default() };
    assert_eq!(mode(96, 192, small), Mode::MultiRead, "exact does not fit");
}

#[test]
fn a_limit_on_scratch_costs_depth_not_correctness() {
    let pair = Pair::of(&with_spectrum(200, 300, 32, |i| 1.0 / (i + 1) as f64));
    let free =
        Plan::new(pair.shape, &Options { rank: 8, mode: Mode::MultiRead, ..Options::default() }).unwrap();
    let limit = free.scratch_len() / 2;
    let options = Options { rank: 8, mode: Mode::MultiRead, max_scratch: limit, ..Options::default() };
    let tight = Plan::new(pair.shape, &options).unwrap();
    assert!(tight.scratch_len() <= limit);
    let report = pair.extract(&options).unwrap().report;
    let best = pair.extract(&Options { rank: 8, mode: Mode::Exact, ..Options::default() }).unwrap().report;
    assert!(report.energy() > 0.97 * best.energy(), "{report:?}");
}

#[test]
fn scratch_of_the_exact_size_is_enough_and_nothing_beyond_is_touched() {
    let pair = pair();
    for mode in MODES {
        let plan = Plan::new(pair.shape, &options(mode)).unwrap();
        let len = plan.scratch_len();
        let mut scratch = vec![7.25; len + 16];
        let refused = plan.start(&mut scratch[..len - 1]).err();
        assert_eq!(refused, Some(Error::ScratchTooSmall { needed: len }));
        assert!(scratch.iter().all(|&x| x == 7.25), "a refused start writes nothing");
        let mut extractor = plan.start(&mut scratch).unwrap();
        let (base, tuned) = pair.rows(0, 30);
        while extractor.wants_pass() {
            extractor.push(base, tuned).unwrap();
            extractor.end_pass().unwrap();
        }
        extractor.finish(&mut [0.0; 60], &mut [0.0; 90], &mut [0.0; 3]).unwrap();
        assert!(scratch[len..].iter().all(|&x| x == 7.25), "{mode:?}: guard elements");
    }
}

#[test]
fn calls_out_of_order_and_wrong_blocks_change_nothing() {
    let pair = pair();
    for mode in MODES {
        let reference = pair.extract(&options(mode)).unwrap();
        let plan = Plan::new(pair.shape, &options(mode)).unwrap();
        let mut scratch = vec![0.0; plan.scratch_len()];
        let mut extractor = plan.start(&mut scratch).unwrap();
        let (head, tail) = (pair.rows(0, 10), pair.rows(10, 20));
        while extractor.wants_pass() {
            assert_eq!(extractor.end_pass(), Err(Error::MissingRows { pushed: 0 }));
            extractor.push(head.0, head.1).unwrap();
            assert_eq!(extractor.end_pass(), Err(Error::MissingRows { pushed: 10 }));
            assert_eq!(extractor.push(head.0, tail.1), Err(Error::NotWholeRows), "unequal sides");
            let broken = Rows::new(Dtype::F32, &head.0.bytes[..81]);
            assert_eq!(extractor.push(broken, broken), Err(Error::NotWholeRows));
            let all = pair.rows(0, 30);
            assert_eq!(extractor.push(all.0, all.1), Err(Error::TooManyRows));
            let empty = Rows::new(Dtype::F32, &[]);
            assert_eq!(extractor.push(empty, empty), Ok(()));
            extractor.push(tail.0, tail.1).unwrap();
            extractor.end_pass().unwrap();
        }
        assert_eq!(extractor.push(head.0, head.1), Err(Error::OutOfOrder));
        assert_eq!(extractor.end_pass(), Err(Error::OutOfOrder));
        let (mut a, mut b, mut s) = ([0.0; 60], [0.0; 90], [0.0; 3]);
        let report = extractor.finish(&mut a, &mut b, &mut s).unwrap();
        assert_eq!((a.as_slice(), b.as_slice(), report), (&*reference.a, &*reference.b, reference.report));
    }
}

#[test]
fn results_before_the_end_and_wrong_outputs_are_refused_untouched() {
    let pair = pair();
    for mode in MODES {
        let plan = Plan::new(pair.shape, &options(mode)).unwrap();
        let run = |a: &mut [f32], b: &mut [f32], s: &mut [f32], finished: bool| {
            let mut scratch = vec![0.0; plan.scratch_len()];
            let mut extractor = plan.start(&mut scratch).unwrap();
            while finished && extractor.wants_pass() {
                let (base, tuned) = pair.rows(0, 30);
                extractor.push(base, tuned).unwrap();
                extractor.end_pass().unwrap();
            }
            extractor.finish(a, b, s).map(|report| report.rank)
        };
        let (mut a, mut b, mut s) = ([7.0; 60], [7.0; 90], [7.0; 3]);
        assert_eq!(run(&mut a, &mut b, &mut s, false), Err(Error::OutOfOrder));
        assert_eq!(run(&mut a[..59], &mut b, &mut s, true), Err(Error::OutputLength { expected: 60 }));
        assert_eq!(run(&mut a, &mut b[..89], &mut s, true), Err(Error::OutputLength { expected: 90 }));
        assert_eq!(run(&mut a, &mut b, &mut s[..2], true), Err(Error::OutputLength { expected: 3 }));
        assert!(a.iter().chain(&b).chain(&s).all(|&x| x == 7.0), "{mode:?}");
        assert_eq!(run(&mut a, &mut b, &mut s, true), Ok(3));
    }
}

#[test]
fn what_is_not_finite_is_named_with_its_row() {
    for mode in MODES {
        for parts in [1, 4] {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut pair = pair();
                for row in [17, 23] {
                    pair.tuned[(row * 20 + 4) * 4..][..4].copy_from_slice(&bad.to_le_bytes());
                }
                let plan = Plan::new(pair.shape, &Options { parts, ..options(mode) }).unwrap();
                let mut scratch = vec![0.0; plan.scratch_len()];
                let mut extractor = plan.start(&mut scratch).unwrap();
                let (base, tuned) = pair.rows(0, 30);
                extractor.push(base, tuned).unwrap();
                assert_eq!(extractor.end_pass(), Err(Error::NonFinite { row: 17 }), "{mode:?}");
                assert_eq!(extractor.delta().unwrap().non_finite, 2);
                assert!(!extractor.wants_pass());
                let refused = extractor.finish(&mut [0.0; 60], &mut [0.0; 90], &mut [0.0; 3]);
                assert_eq!(refused, Err(Error::OutOfOrder));
            }
        }
    }
}

#[test]
fn scratch_follows_from_the_narrow_side_and_the_rank() {
    // The largest layers of an 8B model, with the parts that the checkpoint layer asks for.
    for (rows, cols, parts) in [(4096, 14336, 2), (14336, 4096, 4), (4096, 4096, 4)] {
        let plan = Plan::new(Shape { rows, cols }, &Options { parts, ..Options::default() }).unwrap();
        assert!(plan.scratch_len() * 4 < 16 << 20, "{rows}×{cols}: {} bytes", plan.scratch_len() * 4);
    }
}

#[test]
fn goals_over_many_matrices_give_one_alone_the_rank_that_is_given() {
    let pair = Pair::of(&with_spectrum(40, 400, 7, |i| 0.9_f64.powi(i32::try_from(i).unwrap())));
    for mode in MODES {
        let of = |goal| Options { rank: 32, mode, goal, ..Options::default() };
        let len = |goal| Plan::new(pair.shape, &of(goal)).unwrap().scratch_len();
        let fixed = pair.extract(&of(Goal::Fixed)).unwrap();
        for goal in [Goal::Budget(1), Goal::TotalEnergy(0.1)] {
            assert_eq!(len(goal), len(Goal::Fixed), "{mode:?} {goal:?}");
            let found = pair.extract(&of(goal)).unwrap();
            assert_eq!(found.report, fixed.report, "{mode:?} {goal:?}");
            assert_eq!((&found.a, &found.b), (&fixed.a, &fixed.b), "{mode:?} {goal:?}");
        }
    }
}

#[test]
fn empty_matrices_need_no_read() {
    for mode in MODES {
        for (rows, cols) in [(0, 5), (5, 0), (0, 0)] {
            let plan = Plan::new(Shape { rows, cols }, &options(mode)).unwrap();
            assert_eq!(plan.rank(), 0);
            let mut scratch = vec![0.0; plan.scratch_len()];
            let mut extractor = plan.start(&mut scratch).unwrap();
            let empty = Rows::new(Dtype::F32, &[]);
            while extractor.wants_pass() {
                extractor.push(empty, empty).unwrap();
                extractor.end_pass().unwrap();
            }
            let report = extractor.finish(&mut [], &mut [], &mut []).unwrap();
            assert_eq!((report.energy(), report.rank), (1.0, 0), "{mode:?} {rows}×{cols}");
        }
    }
}

#[test]
fn scratch_lengths_compose_and_overflow_is_a_value() {
    const TWO: Scratch = Scratch::matrix(3, 4).and(Scratch::elements(8));
    assert_eq!(TWO.count(), Ok(20));
    assert_eq!(TWO.or(Scratch::elements(21)).times(2).count(), Ok(42));
    assert_eq!(Scratch::EMPTY.count(), Ok(0));
    for over in [Scratch::OVERFLOW, Scratch::matrix(usize::MAX, 2), Scratch::elements(usize::MAX)] {
        assert_eq!(over.and(TWO).or(TWO).times(3).count(), Err(Error::TooLarge));
    }
}
