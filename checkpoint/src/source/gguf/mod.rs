//! GGUF files, versions 2 and 3: the metadata and where each tensor's bytes are.
//!
//! Layout: magic, version, number of tensors, number of keys; the keys with their values; per tensor its
//! name, sizes, type and offset; padding up to the alignment; the tensors. All little-endian.

mod cursor;
mod file;
mod files;
mod split;
mod tensors;
mod types;
mod value;

pub(crate) use file::{File, is_gguf};
pub(crate) use files::read_files;
pub(crate) use split::is_later_file;
pub(crate) use tensors::TensorInfo;
pub(crate) use value::Value;
