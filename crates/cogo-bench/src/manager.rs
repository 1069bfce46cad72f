//! The manager as its clients see it: real processes, real sandboxes, a real disk, and connections
//! that speak the protocol.
//!
//! Beside `cogo serve` run a bare `cogo worker`, where that can do the same, and the seed design:
//! an asyncio manager with Node workers, without sandbox and without a disk. Contenders live one
//! at a time, so that none runs beside another.

mod client;
mod contender;
mod fan_out;
mod idle;
mod output;
mod recovery;
mod tasks;

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::runtime::Runtime;

use self::contender::{Contender, Kind, Setup};
use crate::host;
use crate::measure::percentile;

/// What is measured, and how much of it.
#[derive(Args)]
pub(crate) struct Options {
    /// Only the parts whose name contains this: tasks, output, fan-out, idle, recovery.
    #[arg(long)]
    only: Option<String>,
    /// Tasks that are run one at a time.
    #[arg(long, default_value_t = 300)]
    single: usize,
    /// Tasks that are run as many at a time as there is room for.
    #[arg(long, default_value_t = 4000)]
    many: usize,
    /// Mebibytes that are streamed.
    #[arg(long, default_value_t = 200)]
    stream: usize,
    /// Clients that follow one task.
    #[arg(long, default_value_t = 1000)]
    subscribers: usize,
    /// The program; by default the `cogo` beside this one.
    #[arg(long)]
    cogo: Option<std::path::PathBuf>,
}

/// A part of the benchmark: prints its tables.
type Part = fn(&Runtime, &Setup, &Options) -> anyhow::Result<()>;

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    println!("{}\n", host::machine());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let cogo = match &options.cogo {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("cogo"),
    };
    let setup = Setup::new(
        cogo.canonicalize()
            .context("no `cogo` beside this program")?,
    )?;
    let parts: [(&str, Part); 5] = [
        ("tasks", tasks::run),
        ("output", output::run),
        ("fan-out", fan_out::run),
        ("idle", idle::run),
        ("recovery", recovery::run),
    ];
    for (name, part) in parts {
        let wanted = options
            .only
            .as_deref()
            .is_none_or(|only| name.contains(only));
        if wanted {
            println!("### {name}\n");
            part(&runtime, &setup, options)?;
            println!();
        }
    }
    Ok(())
}

/// Runs a measurement against each of some contenders, one after the other. Says of those that
/// cannot run why not.
fn each(
    setup: &Setup,
    kinds: &[(Kind, u32)],
    mut measure: impl FnMut(&Contender) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for &(kind, workers) in kinds {
        match Contender::start(setup, kind, workers) {
            Ok(contender) => measure(&contender).context(kind.name())?,
            Err(error) if kind == Kind::Seed => println!("Skipped {}: {error:#}\n", kind.name()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sorts times and gives their minimum, median and 99th percentile as cells of a table.
fn cells(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let ms = |percent| percentile(times, percent).as_secs_f64() * 1e3;
    format!("{:.2} | {:.2} | {:.2}", ms(0), ms(50), ms(99))
}
