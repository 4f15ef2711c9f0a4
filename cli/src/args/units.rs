//! Numbers and sizes as they are typed.

pub fn rank(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("a rank is at least 1".to_owned()),
        Ok(rank) => Ok(rank),
        Err(error) => Err(format!("{error}")),
    }
}

pub fn strength(text: &str) -> Result<f32, String> {
    let value = text.parse().ok().filter(|value: &f32| value.is_finite());
    value.ok_or_else(|| "expected a finite number".to_owned())
}

pub fn share(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// Bytes from `1048576`, `64MiB`, `1.5G` or `200kB`; K, M, G and T alone are powers of 1024.
pub fn size(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: f64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kib" => 1024.0,
        "m" | "mib" => 1_048_576.0,
        "g" | "gib" => 1_073_741_824.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "t" | "tib" => 1_099_511_627_776.0,
        "tb" => 1e12,
        _ => return Err(format!("unknown unit {unit}, expected B, KiB, MiB, GiB, TiB, kB, MB, GB or TB")),
    };
    let number: f64 = number.parse().map_err(|_| "expected a size as in 64MiB".to_owned())?;
    let bytes = number * factor;
    // 2^53: beyond it f64 does not hold every whole number, and no machine has that much memory.
    #[allow(clippy::cast_sign_loss)]
    let whole = (bytes < 9e15).then_some(bytes as usize);
    whole.ok_or_else(|| "too large".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("1048576", 1 << 20), ("64MiB", 64 << 20), ("1.5k", 1536), ("2kB", 2000)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert!(size("1TiB").is_ok_and(|bytes| bytes > 1 << 30));
        for text in ["", "MiB", "1.2.3", "5 parsecs", "-1", "99999999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
