//! The C functions in any order, with any arguments that their contract allows.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phlora_fuzz::calls::run(data));
