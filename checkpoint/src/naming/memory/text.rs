//! The text of `architectures.txt`, which `build.rs` compresses.

use miniz_oxide::inflate::decompress_to_vec;

const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/architectures.deflate"));

/// The text; empty only if the build script and this do not agree, which a test asks.
pub(super) fn text() -> String {
    decompress_to_vec(PACKED).ok().and_then(|text| String::from_utf8(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_file() {
        assert!(text() == include_str!("architectures.txt"));
    }
}
