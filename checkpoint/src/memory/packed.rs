//! The text of `architectures.txt`, unpacked from what `build.rs` makes of it.

/// The text, in the program as runs of new bytes, each but the last followed by a reference to earlier ones.
const PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/architectures.packed"));

/// The text; empty only if the build script and this do not agree, which a test asks.
pub(super) fn text() -> String {
    unpack(PACKED).and_then(|text| String::from_utf8(text).ok()).unwrap_or_default()
}

fn unpack(mut packed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(8 * packed.len());
    loop {
        let new = number(&mut packed)?;
        let (new, rest) = packed.split_at_checked(new)?;
        text.extend_from_slice(new);
        packed = rest;
        if packed.is_empty() {
            return Some(text);
        }
        let length = number(&mut packed)?;
        let before = number(&mut packed)?;
        let mut from = text.len().checked_sub(before).filter(|from| *from < text.len())?;
        let end = text.len().checked_add(length)?;
        // What is repeated may reach into what it makes.
        while text.len() < end {
            let part = (end - text.len()).min(text.len() - from);
            text.extend_from_within(from..from + part);
            from += part;
        }
    }
}

/// Takes a number, seven bits a byte, the lowest first.
fn number(packed: &mut &[u8]) -> Option<usize> {
    let mut value = 0;
    for shift in (0..usize::BITS).step_by(7) {
        let (&byte, rest) = packed.split_first()?;
        *packed = rest;
        value |= usize::from(byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_that_of_the_file() {
        assert!(text() == include_str!("architectures.txt"));
        assert!(PACKED.len() < text().len() / 4, "{} of {}", PACKED.len(), text().len());
    }

    #[test]
    fn what_is_damaged_is_refused() {
        assert_eq!(unpack(&[3, b'a', b'b', b'c', 5, 2, 1, b'd']).as_deref(), Some(&b"abcbcbcbd"[..]));
        assert_eq!(unpack(&[3, b'a']), None, "new bytes end early");
        assert_eq!(unpack(&[1, b'a', 2, 2, 0]), None, "before the beginning");
        assert_eq!(unpack(&[1, b'a', 2, 0, 0]), None, "repeats nothing");
        assert_eq!(unpack(&[255; 20]), None, "a number without end");
    }
}
