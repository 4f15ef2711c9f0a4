//! Decoders of all formats: every kernel gives the same bits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phlora_fuzz::blocks::run(data));
