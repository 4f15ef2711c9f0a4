//! PEFT adapters through every command that takes one.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phlora_fuzz::adapters::peft(data));
