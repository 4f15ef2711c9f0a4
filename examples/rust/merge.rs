//! Merges an adapter into a bf16 weight in place, and takes it back with the stash.

use phlora_core::{Adapter, Dtype, Error, Kernel, Merge, Rows, Shape, encode, toggle};

const SHAPE: Shape = Shape { rows: 64, cols: 96 };
const RANK: usize = 2;

fn stored(dtype: Dtype, seed: usize, len: usize) -> Result<Vec<u8>, Error> {
    let values: Vec<f32> = (0..len).map(|i| (((i + 1) * (seed + 3)) % 17) as f32 / 17.0 - 0.5).collect();
    let mut bytes = vec![0; dtype.row_bytes(len).ok_or(Error::NotWholeRows)?];
    encode(&values, dtype, &mut bytes)?;
    Ok(bytes)
}

fn main() -> Result<(), Error> {
    let (a, b) = (stored(Dtype::F16, 1, RANK * SHAPE.cols)?, stored(Dtype::F16, 2, SHAPE.rows * RANK)?);
    let adapter = Adapter::new(SHAPE, RANK, Rows::new(Dtype::F16, &a), Rows::new(Dtype::F16, &b), 1.0)?;
    let before = stored(Dtype::Bf16, 3, SHAPE.rows * SHAPE.cols)?;
    let mut weights = before.clone();
    let terms = [(adapter, 0.8)];
    let merge = Merge::new(Kernel::detect(), &terms)?;
    let (mut prepared, mut scratch) = (vec![0.0; merge.prepared_len()], vec![0.0; merge.scratch_len()]);
    merge.prepare(&mut prepared)?;
    let mut stash = vec![0; weights.len()];
    merge.rows(&prepared, 0, Dtype::Bf16, &mut weights, Some(&mut stash), &mut scratch)?;
    let changed = weights.iter().zip(&before).filter(|(now, then)| now != then).count();
    println!("merged: {changed} of {} bytes differ", weights.len());
    assert!(changed > 0);
    toggle(&mut weights, &stash);
    assert_eq!(weights, before);
    println!("taken back: the old bytes");
    Ok(())
}
