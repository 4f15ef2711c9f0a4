//! The shape of a matrix.

/// Shape of a weight matrix, stored row after row (a linear layer has `rows` = out, `cols` = in).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
}
