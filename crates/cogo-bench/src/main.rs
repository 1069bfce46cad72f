//! Measures cogo beside its peers and the physical floor, in one run.
//!
//! Every contender takes its turn in every round, so that whatever else the machine does
//! happens to all of them. Figures are minimum, median and 99th percentile.

mod measure;
mod schedule;
mod start;

use clap::{Parser, Subcommand};

/// Measures cogo beside its peers and the physical floor, in one run.
#[derive(Parser)]
#[command(name = "cogo-bench", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Time from asking for `/bin/true` to its durable verdict: cold, warm, beside bwrap and runc.
    Start {
        /// Rounds; each contender runs once in each.
        #[arg(long, default_value_t = 200)]
        rounds: u32,
    },
    /// Time of the coordinator's decisions with a full house, the world left out.
    Schedule {
        /// Tasks that wait.
        #[arg(long, default_value_t = 1_000_000)]
        tasks: u64,
        /// Workers, all busy.
        #[arg(long, default_value_t = 10_000)]
        workers: u64,
        /// Decisions to time.
        #[arg(long, default_value_t = 20_000)]
        rounds: u64,
    },
}

fn main() -> anyhow::Result<()> {
    cogo_sandbox::launcher::run_if_asked(std::env::args_os().next().as_deref());
    match Arguments::parse().what {
        What::Start { rounds } => start::run(rounds),
        What::Schedule {
            tasks,
            workers,
            rounds,
        } => schedule::run(tasks, workers, rounds),
    }
}
