//! The operations, as methods of [`Kernel`](super::Kernel).

mod difference_forward;
mod dots;
mod measure;
mod merge;
mod product;
mod reflect;
mod rows;
mod strip;
mod transpose;
mod vectors;
