//! Adapters in every storage format, and what they are in f64.

use nalgebra::DMatrix;
use phlora_core::{Adapter, Dtype, Rows, Shape, decode, encode};

use crate::matrix::{Normal, from_rows};

/// Every format that a factor may have.
pub const FORMATS: &[Dtype] = &[
    Dtype::F32,
    Dtype::F16,
    Dtype::Bf16,
    #[cfg(feature = "blocks")]
    Dtype::Q8_0,
];

/// Values in a storage format, and what the format made of them.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The format.
    pub dtype: Dtype,
    /// The encoded rows.
    pub bytes: Vec<u8>,
    /// What they decode to.
    pub matrix: DMatrix<f64>,
}

impl Stored {
    /// Encodes a matrix row by row.
    ///
    /// # Panics
    /// When such rows do not exist in the format.
    pub fn new(matrix: &DMatrix<f64>, dtype: Dtype) -> Self {
        let (rows, cols) = matrix.shape();
        let values: Vec<f32> = matrix.transpose().iter().map(|&x| x as f32).collect();
        let row_bytes = dtype.row_bytes(cols).expect("whole blocks");
        let mut bytes = vec![0; rows * row_bytes];
        let mut back = vec![0.0; rows * cols];
        store(&values, dtype, &mut bytes);
        decode(Rows::new(dtype, &bytes), &mut back).expect("the length fits");
        Self { dtype, bytes, matrix: from_rows(rows, cols, &back) }
    }

    /// The rows.
    pub fn rows(&self) -> Rows<'_> {
        Rows::new(self.dtype, &self.bytes)
    }
}

/// Whether rows of that length exist in a format.
pub fn exists(dtype: Dtype, cols: usize) -> bool {
    dtype.row_bytes(cols).is_some()
}

fn store(values: &[f32], dtype: Dtype, bytes: &mut [u8]) {
    if dtype.name() != "Q8_0" {
        return encode(values, dtype, bytes).expect("the length fits");
    }
    // Any blocks will do: what they decode to is the reference.
    for (values, block) in values.as_chunks::<32>().0.iter().zip(bytes.as_chunks_mut::<34>().0) {
        let largest = values.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        let scale = half::f16::from_f32(largest / 127.0);
        block[..2].copy_from_slice(&scale.to_le_bytes());
        for (byte, x) in block[2..].iter_mut().zip(values) {
            *byte = ((x / scale.to_f32().max(1e-6)).round().clamp(-128.0, 127.0) as i8).cast_unsigned();
        }
    }
}

/// Both factors of an adapter.
#[derive(Debug, Clone)]
pub struct Pair {
    /// rank × cols.
    pub a: Stored,
    /// rows × rank.
    pub b: Stored,
    /// What multiplies B·A.
    pub scale: f32,
}

impl Pair {
    /// Stores the factors; `formats` are those of A and B.
    pub fn new(a: &DMatrix<f64>, b: &DMatrix<f64>, formats: [Dtype; 2], scale: f32) -> Self {
        Self { a: Stored::new(a, formats[0]), b: Stored::new(b, formats[1]), scale }
    }

    /// Random factors whose product has entries near 1.
    pub fn random(seed: u64, shape: Shape, rank: usize, formats: [Dtype; 2], scale: f32) -> Self {
        let mut normal = Normal::new(seed);
        let a = normal.matrix(rank, shape.cols);
        let b = normal.matrix(shape.rows, rank) / (rank as f64).sqrt();
        Self::new(&a, &b, formats, scale)
    }

    /// The view.
    ///
    /// # Panics
    /// When core refuses it.
    pub fn view(&self) -> Adapter<'_> {
        let shape = Shape { rows: self.b.matrix.nrows(), cols: self.a.matrix.ncols() };
        let rank = self.a.matrix.nrows();
        Adapter::new(shape, rank, self.a.rows(), self.b.rows(), self.scale).expect("a good adapter")
    }

    /// scale · B·A.
    pub fn product(&self) -> DMatrix<f64> {
        &self.b.matrix * &self.a.matrix * f64::from(self.scale)
    }

    /// scale · |B|·|A|: what rounding errors are measured against.
    pub fn magnitude(&self) -> DMatrix<f64> {
        self.b.matrix.abs() * self.a.matrix.abs() * f64::from(self.scale.abs())
    }
}
