//! Numbers, sizes and patterns as they are typed.

use regex::Regex;

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

pub fn positive(text: &str) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "expected a number above 0".to_owned())
}

/// A share: `0.9` or `90%`.
pub fn energy(text: &str) -> Result<f64, String> {
    let per_cent = text.strip_suffix('%').map(str::trim_end);
    let number: Option<f64> = per_cent.unwrap_or(text).parse().ok();
    let value = if per_cent.is_some() { number.map(|value| value / 100.0) } else { number };
    match value {
        Some(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Some(share) if per_cent.is_none() && share > 1.0 && share <= 100.0 => {
            Err(format!("expected a share from 0 to 1: {} for {share} %, or {share}%", share / 100.0))
        }
        _ => Err("expected a share from 0 to 1, as in 0.9 or 90%".to_owned()),
    }
}

/// A regular expression, with help for those who think of shell patterns.
pub fn pattern(text: &str) -> Result<Regex, String> {
    Regex::new(text).map_err(|error| {
        let problem = match error {
            regex::Error::Syntax(message) => {
                message.lines().last().unwrap_or_default().replace("error: ", "")
            }
            other => other.to_string(),
        };
        let meant = text.replace('.', "\\.").replace('*', ".*");
        let meant = Some(meant).filter(|meant| text.contains('*') && Regex::new(meant).is_ok());
        let meant =
            meant.map(|meant| format!("; as a shell pattern it would be {meant}")).unwrap_or_default();
        format!("not a regular expression: {problem}{meant}; q_proj alone matches it anywhere in a path")
    })
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
        _ => {
            return Err(format!(
                "unknown unit {unit}, expected B, KiB, MiB, GiB, TiB (or K, M, G, T), kB, MB, GB or TB"
            ));
        }
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
    fn energies() {
        for (text, share) in [("0.9", 0.9), ("90%", 0.9), ("12.5 %", 0.125), ("1", 1.0), ("0", 0.0)] {
            assert_eq!(energy(text), Ok(share), "{text}");
        }
        assert!(energy("90").unwrap_err().contains("0.9 for 90 %, or 90%"));
        for text in ["", "NaN", "-0.1", "101%", "1e9", "most"] {
            assert!(energy(text).is_err(), "{text}");
        }
    }

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
