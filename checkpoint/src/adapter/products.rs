//! Adapters whose change is a product of other kinds than B·A, as the exact B·A that it is.
//!
//! LoHa: (w1a·w1b) ⊙ (w2a·w2b), whose columns of B are the entrywise products of a column of w1a and one of w2a, and rows of A
//! those of w1b and w2b. LoKr: w1 ⊗ w2, whose factors are the Kronecker products of those of w1 and w2. Ranks multiply.

use super::{Factor, LoraModule};
use crate::adapter::stored::matrix;
use crate::error::{Error, Result, filled, room_for};
use crate::source::tensor::Tensor;
use phlora_core::Dtype;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What follows a module's name, and what of it that is.
const FACTORS: [&str; 12] = [
    "hada_w1_a",
    "hada_w1_b",
    "hada_w2_a",
    "hada_w2_b",
    "hada_t1",
    "hada_t2",
    "lokr_w1",
    "lokr_w1_a",
    "lokr_w1_b",
    "lokr_w2",
    "lokr_w2_a",
    "lokr_w2_b",
];

/// Most entries of a pair of factors: what a mistaken file would ask for.
const MOST: usize = 1 << 31;

/// The tensors of one module, by the factor that they are.
#[derive(Debug, Default)]
pub(crate) struct Product<'a>(BTreeMap<&'static str, Tensor<'a>>);

/// A matrix in memory.
#[derive(Debug, Clone)]
struct Matrix {
    values: Vec<f32>,
    rows: usize,
    cols: usize,
}

/// The module's path and the factor that a tensor is.
pub(crate) fn split(name: &str) -> Option<(&str, &'static str)> {
    let (module, factor) = name.rsplit_once('.')?;
    FACTORS.iter().find(|known| **known == factor).map(|known| (module, *known))
}

impl<'a> Product<'a> {
    /// Takes a tensor; another of the same factor is an error.
    pub(crate) fn take(&mut self, factor: &'static str, tensor: Tensor<'a>) -> Result<()> {
        match self.0.insert(factor, tensor) {
            None => Ok(()),
            Some(first) => {
                Err(tensor.error(format!("the same factor of the module as {}", first.stored_name())))
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rank by which alpha is divided: rows of a second factor; `None` where nothing was factored.
    pub(crate) fn inner_rank(&self) -> Option<usize> {
        let rows = |factor: &str| Some(*self.0.get(factor)?.shape().first()?);
        rows("hada_w1_b").or_else(|| rows("lokr_w1_b")).or_else(|| rows("lokr_w2_b"))
    }

    /// The module `name` at `scale`.
    ///
    /// # Errors
    /// When a factor is missing, shapes do not go together, or the core of a Tucker decomposition is among them.
    pub(crate) fn module(&self, name: impl Into<Cow<'a, str>>, scale: f64) -> Result<LoraModule<'a>> {
        let name = name.into();
        let any = self.0.values().next().ok_or_else(|| Error::usage(format!("{name} has no factors")))?;
        if let Some(core) = self.0.get("hada_t1").or(self.0.get("hada_t2")) {
            return Err(core.error("the core of a Tucker decomposition, which is not read"));
        }
        let (b, a, kernel) = if self.0.contains_key("hada_w1_a") {
            let (b, a) = self.hadamard()?;
            (b, a, Vec::new())
        } else {
            self.kronecker()?
        };
        let (rows, cols, rank) = (b.rows, a.cols, b.cols);
        if rank == 0 || rank != a.rows {
            return Err(any.error(format!("its factors have {rank} columns and {} rows", a.rows)));
        }
        // As a matrix it has no more directions than its narrower side.
        let (b, a) = if rank > rows.min(cols) { whole(&b, &a)? } else { (b, a) };
        let module = LoraModule { scale, kernel, ..LoraModule::new(name, factor(&a)?, factor(&b)?) };
        module.check()?;
        Ok(module)
    }

    fn factor(&self, factor: &str) -> Result<Matrix> {
        let tensor = self.0.get(factor).ok_or_else(|| {
            let other = self.0.values().next();
            let problem = format!("its {factor} is missing");
            other.map_or_else(|| Error::usage(problem.clone()), |other| other.error(problem.clone()))
        })?;
        let found = matrix(*tensor)?;
        let [rows, cols] = found.shape();
        Ok(Matrix { values: found.decoded()?, rows, cols })
    }

    fn hadamard(&self) -> Result<(Matrix, Matrix)> {
        let [b1, a1, b2, a2] = [
            self.factor("hada_w1_a")?,
            self.factor("hada_w1_b")?,
            self.factor("hada_w2_a")?,
            self.factor("hada_w2_b")?,
        ];
        if b1.rows != b2.rows || a1.cols != a2.cols || b1.cols != a1.rows || b2.cols != a2.rows {
            let other =
                self.0.get("hada_w2_a").map_or_else(String::new, |tensor| tensor.stored_name().to_owned());
            return Err(Error::usage(format!("{other}: the shapes of its two products do not go together")));
        }
        let rank = b1.cols.saturating_mul(b2.cols);
        let mut b = Matrix::zeros(b1.rows, rank)?;
        for (row, to) in b.values.chunks_exact_mut(rank.max(1)).enumerate() {
            let (first, second) = (b1.row(row), b2.row(row));
            let pairs = first.iter().flat_map(|x| second.iter().map(move |y| x * y));
            to.iter_mut().zip(pairs).for_each(|(to, value)| *to = value);
        }
        let mut a = Matrix::zeros(rank, a1.cols)?;
        for (at, to) in a.values.chunks_exact_mut(a1.cols.max(1)).enumerate() {
            let (first, second) = (a1.row(at / a2.rows.max(1)), a2.row(at % a2.rows.max(1)));
            to.iter_mut().zip(first.iter().zip(second)).for_each(|(to, (x, y))| *to = x * y);
        }
        Ok((b, a))
    }

    fn kronecker(&self) -> Result<(Matrix, Matrix, Vec<usize>)> {
        let side = |whole: &str, left: &str, right: &str| {
            if self.0.contains_key(whole) {
                return Ok(self.factor(whole)?.trivial());
            }
            Ok((self.factor(left)?, self.factor(right)?))
        };
        let (b1, a1) = side("lokr_w1", "lokr_w1_a", "lokr_w1_b")?;
        let (b2, a2) = side("lokr_w2", "lokr_w2_a", "lokr_w2_b")?;
        // The kernel's axes of a convolution stand in the second factor, where that is whole.
        let kernel = self.0.get("lokr_w2").map_or(&[][..], |tensor| tensor.shape().get(2..).unwrap_or(&[]));
        Ok((kron(&b1, &b2)?, kron(&a1, &a2)?, kernel.to_vec()))
    }
}

impl Matrix {
    fn zeros(rows: usize, cols: usize) -> Result<Self> {
        let entries = rows.checked_mul(cols).filter(|entries| *entries <= MOST);
        let entries =
            entries.ok_or_else(|| Error::usage(format!("factors of {rows} × {cols} are too large")))?;
        Ok(Self { values: filled(0.0, entries)?, rows, cols })
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.cols..][..self.cols]
    }

    /// Itself and the unit matrix of its narrower side.
    fn trivial(self) -> (Self, Self) {
        let size = self.rows.min(self.cols);
        let mut unit = Self { values: vec![0.0; size * size], rows: size, cols: size };
        unit.values.iter_mut().step_by(size + 1).for_each(|value| *value = 1.0);
        if self.cols <= self.rows { (self, unit) } else { (unit, self) }
    }
}

/// The Kronecker product.
fn kron(first: &Matrix, second: &Matrix) -> Result<Matrix> {
    let (rows, cols) = (first.rows.saturating_mul(second.rows), first.cols.saturating_mul(second.cols));
    let mut product = Matrix::zeros(rows, cols)?;
    for (row, to) in product.values.chunks_exact_mut(cols.max(1)).enumerate() {
        let (left, right) = (first.row(row / second.rows), second.row(row % second.rows));
        let pairs = left.iter().flat_map(|x| right.iter().map(move |y| x * y));
        to.iter_mut().zip(pairs).for_each(|(to, value)| *to = value);
    }
    Ok(product)
}

/// B·A as a matrix times a unit one.
fn whole(b: &Matrix, a: &Matrix) -> Result<(Matrix, Matrix)> {
    let mut product = Matrix::zeros(b.rows, a.cols)?;
    for (row, to) in product.values.chunks_exact_mut(a.cols.max(1)).enumerate() {
        let mut sums = room_for(a.cols)?;
        sums.resize(a.cols, 0.0_f64);
        for (at, factor) in b.row(row).iter().enumerate() {
            sums.iter_mut()
                .zip(a.row(at))
                .for_each(|(sum, value)| *sum += f64::from(*factor) * f64::from(*value));
        }
        to.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum as f32);
    }
    Ok(product.trivial())
}

fn factor(matrix: &Matrix) -> Result<Factor<'static>> {
    let bytes: Vec<u8> = matrix.values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Factor::new(Dtype::F32, [matrix.rows, matrix.cols], bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::model::Model;
    use safetensors::tensor::{Dtype as Stored, TensorView};

    /// Numbers that tell one place from another.
    fn entry(seed: usize, at: usize) -> f32 {
        ((at * 7 + seed * 5) % 11) as f32 - 4.5
    }

    fn values(seed: usize, shape: [usize; 2]) -> Vec<f64> {
        (0..shape[0] * shape[1]).map(|at| f64::from(entry(seed, at))).collect()
    }

    fn times(left: &[f64], right: &[f64], [rows, inner, cols]: [usize; 3]) -> Vec<f64> {
        let of = |i: usize, j: usize| (0..inner).map(|k| left[i * inner + k] * right[k * cols + j]).sum();
        (0..rows * cols).map(|at| of(at / cols, at % cols)).collect()
    }

    /// B·A of the module that factors of these shapes make, its rank and its shape.
    fn product(factors: &[(&'static str, [usize; 2])]) -> Result<(Vec<f64>, usize, [usize; 2])> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("m.safetensors");
        let bytes: Vec<Vec<u8>> = (0..)
            .zip(factors)
            .map(|(seed, (_, [rows, cols]))| {
                (0..rows * cols).flat_map(|at| entry(seed, at).to_le_bytes()).collect()
            })
            .collect();
        let views = factors.iter().zip(&bytes);
        let views = views.map(|((name, shape), bytes)| {
            (*name, TensorView::new(Stored::F32, shape.to_vec(), bytes).unwrap())
        });
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let model = Model::open(&path).unwrap();
        let mut product = Product::default();
        for (name, _) in factors {
            product.take(name, model.tensor(name).unwrap()).unwrap();
        }
        let module = product.module("m", 1.0)?;
        let ([rows, cols], rank) = (module.shape(), module.rank());
        let wide =
            |factor: &Factor<'_>| factor.decoded().unwrap().iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        Ok((times(&wide(&module.b), &wide(&module.a), [rows, rank, cols]), rank, [rows, cols]))
    }

    #[test]
    fn hadamard_products_are_entrywise() {
        // Ranks that multiply to one below the narrower side, and to one above it.
        for ([rows, cols], [one, two], rank) in
            [([9, 8], [2, 3], 6), ([8, 9], [3, 2], 6), ([4, 5], [2, 3], 4), ([5, 4], [3, 3], 4)]
        {
            let shapes = [[rows, one], [one, cols], [rows, two], [two, cols]];
            let names = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"];
            let factors: Vec<_> = names.into_iter().zip(shapes).collect();
            let [w1a, w1b, w2a, w2b] = [0, 1, 2, 3].map(|at| values(at, shapes[at]));
            let (left, right) = (times(&w1a, &w1b, [rows, one, cols]), times(&w2a, &w2b, [rows, two, cols]));
            let expected: Vec<_> = left.iter().zip(right).map(|(x, y)| x * y).collect();
            assert_eq!(product(&factors).unwrap(), (expected, rank, [rows, cols]), "{factors:?}");
        }
    }

    #[test]
    fn kronecker_products_hold_the_second_factor_in_every_entry_of_the_first() {
        let expected = |first: &[f64], [r1, c1]: [usize; 2], second: &[f64], [r2, c2]: [usize; 2]| {
            let of = |i: usize, j: usize| first[i / r2 * c1 + j / c2] * second[i % r2 * c2 + j % c2];
            (0..r1 * r2 * c1 * c2).map(|at| of(at / (c1 * c2), at % (c1 * c2))).collect::<Vec<_>>()
        };
        for first in [[2, 3], [3, 2]] {
            for second in [[4, 3], [3, 5]] {
                let shape = [first[0] * second[0], first[1] * second[1]];
                let whole = [("lokr_w1", first), ("lokr_w2", second)];
                let delta = expected(&values(0, first), first, &values(1, second), second);
                let (found, rank, of) = product(&whole).unwrap();
                assert_eq!((found, of), (delta, shape));
                assert_eq!(rank, first[0].min(first[1]) * second[0].min(second[1]));

                let (a, b) = ([second[0], 2], [2, second[1]]);
                let factored = [("lokr_w1", first), ("lokr_w2_a", a), ("lokr_w2_b", b)];
                let inner = times(&values(1, a), &values(2, b), [a[0], 2, b[1]]);
                let delta = expected(&values(0, first), first, &inner, second);
                let (found, rank, of) = product(&factored).unwrap();
                assert_eq!((found, of, rank), (delta, shape, 4));
            }
        }
        let (a, b) = ([3, 1], [1, 4]);
        let factored = [("lokr_w1_a", a), ("lokr_w1_b", b), ("lokr_w2", [2, 2])];
        let inner = times(&values(0, a), &values(1, b), [3, 1, 4]);
        let delta = expected(&inner, [3, 4], &values(2, [2, 2]), [2, 2]);
        assert_eq!(product(&factored).unwrap(), (delta, 2, [6, 8]));
    }

    #[test]
    fn factors_that_do_not_go_together_are_refused() {
        let hadamard = |shapes: [[usize; 2]; 4]| {
            let names = ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"];
            product(&names.into_iter().zip(shapes).collect::<Vec<_>>())
        };
        assert!(hadamard([[9, 2], [2, 8], [9, 3], [3, 8]]).is_ok());
        for wrong in [
            [[8, 2], [2, 8], [9, 3], [3, 8]],
            [[9, 2], [2, 7], [9, 3], [3, 8]],
            [[9, 2], [3, 8], [9, 3], [3, 8]],
            [[9, 2], [2, 8], [9, 3], [2, 8]],
        ] {
            let message = hadamard(wrong).unwrap_err().to_string();
            assert!(message.contains("do not go together"), "{message}");
        }
        assert!(
            product(&[("hada_w1_a", [3, 2]), ("hada_w1_b", [2, 3])])
                .unwrap_err()
                .to_string()
                .contains("missing")
        );
        let uneven = [("lokr_w1", [2, 2]), ("lokr_w2_a", [3, 1]), ("lokr_w2_b", [2, 3])];
        assert!(product(&uneven).unwrap_err().to_string().contains("columns and"));
        assert!(product(&[("hada_t1", [1, 1])]).unwrap_err().to_string().contains("Tucker"));
    }
}
