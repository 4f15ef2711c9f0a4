//! Quantised checkpoints, whose weights consist of several stored tensors.
//!
//! A model finds them as it is opened ([`find`]), and shows each as one tensor under the name and shape of the weight that
//! is not quantised. Its entries are decoded where they are read ([`decoder`]), to the bits of the library that defines the
//! format; see [`phlora_core::quantized`].

mod decoder;
mod find;
mod find_four_bit;
mod find_packed;
mod method;
mod recipe;

pub(crate) use decoder::Decoder;
pub(crate) use find::{Finder, Found};
pub use method::Method;
pub(crate) use recipe::Recipe;

#[cfg(test)]
mod tests;
