//! Times of several contenders, taken in turns.

use std::time::{Duration, Instant};

use crate::Turns;

/// How long the machine is left alone after each turn: what a contender still does in the
/// background, such as taking its sandbox down or refilling a pool, must not slow the next one.
const REST: Duration = Duration::from_millis(30);

/// Something to be timed.
pub(crate) struct Contender<'a> {
    name: String,
    /// Does it once and returns the time that counts.
    run: Box<dyn FnMut() -> anyhow::Result<Duration> + 'a>,
    times: Vec<Duration>,
}

impl<'a> Contender<'a> {
    /// A contender all of whose time counts.
    pub(crate) fn new(
        name: impl Into<String>,
        mut action: impl FnMut() -> anyhow::Result<()> + 'a,
    ) -> Self {
        Self::timed(name, move || {
            let start = Instant::now();
            action()?;
            Ok(start.elapsed())
        })
    }

    /// A contender that measures itself.
    pub(crate) fn timed(
        name: impl Into<String>,
        run: impl FnMut() -> anyhow::Result<Duration> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            run: Box::new(run),
            times: Vec::new(),
        }
    }
}

/// Runs all contenders in turns and prints a table, with ratios to the first one.
pub(crate) fn run(turns: &Turns, mut contenders: Vec<Contender<'_>>) -> anyhow::Result<()> {
    if let Some(only) = &turns.only {
        let mut is_first = true;
        contenders.retain(|contender| {
            std::mem::take(&mut is_first) || contender.name.contains(only.as_str())
        });
    }
    // The first round fills caches and does not count.
    for round in 0..=turns.rounds {
        for contender in &mut contenders {
            let time = (contender.run)()?;
            if round > 0 {
                contender.times.push(time);
            }
            std::thread::sleep(REST);
        }
    }
    println!("| what | min ms | p50 ms | p99 ms | p50 / first |");
    println!("|---|---|---|---|---|");
    let mut first = None;
    for contender in &mut contenders {
        contender.times.sort_unstable();
        let ms = |percent| percentile(&contender.times, percent).as_secs_f64() * 1e3;
        let ratio = ms(50) / *first.get_or_insert(ms(50));
        println!(
            "| {} | {:.2} | {:.2} | {:.2} | {ratio:.2} |",
            contender.name,
            ms(0),
            ms(50),
            ms(99)
        );
    }
    Ok(())
}

/// The value that so many percent of the sorted values do not exceed.
pub(crate) fn percentile<T: Copy>(sorted: &[T], percent: usize) -> T {
    sorted[(sorted.len() - 1) * percent / 100]
}
