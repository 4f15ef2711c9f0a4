//! Models: which files they consist of, what those hold, and their weights as rows of numbers.
//!
//! [`locate`](locate::locate) finds the files, on disk or at [addresses](remote), [`safetensors`] and [`gguf`] read their headers, [`Model`](model::Model)
//! puts them together, and [`Tensor`](tensor::Tensor) views one weight. [`quantized`] decodes the weights of quantised
//! checkpoints, [`measure`] compares those of two models.

pub(crate) mod attention;
pub(crate) mod common;
pub(crate) mod config;
pub(crate) mod gguf;
pub(crate) mod held;
pub(crate) mod hub;
pub(crate) mod json;
pub(crate) mod json_file;
pub(crate) mod locate;
pub(crate) mod mapped;
pub(crate) mod measure;
pub(crate) mod model;
pub(crate) mod not_weights;
pub(crate) mod permutation;
pub(crate) mod place;
pub(crate) mod quantized;
pub(crate) mod read_ahead;
#[cfg(remote)]
pub(crate) mod remote;
#[cfg(not(remote))]
#[path = "remote_absent.rs"]
pub(crate) mod remote;
pub(crate) mod safetensors;
pub(crate) mod similar;
pub(crate) mod stored;
pub(crate) mod stretch;
pub(crate) mod tensor;
pub(crate) mod tokenizer;
