//! Numbers for people.

/// A share as per cent, e.g. `97.3 %`.
pub fn percent(share: f64) -> String {
    // One digit must not turn "nearly all" into "all".
    let percent = 100.0 * share;
    if (99.9..99.9995).contains(&percent) { format!("{percent:.3} %") } else { format!("{percent:.1} %") }
}

/// Bytes, e.g. `3.4 MB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, ["B", "kB", "MB", "GB", "TB"])
}

/// A count of weights, e.g. `1.7 M`.
pub fn count(count: u64) -> String {
    scaled(count as f64, ["", "k", "M", "G", "T"]).trim_end().to_owned()
}

fn scaled(mut value: f64, units: [&str; 5]) -> String {
    let mut unit = units[0];
    for next in &units[1..] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    if unit == units[0] || value >= 99.95 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(3_450_552), "3.5 MB");
        assert_eq!(count(123), "123");
        assert_eq!(count(1_720_000), "1.7 M");
        assert_eq!(percent(0.9999), "99.990 %");
        assert_eq!(percent(0.999_999_9), "100.0 %");
    }
}
