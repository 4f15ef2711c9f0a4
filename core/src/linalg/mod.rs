//! Small dense linear algebra in the caller's memory.

pub mod gram_svd;
pub mod jacobi;
pub mod orthonormal;
pub mod panels;
pub mod random;
pub mod scratch;
