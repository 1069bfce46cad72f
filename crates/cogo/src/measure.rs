//! Amounts as people read them: rounded, with a unit. For exact forms see `cogo_protocol::units`.

use std::time::Duration;

/// A size in three figures or less, in binary units.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would print as 1024 is 1 of the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 9.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// So many things, in the grammar's number: `1 fork`, `2 forks`, `1 process`, `2 processes`.
pub(crate) fn count(count: u64, thing: &str) -> String {
    let ending = match (count, thing.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{count} {thing}{ending}")
}

/// A time in three figures or so: `3.2 ms`, `0.84 s`, `12.3 s`, `3m 20s`, `2h 05m`.
pub(crate) fn time(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    let seconds = time.as_secs();
    match ms {
        ..9.95 => format!("{ms:.1} ms"),
        ..99.5 => format!("{ms:.0} ms"),
        ..9_995.0 => format!("{:.2} s", ms / 1000.0),
        ..59_950.0 => format!("{:.1} s", ms / 1000.0),
        ..3_600_000.0 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        ..86_400_000.0 => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_three_figures() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10 * 1024, "10 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (36 << 20, "36 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (size, text) in cases {
            assert_eq!(bytes(size), text);
        }
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(count(0, "exec"), "0 execs");
        assert_eq!(count(1, "process"), "1 process");
        assert_eq!(count(2, "left-over process"), "2 left-over processes");
    }

    #[test]
    fn times_keep_three_figures() {
        let cases = [
            (0, "0.0 ms"),
            (3_200, "3.2 ms"),
            (42_000, "42 ms"),
            (840_000, "0.84 s"),
            (9_994_000, "9.99 s"),
            (12_340_000, "12.3 s"),
            (59_960_000, "0m 59s"),
            (200_000_000, "3m 20s"),
            (7_500_000_000, "2h 05m"),
            (180_000_000_000, "2d 02h"),
        ];
        for (micros, text) in cases {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
    }
}
