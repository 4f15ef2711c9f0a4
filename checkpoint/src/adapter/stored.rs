//! The two factors of a module as safetensors files hold them, those of a convolution with its kernel's axes.

use super::Factor;
use crate::error::Result;
use crate::source::tensor::Tensor;

/// The factors `a`, [rank, in] or [rank, in, kernel…], and `b`, [out, rank] or [out, rank, 1…], as matrices, and the
/// kernel's axes. `stated` is the rank that they must have and who says so.
///
/// # Errors
/// When the shapes are others, or the dtype is not read.
pub(crate) fn pair<'a>(
    a: Tensor<'a>,
    b: Tensor<'a>,
    stated: Option<(usize, &str)>,
) -> Result<(Factor<'a>, Factor<'a>, Vec<usize>)> {
    let of = |tensor: &Tensor<'a>, expected: String| {
        let by = stated.map_or(String::new(), |(_, who)| format!(" by {who}"));
        tensor.error(format!("its shape is {:?}, expected {expected}{by}", tensor.shape()))
    };
    let rank = stated.map_or_else(|| a.shape().first().copied().unwrap_or(0), |(rank, _)| rank);
    if rank == 0 {
        return Err(of(&a, "a rank of at least 1, [rank, in]".to_owned()));
    }
    let kernel = match a.shape() {
        [first, _, kernel @ ..] if *first == rank && kernel.len() <= 3 => kernel.to_vec(),
        _ if stated.is_none() => return Err(of(&a, "[rank, in], or [rank, in, kernel…]".to_owned())),
        _ => return Err(of(&a, format!("[{rank}, in]"))),
    };
    let ones = ", 1".repeat(kernel.len());
    match b.shape() {
        [_, second, rest @ ..] if *second == rank && *rest == vec![1; kernel.len()] => {}
        _ => return Err(of(&b, format!("[out, {rank}{ones}]"))),
    }
    Ok((matrix(a)?, matrix(b)?, kernel))
}

/// A tensor of a file as a matrix, its rows those of the first axis; of one axis or none, a single row.
pub(crate) fn matrix(tensor: Tensor<'_>) -> Result<Factor<'_>> {
    let factor = Factor::new(tensor.readable()?, matrix_shape(tensor.shape()), tensor.bytes());
    Ok(factor.map_err(|e| tensor.error(e.to_string()))?.read_from(tensor.file(), tensor.stored_name()))
}

/// Values of `shape`, whose first axis counts rows; of one axis or none, a single row.
pub(crate) fn matrix_shape(shape: &[usize]) -> [usize; 2] {
    match shape {
        [] => [1, 1],
        [entries] => [1, *entries],
        [rows, rest @ ..] => [*rows, rest.iter().product()],
    }
}

/// The shapes of the factors `a` and `b` in a file, with the axes of the kernel of a convolution.
pub(crate) fn shapes(a: &Factor<'_>, b: &Factor<'_>, kernel: &[usize]) -> [Vec<usize>; 2] {
    let ([rank, input], [out, _]) = (a.shape(), b.shape());
    let area: usize = kernel.iter().product();
    let ones = vec![1; kernel.len()];
    [[&[rank, input / area.max(1)], kernel].concat(), [&[out, rank], ones.as_slice()].concat()]
}
