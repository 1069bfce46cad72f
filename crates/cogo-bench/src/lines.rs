//! A program that writes the time again and again, and what its lines say.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context;
use rustix::time::{ClockId, clock_gettime};

/// Writes lines with the time in them, each by itself, with a pause after each.
pub(crate) fn write(count: u32, pause: Duration) -> anyhow::Result<()> {
    let mut out = io::stdout();
    for _ in 0..count {
        let line = format!("{}\n", now().as_nanos());
        out.write_all(line.as_bytes())?;
        out.flush()?;
        sleep(pause);
    }
    Ok(())
}

/// Takes the whole lines that are there, and leaves the beginning of the next one.
pub(crate) fn whole(rest: &mut Vec<u8>) -> anyhow::Result<String> {
    let end = rest
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    Ok(String::from_utf8(rest.drain(..end).collect())?)
}

/// When a line was written, on a clock that all processes of a machine share.
pub(crate) fn written(line: &str) -> anyhow::Result<Duration> {
    let nanos: u64 = line.trim().parse().context("not a time")?;
    Ok(Duration::from_nanos(nanos))
}

/// How long ago a line was written.
pub(crate) fn age(line: &str) -> anyhow::Result<Duration> {
    Ok(now().saturating_sub(written(line)?))
}

/// The time on that clock.
pub(crate) fn now() -> Duration {
    let time = clock_gettime(ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
