//! GGUF models: opened, looked into, extracted, merged.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phlora_fuzz::models::gguf(data));
