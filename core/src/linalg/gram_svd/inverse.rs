//! Eigenvectors of a symmetric tridiagonal matrix by inverse iteration, after LAPACK STEIN.

use super::tridiagonal::Tridiagonal;
use crate::{Kernel, linalg::random::uniform};

/// Solutions per vector: at least, and at most.
const SOLUTIONS: (u32, u32) = (2, 8);

/// A residual of so many units of rounding is as small as it gets.
const ROUNDINGS: f32 = 8.0;

/// A vector of which less than this is left beside those that it is made orthogonal to is solved for once more: what is left
/// holds their errors.
const LOST: f32 = 0.1;

/// One round of Gram–Schmidt that leaves more has left nothing of the others.
const CLEAR: f32 = 0.7;

/// Solutions beyond this are scaled: their squares would leave the range of f32.
const LARGE: f32 = 1e12;

/// Marks a multiplier, which is at most 1, whose rows were exchanged.
const EXCHANGED: f32 = 4.0;

/// T − λ·I, factored with row exchanges.
#[derive(Debug)]
pub struct Iteration<'w> {
    /// Multipliers; [`EXCHANGED`] is added behind an exchange.
    lower: &'w mut [f32],
    /// One over the pivots.
    inverse: &'w mut [f32],
    /// The two diagonals above them.
    upper: [&'w mut [f32]; 2],
}

impl<'w> Iteration<'w> {
    /// With rows to work with.
    pub fn new([lower, inverse, second, third]: [&'w mut [f32]; 4]) -> Self {
        Self { lower, inverse, upper: [second, third] }
    }

    /// Finds the vector of the eigenvalue `value` of `matrix`, of which `largest` is the largest one. It comes to be
    /// orthogonal to the `earlier` ones, by columns: to those of the `far` first of them by itself.
    pub fn find(
        &mut self,
        kernel: Kernel,
        matrix: &Tridiagonal<'_>,
        (value, largest): (f32, f32),
        (earlier, far): (&[f32], usize),
        column: &mut [f32],
    ) {
        let near = &earlier[far * column.len()..];
        let smallest = f32::EPSILON * value.abs().max(f32::EPSILON * largest);
        self.factor(matrix, value, smallest);
        let rounding = ROUNDINGS * f32::EPSILON * largest;
        let (mut residual, mut losses) = (f32::INFINITY, 0_u16);
        column.iter_mut().enumerate().for_each(|(i, x)| *x = uniform((earlier.len() + i) as u64));
        for solution in 1..=SOLUTIONS.1 {
            if solution > 1 {
                self.solve_lower(column);
            }
            self.solve_upper(column);
            let length = normalize(kernel, column);
            let left = orthogonalize(kernel, near, column);
            if left < CLEAR {
                // Twice is enough.
                orthogonalize(kernel, near, column);
            }
            if left < LOST {
                // Mostly rounding. It is as good a start as another, once it holds nothing of any other vector.
                losses += 1;
                if losses > 1 && value.abs() <= rounding {
                    // Of many eigenvalues that are rounding, the vector that is found already outgrows all others, and what
                    // is left beside it may have no place for one. Beside them by some roundings none outgrows the others.
                    self.factor(matrix, value - f32::from(losses) * rounding, smallest);
                    let start = u64::from(losses) << 32;
                    column.iter_mut().zip(start..).for_each(|(x, i)| *x = uniform(i));
                    orthogonalize(kernel, earlier, column);
                }
                orthogonalize(kernel, earlier, column);
                continue;
            }
            let now = 1.0 / (length * left);
            if solution >= SOLUTIONS.0 && (now <= ROUNDINGS * smallest || now > 0.5 * residual) {
                break;
            }
            residual = now;
        }
    }

    /// Pivots below `smallest` become as large.
    fn factor(&mut self, matrix: &Tridiagonal<'_>, value: f32, smallest: f32) {
        let Self { lower, inverse, upper: [second, third] } = self;
        let beside = |k: usize| matrix.beside.get(k).copied().unwrap_or(0.0);
        // What is left of the row in work, from its diagonal on.
        let mut row = (matrix.diagonal[0] - value, beside(1));
        for i in 0..matrix.diagonal.len() {
            let own = matrix.diagonal.get(i + 1).map_or(0.0, |d| d - value);
            let (below, right) = (beside(i + 1), beside(i + 2));
            if below.abs() > row.0.abs().max(smallest) {
                let factor = row.0 / below;
                (lower[i], inverse[i]) = (factor + EXCHANGED, 1.0 / below);
                (second[i], third[i]) = (own, right);
                row = (row.1 - factor * own, -factor * right);
            } else {
                let pivot = libm::copysignf(row.0.abs().max(smallest), row.0);
                let factor = below / pivot;
                (lower[i], inverse[i]) = (factor, 1.0 / pivot);
                (second[i], third[i]) = (row.1, 0.0);
                row = (own - factor * row.1, right);
            }
        }
    }

    fn solve_lower(&self, x: &mut [f32]) {
        for (i, &factor) in self.lower[..x.len() - 1].iter().enumerate() {
            if factor > 0.5 * EXCHANGED {
                x.swap(i, i + 1);
                x[i + 1] -= (factor - EXCHANGED) * x[i];
            } else {
                x[i + 1] -= factor * x[i];
            }
        }
    }

    fn solve_upper(&self, x: &mut [f32]) {
        let [second, third] = &self.upper;
        let (mut one, mut two) = (0.0, 0.0);
        for i in (0..x.len()).rev() {
            let value = (x[i] - second[i] * one - third[i] * two) * self.inverse[i];
            x[i] = value;
            (one, two) = (value, one);
            if value.abs() > LARGE {
                // Only the direction counts.
                for x in &mut *x {
                    *x /= LARGE;
                }
                (one, two) = (one / LARGE, two / LARGE);
            }
        }
    }
}

/// Takes what lies along the `near` vectors out of x and makes it as long as 1; gives how long it was then.
fn orthogonalize(kernel: Kernel, near: &[f32], x: &mut [f32]) -> f32 {
    for earlier in near.chunks_exact(x.len()) {
        let along = kernel.dot(earlier, x);
        kernel.subtract_scaled(x, along, earlier);
    }
    normalize(kernel, x)
}

/// Makes x as long as 1 and gives how long it was; where that was 0 it stays.
fn normalize(kernel: Kernel, x: &mut [f32]) -> f32 {
    let length = libm::sqrtf(kernel.dot(x, x));
    if length > 0.0 {
        let inverse = 1.0 / length;
        for x in x {
            *x *= inverse;
        }
    }
    length
}
