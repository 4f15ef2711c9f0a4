//! Dates as HTTP and signatures write them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: u64 = 86_400;

/// A moment in UTC, to the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Utc {
    seconds: u64,
    date: [u64; 3],
}

impl Utc {
    pub(super) fn now() -> Self {
        Self::at(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    /// `seconds` after the beginning of 1970.
    pub(super) fn at(seconds: u64) -> Self {
        let (mut days, mut year) = (seconds / DAY, 1970);
        while days >= year_len(year) {
            days -= year_len(year);
            year += 1;
        }
        let mut month = 0;
        while days >= month_len(year, month) {
            days -= month_len(year, month);
            month += 1;
        }
        Self { seconds, date: [year, month + 1, days + 1] }
    }

    pub(super) fn seconds(self) -> u64 {
        self.seconds
    }

    /// `20130524`.
    pub(super) fn day(self) -> String {
        let [year, month, day] = self.date;
        format!("{year:04}{month:02}{day:02}")
    }

    /// `20130524T000000Z`.
    pub(super) fn compact(self) -> String {
        let [hour, minute, second] = self.clock();
        format!("{}T{hour:02}{minute:02}{second:02}Z", self.day())
    }

    /// `Fri, 24 May 2013 00:00:00 GMT`.
    pub(super) fn http(self) -> String {
        let ([year, month, day], [hour, minute, second]) = (self.date, self.clock());
        let name = DAYS[(self.seconds / DAY % 7) as usize];
        let month = MONTHS[month as usize - 1];
        format!("{name}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }

    fn clock(self) -> [u64; 3] {
        [self.seconds / 3600 % 24, self.seconds / 60 % 60, self.seconds % 60]
    }

    /// Reads what [`http`](Self::http) writes, or `2013-05-24T00:00:00Z`, to seconds after the beginning of 1970.
    pub(super) fn parse(text: &str) -> Option<u64> {
        let numbers: Vec<u64> =
            text.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
        let named = MONTHS.iter().position(|month| text.contains(month)).map(|at| at as u64 + 1);
        let ((Some(month), &[day, year, ref clock @ ..]) | (None, &[year, month, day, ref clock @ ..])) =
            (named, numbers.as_slice())
        else {
            return None;
        };
        let &[hour, minute, second, ..] = clock else { return None };
        if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || day == 0 {
            return None;
        }
        let years: u64 = (1970..year).map(year_len).sum();
        let months: u64 = (0..month - 1).map(|month| month_len(year, month)).sum();
        Some((years + months + day - 1) * DAY + hour * 3600 + minute * 60 + second)
    }
}

/// How long an answer asks to wait, by its `Retry-After`.
pub(super) fn retry_after(text: &str) -> Option<Duration> {
    let seconds = match text.trim().parse() {
        Ok(seconds) => seconds,
        Err(_) => Utc::parse(text)?.saturating_sub(Utc::now().seconds),
    };
    Some(Duration::from_secs(seconds))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn year_len(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

/// Days of a month, counted from 0.
fn month_len(year: u64, month: u64) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_and_read() {
        // As `date -u -d @SECONDS` has them.
        for (seconds, http, compact) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT", "19700101T000000Z"),
            (1_369_353_600, "Fri, 24 May 2013 00:00:00 GMT", "20130524T000000Z"),
            (1_709_251_199, "Thu, 29 Feb 2024 23:59:59 GMT", "20240229T235959Z"),
            (1_735_689_600, "Wed, 01 Jan 2025 00:00:00 GMT", "20250101T000000Z"),
        ] {
            let moment = Utc::at(seconds);
            assert_eq!((moment.http().as_str(), moment.compact().as_str()), (http, compact));
            assert_eq!(Utc::parse(http), Some(seconds));
        }
        assert_eq!(Utc::parse("2013-05-24T00:00:00Z"), Some(1_369_353_600));
        assert_eq!(Utc::parse("soon"), None);
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Fri, 24 May 2013 00:00:00 GMT"), Some(Duration::ZERO));
    }
}
