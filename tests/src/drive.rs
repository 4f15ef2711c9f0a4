//! Feeds an extractor from two buffers.

use nalgebra::DMatrix;
use phlora_core::{Dtype, Error, Kernel, Options, Plan, Report, Rows, Shape};

use crate::matrix::{f32_bytes, from_rows};

/// Both sides of a weight, in storage format.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Shape of both.
    pub shape: Shape,
    /// Formats of base and tuned.
    pub dtypes: [Dtype; 2],
    /// Base rows.
    pub base: Vec<u8>,
    /// Tuned rows.
    pub tuned: Vec<u8>,
}

/// The factors and what is said of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// lora_a, rank × cols.
    pub a: Vec<f32>,
    /// lora_b, rows × rank.
    pub b: Vec<f32>,
    /// Descending.
    pub singular_values: Vec<f32>,
    /// The report.
    pub report: Report,
}

impl Factors {
    /// B·A in f64.
    pub fn product(&self, shape: Shape) -> DMatrix<f64> {
        let rank = self.report.rank;
        from_rows(shape.rows, rank, &self.b) * from_rows(rank, shape.cols, &self.a)
    }
}

impl Pair {
    /// A zero base and `delta`, both in f32.
    pub fn of(delta: &DMatrix<f64>) -> Self {
        let tuned = f32_bytes(delta);
        let shape = Shape { rows: delta.nrows(), cols: delta.ncols() };
        Self { shape, dtypes: [Dtype::F32; 2], base: vec![0; tuned.len()], tuned }
    }

    /// Rows `first`…, `count` of them, of both sides.
    ///
    /// # Panics
    /// When there are fewer rows.
    pub fn rows(&self, first: usize, count: usize) -> (Rows<'_>, Rows<'_>) {
        let range = |dtype: Dtype| {
            let bytes = dtype.row_bytes(self.shape.cols).expect("whole blocks");
            first * bytes..(first + count) * bytes
        };
        let [base, tuned] = self.dtypes;
        (Rows::new(base, &self.base[range(base)]), Rows::new(tuned, &self.tuned[range(tuned)]))
    }

    /// Extracts with blocks whose sizes `block` gives, one after another.
    ///
    /// # Errors
    /// What the extractor says.
    pub fn extract_in_blocks(
        &self,
        options: &Options,
        kernel: Kernel,
        block: impl FnMut() -> usize,
    ) -> Result<Factors, Error> {
        self.run(options, kernel, None, block)
    }

    /// Extracts with scales of the columns.
    ///
    /// # Errors
    /// What the extractor says.
    pub fn extract_weighed(
        &self,
        options: &Options,
        channels: &[f32],
        block: impl FnMut() -> usize,
    ) -> Result<Factors, Error> {
        self.run(options, Kernel::detect(), Some(channels), block)
    }

    fn run(
        &self,
        options: &Options,
        kernel: Kernel,
        channels: Option<&[f32]>,
        mut block: impl FnMut() -> usize,
    ) -> Result<Factors, Error> {
        let plan = Plan::new(self.shape, options)?.with_kernel(kernel);
        let mut scratch = vec![f32::NAN; plan.scratch_len()];
        let mut extractor = match channels {
            Some(channels) => plan.start_weighed(channels, &mut scratch)?,
            None => plan.start(&mut scratch)?,
        };
        while extractor.wants_pass() {
            let mut first = 0;
            while first < self.shape.rows {
                let count = block().clamp(1, self.shape.rows - first);
                let (base, tuned) = self.rows(first, count);
                extractor.push(base, tuned)?;
                first += count;
            }
            extractor.end_pass()?;
        }
        let rank = extractor.rank();
        let mut a = vec![f32::NAN; rank * self.shape.cols];
        let mut b = vec![f32::NAN; self.shape.rows * rank];
        let mut singular_values = vec![f32::NAN; rank];
        let report = extractor.finish(&mut a, &mut b, &mut singular_values)?;
        Ok(Factors { a, b, singular_values, report })
    }

    /// Extracts with the fastest kernel, all rows in one block.
    ///
    /// # Errors
    /// What the extractor says.
    pub fn extract(&self, options: &Options) -> Result<Factors, Error> {
        self.extract_in_blocks(options, Kernel::detect(), || usize::MAX)
    }
}
