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

/// Whether files are opened and looked into, and nothing else is done with them (`PHLORA_FUZZ_OPEN`): many more runs of the
/// parsers alone.
pub fn opens_only() -> bool {
    static ONLY: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ONLY.get_or_init(|| std::env::var_os("PHLORA_FUZZ_OPEN").is_some())
}
