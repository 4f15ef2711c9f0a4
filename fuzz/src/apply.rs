//! Adapters at work: any formats and routes, against f64; slices give the same bits.

use crate::draw::Draw;
use nalgebra::DMatrix;
use phlora_core::{Adapter, Apply, Assignment, Dtype, Error, Inputs, Kernel, OutputsF32, Shape, Slice};
use phlora_tests::adapters::{FORMATS, Pair, exists};
use phlora_tests::tolerance;

const UNIT: f64 = f32::EPSILON as f64 / 2.0;

/// Factors with entries near `10^size`, in formats that have rows of their length.
pub fn pair(shape: Shape, rank: usize, draw: &mut Draw<'_>) -> Pair {
    let mut normal = draw.normal();
    let size = 10_f64.powi(draw.below(9) as i32 - 4);
    let format = |draw: &mut Draw<'_>, cols: usize| {
        let format = draw.pick(&FORMATS);
        if exists(format, cols) { format } else { Dtype::F16 }
    };
    let formats = [format(draw, shape.cols), format(draw, rank)];
    let (a, b) = (normal.matrix(rank, shape.cols) * size, normal.matrix(shape.rows, rank));
    Pair::new(&a, &b, formats, draw.pick(&[1.0, 0.5, -2.0, 0.0, 1e-3]))
}

/// A shape, often one of whole blocks.
pub fn shape(draw: &mut Draw<'_>) -> Shape {
    let mut axis = || if draw.rarely(4) { 32 * (1 + draw.below(4)) } else { 1 + draw.below(40) };
    Shape { rows: axis(), cols: axis() }
}

/// One routed batch.
///
/// # Panics
/// When a result is not as it should be.
pub fn run(data: &[u8]) {
    let mut draw = Draw::new(data);
    let (shape, tokens) = (shape(&mut draw), 1 + draw.below(12));
    let pairs: Vec<Option<Pair>> = (0..1 + draw.below(4))
        .map(|_| {
            let rank = draw.pick(&[1, 2, 3, 5, 8, 16, 17, 32]);
            (!draw.rarely(8)).then(|| pair(shape, rank, &mut draw))
        })
        .collect();
    let adapters: Vec<Option<Adapter<'_>>> = pairs.iter().map(|pair| pair.as_ref().map(Pair::view)).collect();
    let mut assignments: Vec<Assignment> = (0..draw.below(2 * tokens + 1))
        .map(|_| {
            // Now and then one beyond the end.
            let beyond = usize::from(draw.rarely(64));
            let weight = if draw.rarely(64) { draw.float() } else { draw.pick(&[1.0, 0.25, -1.0, 0.0, 3.0]) };
            Assignment { token: draw.below(tokens + beyond) as u32, adapter: draw.below(pairs.len() + beyond) as u32, weight }
        })
        .collect();
    if !draw.rarely(32) {
        Assignment::group(&mut assignments);
    }
    let mut normal = draw.normal();
    let stride = shape.cols + draw.below(3);
    let x: Vec<f32> = (0..tokens * stride).map(|_| normal.draw() as f32).collect();
    let start: Vec<f32> = (0..tokens * shape.rows).map(|_| normal.draw() as f32).collect();
    let sound = |of: &Assignment| (of.token as usize) < tokens && (of.adapter as usize) < pairs.len() && of.weight.is_finite();
    let grouped = assignments.is_sorted_by_key(|of| of.adapter);
    let mut whole: Option<Vec<u32>> = None;
    let kernels: Vec<_> = Kernel::available().collect();
    let kernel = draw.pick(&kernels);
    for slices in [1, 1 + draw.below(5)] {
        let apply = match Apply::routed(kernel, shape, tokens, &assignments, &adapters) {
            Ok(apply) => apply,
            Err(error) => {
                let extreme = assignments.iter().any(|of| of.weight.abs() > 1e30);
                assert!(!assignments.iter().all(sound) || !grouped || extreme, "{error:?} for {assignments:?}");
                assert_ne!(error, Error::Empty);
                return;
            }
        };
        let (mut y, mut t) = (start.clone(), vec![f32::NAN; apply.t_len()]);
        let mut scratch = vec![f32::NAN; apply.scratch_len()];
        for i in 0..slices {
            let slice = Slice::new(i, slices).expect("within");
            let part = &mut t[apply.t_range(slice)];
            apply.down(slice, Inputs::f32(&x, stride), part, &mut scratch).expect("lengths fit");
        }
        for i in 0..slices {
            let mut outputs = OutputsF32 { values: &mut y, stride: shape.rows };
            apply.up(Slice::new(i, slices).expect("within"), &t, &mut outputs, &mut scratch).expect("lengths fit");
        }
        near(&pairs, &assignments, (&x, stride), &start, &y, shape);
        let bits: Vec<u32> = y.iter().map(|value| value.to_bits()).collect();
        assert_eq!(*whole.get_or_insert(bits.clone()), bits, "slices give the same bits");
    }
}

fn near(pairs: &[Option<Pair>], assignments: &[Assignment], (x, stride): (&[f32], usize), start: &[f32], y: &[f32], shape: Shape) {
    if assignments.iter().any(|of| of.weight.abs() > 1e10 || of.weight != 0.0 && of.weight.abs() < 1e-10) {
        return;
    }
    for (token, start) in start.chunks_exact(shape.rows).enumerate() {
        let x = DMatrix::from_fn(shape.cols, 1, |i, _| f64::from(x[token * stride + i]));
        let mut exact = DMatrix::from_fn(shape.rows, 1, |i, _| f64::from(start[i]));
        let (mut size, mut terms) = (exact.abs(), 0.0);
        for of in assignments.iter().filter(|of| of.token as usize == token) {
            let Some(pair) = &pairs[of.adapter as usize] else { continue };
            exact += pair.product() * &x * f64::from(of.weight);
            size += pair.magnitude() * x.abs() * f64::from(of.weight.abs());
            let depth = (shape.cols + pair.a.matrix.nrows()) as f64;
            terms += tolerance::PRODUCT_TERMS * depth + tolerance::APPLY_TERMS;
        }
        for i in 0..shape.rows {
            let (got, bound) = (f64::from(y[token * shape.rows + i]), terms * UNIT * size[i] + 1e-37);
            assert!((got - exact[i]).abs() <= bound, "token {token} row {i}: {got}, not {}", exact[i]);
        }
    }
}
