//! Points in time as text.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cogo_protocol::date::civil_date;

use crate::measure;

/// Milliseconds since 1970, now.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// How long ago a Unix time in milliseconds was: `12 s ago`, or `now`.
pub(crate) fn ago(at_ms: u64, now_ms: u64) -> String {
    match now_ms.saturating_sub(at_ms) {
        ..1000 => "now".to_owned(),
        // Whole seconds: what just started would otherwise show figures nobody needs.
        ms @ ..60_000 => format!("{} s ago", ms / 1000),
        ms => format!("{} ago", measure::time(Duration::from_millis(ms))),
    }
}

/// A Unix time in RFC 3339, UTC, with microseconds: `2026-03-01T09:30:00.000000Z`.
pub(crate) fn rfc3339(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        since_1970.subsec_micros()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_772_357_400, "2026-03-01T09:30:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(rfc3339(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn the_past_is_told_roughly() {
        assert_eq!(ago(5_000, 5_400), "now");
        assert_eq!(ago(5_000, 17_900), "12 s ago");
        assert_eq!(ago(0, 200_000), "3m 20s ago");
        assert_eq!(ago(9_000, 5_000), "now");
    }
}
