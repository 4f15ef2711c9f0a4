//! The version of the library at run time; the header has that of compile time from the same source.

use core::ffi::{CStr, c_char};

const TEXT: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(text) => text,
    Err(_) => c"",
};

const NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
    | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
    | number(env!("CARGO_PKG_VERSION_PATCH"));

const fn number(digits: &str) -> u32 {
    let (mut value, mut at) = (0, 0);
    while at < digits.len() {
        value = value * 10 + (digits.as_bytes()[at] - b'0') as u32;
        at += 1;
    }
    value
}

/// The library's version as `major << 16 | minor << 8 | patch`; compare with PHLORA_VERSION of the header. A
/// program runs with its own and every later library of the same soname. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_version() -> u32 {
    NUMBER
}

/// The library's version as text, such as "0.1.0". Static, never NULL. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn phlora_version_string() -> *const c_char {
    TEXT.as_ptr()
}
