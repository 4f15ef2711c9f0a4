//! Forward against f64: every format, odd shapes, one token to 512, slices, strides, f32 and f16 activations.

use half::f16;
use nalgebra::DMatrix;
use phlora_core::{
    Adapter, Apply, Dtype, Error, Inputs, Kernel, OutputsF16, OutputsF32, Shape, Slice, apply_scratch,
};
use phlora_tests::{
    adapters::{FORMATS, Pair, exists},
    matrix::Normal,
    tolerance,
};

const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Activations with their stride, and the same in f64, a column per token.
struct Batch {
    values: Vec<f32>,
    stride: usize,
    matrix: DMatrix<f64>,
}

impl Batch {
    fn new(seed: u64, tokens: usize, width: usize, stride: usize, half: bool) -> Self {
        let mut normal = Normal::new(seed);
        let round = |x: f32| if half { f16::from_f32(x).to_f32() } else { x };
        let values: Vec<f32> = (0..tokens * stride).map(|_| round(normal.draw() as f32)).collect();
        let matrix = DMatrix::from_fn(width, tokens, |i, t| f64::from(values[t * stride + i]));
        Self { values, stride, matrix }
    }

    fn halves(&self) -> Vec<u8> {
        self.values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()
    }
}

/// Runs both steps in `slices` slices; every slice of the second gets all outputs, one after another.
fn run(apply: &Apply<'_>, slices: usize, x: Inputs<'_>, y: &mut [f32], stride: usize) {
    let mut t = vec![f32::NAN; apply.t_len()];
    let mut scratch = vec![f32::NAN; apply.scratch_len() + 1];
    let mut next = 0;
    for i in 0..slices {
        let slice = Slice::new(i, slices).unwrap();
        let range = apply.t_range(slice);
        assert_eq!(range.start, next, "slices follow each other");
        next = range.end;
        apply.down(slice, x, &mut t[range], &mut scratch[..apply.scratch_len()]).unwrap();
    }
    assert_eq!(next, t.len());
    let mut next = 0;
    for i in 0..slices {
        let slice = Slice::new(i, slices).unwrap();
        let rows = apply.rows(slice);
        assert_eq!(rows.start, next);
        next = rows.end;
        let mut outputs = OutputsF32 { values: y, stride };
        apply.up(slice, &t, &mut outputs, &mut scratch[..apply.scratch_len()]).unwrap();
    }
}

/// One adapter, every kernel, in one and in five slices, in f32 and f16.
fn check(pair: &Pair, tokens: usize) {
    let (shape, rank) = (pair.view().shape(), pair.view().rank());
    for half in [false, true] {
        let x = Batch::new(1, tokens, shape.cols, shape.cols + 3, half);
        let start = Batch::new(2, tokens, shape.rows, shape.rows + 5, half);
        let exact = &start.matrix + pair.product() * &x.matrix;
        let size = start.matrix.abs() + pair.magnitude() * x.matrix.abs();
        let terms = tolerance::PRODUCT_TERMS * (shape.cols + rank) as f64 + tolerance::APPLY_TERMS;
        let halves = x.halves();
        let inputs = if half { Inputs::f16(&halves, x.stride) } else { Inputs::f32(&x.values, x.stride) };
        for kernel in Kernel::available() {
            let apply = Apply::forward(kernel, pair.view(), tokens).unwrap();
            let (t, scratch) = apply_scratch(shape, rank, tokens);
            assert!(apply.t_len() <= t.count().unwrap() && apply.scratch_len() <= scratch.count().unwrap());
            let mut whole: Option<Vec<f32>> = None;
            for slices in [1, 5] {
                let mut y = start.values.clone();
                run(&apply, slices, inputs, &mut y, start.stride);
                for t in 0..tokens {
                    for i in 0..start.stride {
                        let got = y[t * start.stride + i];
                        if i >= shape.rows {
                            assert_eq!(
                                got,
                                start.values[t * start.stride + i],
                                "nothing is written between tokens"
                            );
                            continue;
                        }
                        let error = (f64::from(got) - exact[(i, t)]).abs();
                        let bound = terms * UNIT * size[(i, t)];
                        assert!(
                            error <= bound,
                            "{shape:?} r {rank} t {tokens} {}: {error:e} > {bound:e}",
                            kernel.name()
                        );
                    }
                }
                let first = whole.get_or_insert(y.clone());
                assert_eq!(*first, y, "slices give the same bits");
            }
            if half {
                let mut bytes = start.halves();
                let mut scratch = vec![f32::NAN; apply.t_len() + apply.scratch_len()];
                apply
                    .run(inputs, &mut OutputsF16 { bytes: &mut bytes, stride: start.stride }, &mut scratch)
                    .unwrap();
                let expected = whole.unwrap();
                for (i, (bytes, value)) in bytes.as_chunks::<2>().0.iter().zip(&expected).enumerate() {
                    assert_eq!(
                        f16::from_le_bytes(*bytes),
                        f16::from_f32(*value),
                        "element {i}: rounded once"
                    );
                }
            }
        }
    }
}

#[test]
fn every_format_and_rank() {
    for &a in FORMATS {
        for &b in FORMATS {
            for rank in [1, 3, 16, 17, 32, 64] {
                let shape = Shape { rows: 150, cols: 288 };
                if exists(b, rank) {
                    let pair = Pair::random(3, shape, rank, [a, b], 0.5);
                    for tokens in [1, 2, 8, 9] {
                        check(&pair, tokens);
                    }
                }
            }
        }
    }
}

#[test]
fn odd_shapes() {
    for (rows, cols) in
        [(1, 1), (3, 1), (1, 5), (7, 33), (64, 64), (65, 257), (129, 300), (0, 4), (4, 0), (1000, 7)]
    {
        for rank in [1, 3, 17, 40] {
            let pair = Pair::random(4, Shape { rows, cols }, rank, [Dtype::F16, Dtype::F32], -1.5);
            for tokens in [1, 3, 16, 17] {
                check(&pair, tokens);
            }
        }
    }
}

#[test]
fn one_token_to_512() {
    let pair = Pair::random(5, Shape { rows: 70, cols: 129 }, 17, [Dtype::Bf16, Dtype::F16], 2.0);
    for tokens in [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 511, 512] {
        check(&pair, tokens);
    }
}

#[test]
fn a_few_tokens_have_the_bits_that_each_has_alone() {
    let formats = [
        (Dtype::F16, 8),
        (Dtype::Bf16, 16),
        (Dtype::F32, 17),
        #[cfg(feature = "blocks")]
        (Dtype::Q8_0, 32),
        (Dtype::F16, 70),
        (Dtype::Bf16, 3),
    ];
    let layers = formats.into_iter().flat_map(|format| [5, 12, 16, 96].map(|cols| (format, cols)));
    for ((dtype, rank), cols) in layers.filter(|((dtype, _), cols)| exists(*dtype, *cols)) {
        let pair = Pair::random(8, Shape { rows: 90, cols }, rank, [dtype, dtype], 1.0);
        for (kernel, tokens) in Kernel::available().flat_map(|kernel| [(kernel, 2), (kernel, 3)]) {
            let x = Batch::new(9, tokens, cols, cols, false).values;
            let mut y = vec![0.0; tokens * 90];
            run(&Apply::forward(kernel, pair.view(), tokens).unwrap(), 1, Inputs::f32(&x, cols), &mut y, 90);
            for (x, y) in x.chunks_exact(cols).zip(y.chunks_exact(90)) {
                let mut alone = vec![0.0; 90];
                run(
                    &Apply::forward(kernel, pair.view(), 1).unwrap(),
                    1,
                    Inputs::f32(x, cols),
                    &mut alone,
                    90,
                );
                assert_eq!(alone, y, "{} {dtype:?} {rank} {cols}", kernel.name());
            }
        }
    }
}

#[test]
fn slices_without_a_barrier_compute_all_of_t() {
    let pair = Pair::random(6, Shape { rows: 300, cols: 90 }, 5, [Dtype::F16, Dtype::F16], 1.0);
    let apply = Apply::forward(Kernel::detect(), pair.view(), 1).unwrap();
    let x: Vec<f32> = (0..90).map(|i| i as f32 / 90.0).collect();
    let mut expected = vec![0.0; 300];
    run(&apply, 1, Inputs::f32(&x, 90), &mut expected, 300);
    let mut y = vec![0.0; 300];
    for i in 0..4 {
        let (mut t, mut scratch) = (vec![0.0; apply.t_len()], vec![0.0; apply.scratch_len()]);
        apply.down(Slice::WHOLE, Inputs::f32(&x, 90), &mut t, &mut scratch).unwrap();
        let mut outputs = OutputsF32 { values: &mut y, stride: 300 };
        apply.up(Slice::new(i, 4).unwrap(), &t, &mut outputs, &mut scratch).unwrap();
    }
    assert_eq!(y, expected);
}

#[test]
fn refusals_write_nothing() {
    let pair = Pair::random(7, Shape { rows: 6, cols: 8 }, 2, [Dtype::F32, Dtype::F32], 1.0);
    let view: Adapter<'_> = pair.view();
    let kernel = Kernel::detect();
    assert_eq!(Apply::forward(kernel, view, 0).err(), Some(Error::Empty));
    assert_eq!(Apply::forward(kernel, view, usize::MAX / 2).err(), Some(Error::TooLarge));
    assert_eq!(Slice::new(2, 2), Err(Error::SliceBounds));
    assert_eq!(Slice::new(0, 0), Err(Error::SliceBounds));
    let apply = Apply::forward(kernel, view, 3).unwrap();
    let len = apply.t_len() + apply.scratch_len();
    let run = |x: Inputs<'_>, y_len: usize, stride: usize, scratch: usize| {
        let (mut y, mut scratch) = (vec![7.0; y_len], vec![7.0; scratch]);
        let result = apply.run(x, &mut OutputsF32 { values: &mut y, stride }, &mut scratch);
        if result.is_err() {
            assert!(y.iter().all(|&y| y == 7.0));
        }
        result
    };
    let x = [1.0; 24];
    assert_eq!(run(Inputs::f32(&x, 8), 18, 6, len), Ok(()));
    assert_eq!(run(Inputs::f32(&x, 8), 18, 6, len - 1), Err(Error::ScratchTooSmall { needed: len }));
    assert_eq!(run(Inputs::f32(&x[1..], 8), 18, 6, len), Err(Error::VectorLength));
    assert_eq!(run(Inputs::f32(&x, 7), 18, 6, len), Err(Error::VectorLength), "tokens overlap");
    assert_eq!(run(Inputs::f32(&x, 8), 17, 6, len), Err(Error::VectorLength));
    assert_eq!(run(Inputs::f32(&x, 8), 18, 5, len), Err(Error::VectorLength), "tokens overlap");
    assert_eq!(run(Inputs::f16(&[0; 47], 8), 18, 6, len), Err(Error::VectorLength));
    assert_eq!(run(Inputs::f16(&[0; 48], 8), 18, 6, len), Ok(()));
    assert!(run(Inputs::f32(&x, usize::MAX), 18, 6, len).is_err());
    let mut t = [0.0; 5];
    let refused = apply.down(Slice::WHOLE, Inputs::f32(&x, 8), &mut t, &mut vec![0.0; len]);
    assert_eq!(refused, Err(Error::OutputLength { expected: apply.t_len() }));
}
