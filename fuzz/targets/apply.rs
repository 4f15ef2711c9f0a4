//! Adapters at work, one or routed, against f64.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phlora_fuzz::apply::run(data));
