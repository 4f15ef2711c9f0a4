//! The C functions, called by a C program (`c/calls.c`) that takes its calls and their arguments from the input.

// Its functions are called from C.
use phlora_ffi as _;

unsafe extern "C" {
    fn phlora_fuzz_calls(data: *const u8, size: usize) -> i32;
}

/// Calls in the order and with the arguments that `data` says.
///
/// # Panics
/// When the C side found something.
pub fn run(data: &[u8]) {
    // SAFETY: the pointer is to so many bytes, which are only read.
    let line = unsafe { phlora_fuzz_calls(data.as_ptr(), data.len()) };
    assert_eq!(line, 0, "c/calls.c, line {line}");
}
