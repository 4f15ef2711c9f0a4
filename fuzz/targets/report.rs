//! Reports: read, chosen from, written again, shown as a page.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| phlora_fuzz::reports::run(data));
