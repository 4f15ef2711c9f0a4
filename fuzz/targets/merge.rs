//! Adapters merged into weights and taken out again, against f64.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phlora_fuzz::merge::run(data));
