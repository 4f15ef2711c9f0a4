//! The extractor: every mode, shape, dtype and cut, against f64.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phlora_fuzz::extractor::run(data));
