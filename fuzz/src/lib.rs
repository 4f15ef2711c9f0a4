//! What the fuzz targets share. Each target is a function of bytes; `targets/` has one program for each.
//!
//! An input is either a file as it is, or numbers from which a file is built that is sound but for a few fields: libFuzzer
//! changes both, and the second get further. Each run is held to the bounds that SECURITY.md promises.

pub mod adapters;
pub mod apply;
pub mod blocks;
pub mod bounds;
pub mod calls;
pub mod combine;
pub mod draw;
pub mod extractor;
pub mod gguf;
pub mod merge;
pub mod models;
pub mod place;
pub mod reports;
pub mod safetensors;

#[global_allocator]
static ALLOCATOR: bounds::Counting = bounds::Counting;
