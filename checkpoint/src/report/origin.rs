//! Which models a report is of, and when it was made.

use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

/// Where a report comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Origin {
    /// The model before fine-tuning, as it was named.
    pub base: String,
    /// The model after it.
    pub tuned: String,
    /// What a device runs in the place of the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployed: Option<String>,
    /// What was typed, where a command made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The day, in UTC, as 2026-11-30.
    pub date: String,
}

impl Origin {
    /// That of `base` and `tuned`, today.
    pub fn new(base: impl Into<String>, tuned: impl Into<String>) -> Self {
        let (base, tuned) = (base.into(), tuned.into());
        Self { base, tuned, deployed: None, command: None, date: today() }
    }
}

/// The day in UTC; of `SOURCE_DATE_EPOCH`, where that is set, so that builds can be repeated.
fn today() -> String {
    let stated = std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|seconds| seconds.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date(stated.unwrap_or_else(now))
}

/// The day of a number of seconds after 1970.
fn date(seconds: u64) -> String {
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let (mut days, mut year) = (seconds / 86_400, 1970_u64);
    // No date of a report lies beyond the four digits.
    while year < 9999 && days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", days.min(30) + 1)
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_709_251_199, "2024-02-29"),
            (1_796_083_200, "2026-12-01"),
            (4_107_542_399, "2100-02-28"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(seconds), day);
        }
        assert!(date(u64::MAX).starts_with("9999-12-31"));
    }
}
