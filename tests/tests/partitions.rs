//! The same difference gives the same bits, however it is cut into blocks, parts and threads.

use phlora_core::{Dtype, Kernel, Mode, Options, Plan, encode};
use phlora_tests::{
    drive::{Factors, Pair},
    matrix::{Normal, with_spectrum},
};

/// A bf16 pair whose difference has a decaying spectrum.
fn pair(rows: usize, cols: usize) -> Pair {
    let mut normal = Normal::new(21);
    let base: Vec<f32> = (0..rows * cols).map(|_| normal.draw() as f32 * 0.05).collect();
    let delta = with_spectrum(rows, cols, 22, |i| 1.0 / (i + 1) as f64);
    let mut pair = Pair::of(&delta);
    pair.dtypes = [Dtype::Bf16; 2];
    let tuned: Vec<f32> = base.iter().zip(delta.transpose().iter()).map(|(&b, &d)| b + d as f32).collect();
    for (values, bytes) in [(&base, &mut pair.base), (&tuned, &mut pair.tuned)] {
        bytes.resize(2 * rows * cols, 0);
        encode(values, Dtype::Bf16, bytes).unwrap();
    }
    pair
}

fn modes() -> [Options; 5] {
    let options = |mode, width, max_reads| Options { rank: 6, mode, width, max_reads, ..Options::default() };
    [
        options(Mode::Exact, 0, 1),
        options(Mode::MultiRead, 8, 32),
        options(Mode::MultiRead, 16, 32),
        options(Mode::StreamOnce, 0, 1),
        options(Mode::StreamOnce, 0, 2),
    ]
}

fn assert_same(name: &str, x: &Factors, y: &Factors) {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&x.a), bits(&y.a), "{name}: lora_a");
    assert_eq!(bits(&x.b), bits(&y.b), "{name}: lora_b");
    assert_eq!(x.report, y.report, "{name}");
}

#[test]
fn block_sizes_do_not_matter() {
    let pair = pair(101, 150);
    for options in modes() {
        for parts in [1, 3, 8] {
            let options = Options { parts, ..options };
            for kernel in Kernel::available() {
                let whole = pair.extract_in_blocks(&options, kernel, || usize::MAX).unwrap();
                for size in [1, 7, 24, 64] {
                    let blocks = pair.extract_in_blocks(&options, kernel, || size).unwrap();
                    assert_same(&format!("{options:?}, blocks of {size}"), &whole, &blocks);
                }
                let mut normal = Normal::new(23);
                let random = pair.extract_in_blocks(&options, kernel, || 1 + normal.below(40)).unwrap();
                assert_same(&format!("{options:?}, random blocks"), &whole, &random);
            }
        }
    }
}

#[test]
fn neither_do_they_where_the_first_read_looks_at_some_rows() {
    let pair = pair(1500, 40);
    let options = Options { rank: 6, mode: Mode::MultiRead, parts: 3, ..Options::default() };
    for kernel in Kernel::available() {
        let whole = pair.extract_in_blocks(&options, kernel, || usize::MAX).unwrap();
        for size in [1, 13, 600] {
            let blocks = pair.extract_in_blocks(&options, kernel, || size).unwrap();
            assert_same(&format!("blocks of {size}"), &whole, &blocks);
        }
    }
}

#[test]
fn parts_may_be_fed_from_threads_in_any_order() {
    let pair = pair(101, 150);
    for options in modes() {
        for parts in [1, 2, 5, 8] {
            let options = Options { parts, ..options };
            let sequential = pair.extract(&options).unwrap();
            let plan = Plan::new(pair.shape, &options).unwrap();
            let mut scratch = vec![f32::NAN; plan.scratch_len()];
            let mut extractor = plan.start(&mut scratch).unwrap();
            while extractor.wants_pass() {
                let mut covered = 0;
                std::thread::scope(|scope| {
                    let parts: Vec<_> = extractor.parts().collect();
                    for mut part in parts.into_iter().rev() {
                        let rows = part.rows();
                        covered += rows.len();
                        let pair = &pair;
                        scope.spawn(move || {
                            for first in rows.clone().step_by(10) {
                                let (base, tuned) = pair.rows(first, 10.min(rows.end - first));
                                part.push(base, tuned).unwrap();
                            }
                        });
                    }
                });
                assert_eq!(covered, pair.shape.rows);
                extractor.end_pass().unwrap();
            }
            assert_eq!(extractor.parts().count(), 0, "no pass is wanted any more");
            let rank = plan.rank();
            let (mut a, mut b) = (vec![0.0; rank * 150], vec![0.0; 101 * rank]);
            let mut singular_values = vec![0.0; rank];
            let report = extractor.finish(&mut a, &mut b, &mut singular_values).unwrap();
            assert_same(&format!("{options:?}"), &sequential, &Factors { a, b, singular_values, report });
        }
    }
}
