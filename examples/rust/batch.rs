//! Applies adapters to a batch in which every token has its own: y += s·B·(A·x).

use phlora_core::{Adapter, Apply, Assignment, Dtype, Error, Inputs, Kernel, OutputsF32, Rows, Shape};

const SHAPE: Shape = Shape { rows: 96, cols: 128 };
const RANK: usize = 4;
const TOKENS: usize = 3;

fn values(seed: usize, len: usize) -> Vec<f32> {
    (0..len).map(|i| (((i + 1) * (seed + 3)) % 17) as f32 / 17.0 - 0.5).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn main() -> Result<(), Error> {
    let factors: Vec<_> = (0..2)
        .map(|seed| (bytes(&values(seed, RANK * SHAPE.cols)), bytes(&values(seed + 9, SHAPE.rows * RANK))))
        .collect();
    let mut adapters = Vec::new();
    for (a, b) in &factors {
        let adapter = Adapter::new(SHAPE, RANK, Rows::new(Dtype::F32, a), Rows::new(Dtype::F32, b), 0.5)?;
        adapter.check_finite(Kernel::detect())?;
        adapters.push(Some(adapter));
    }
    // Token 0 uses adapter 1, token 2 both, token 1 none.
    let mut assignments = [(2, 0, 1.0), (0, 1, 1.0), (2, 1, -0.5)]
        .map(|(token, adapter, weight)| Assignment { token, adapter, weight });
    Assignment::group(&mut assignments);
    let apply = Apply::routed(Kernel::detect(), SHAPE, TOKENS, &assignments, &adapters)?;
    let mut scratch = vec![0.0; apply.t_len() + apply.scratch_len()];
    let (x, mut y) = (values(5, TOKENS * SHAPE.cols), vec![0.0; TOKENS * SHAPE.rows]);
    let mut outputs = OutputsF32 { values: &mut y, stride: SHAPE.rows };
    apply.run(Inputs::f32(&x, SHAPE.cols), &mut outputs, &mut scratch)?;
    for (token, y) in y.chunks(SHAPE.rows).enumerate() {
        let norm = y.iter().map(|value| value * value).sum::<f32>().sqrt();
        println!("token {token}: ‖y‖ = {norm:.3}");
        assert_eq!(norm == 0.0, token == 1);
    }
    Ok(())
}
