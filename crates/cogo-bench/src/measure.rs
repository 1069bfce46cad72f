//! Times of several contenders, taken in turns.

use std::time::{Duration, Instant};

/// Something to be timed.
pub(crate) struct Contender<'a> {
    pub(crate) name: &'static str,
    /// Does it once and returns the time that counts.
    pub(crate) run: Box<dyn FnMut() -> anyhow::Result<Duration> + 'a>,
    times: Vec<Duration>,
}

impl<'a> Contender<'a> {
    /// A contender all of whose time counts.
    pub(crate) fn new(
        name: &'static str,
        mut action: impl FnMut() -> anyhow::Result<()> + 'a,
    ) -> Self {
        let run = Box::new(move || {
            let start = Instant::now();
            action()?;
            Ok(start.elapsed())
        });
        Self {
            name,
            run,
            times: Vec::new(),
        }
    }

    /// A contender that measures itself.
    pub(crate) fn timed(
        name: &'static str,
        run: impl FnMut() -> anyhow::Result<Duration> + 'a,
    ) -> Self {
        Self {
            name,
            run: Box::new(run),
            times: Vec::new(),
        }
    }

    fn percentile(&self, percent: usize) -> Duration {
        let last = self.times.len() - 1;
        self.times[last * percent / 100]
    }
}

/// Runs all contenders in turns and prints a table, with ratios to the first one.
pub(crate) fn run(rounds: u32, contenders: &mut [Contender<'_>]) -> anyhow::Result<()> {
    for _ in 0..rounds {
        for contender in contenders.iter_mut() {
            let time = (contender.run)()?;
            contender.times.push(time);
        }
    }
    for contender in contenders.iter_mut() {
        contender.times.sort_unstable();
    }
    println!("| what | min ms | p50 ms | p99 ms | p50 / first |");
    println!("|---|---|---|---|---|");
    let first = contenders
        .first()
        .map_or(1.0, |first| first.percentile(50).as_secs_f64());
    for contender in contenders.iter() {
        let ms = |percent| contender.percentile(percent).as_secs_f64() * 1e3;
        let ratio = contender.percentile(50).as_secs_f64() / first;
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
