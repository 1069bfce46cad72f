//! Measures cogo beside its peers and the physical floor, in one run.
//!
//! Every contender takes its turn in every round, so that whatever else the machine does
//! happens to all of them. Figures are minimum, median and 99th percentile.

mod measure;
mod start;
mod store;

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
    /// What the store commits and the task log takes in a second, beside `fdatasync`.
    Store {
        /// Where to write: the disk that is measured.
        #[arg(long, default_value_os_t = std::env::temp_dir())]
        dir: std::path::PathBuf,
        /// Rounds; each contender takes its turn in each.
        #[arg(long, default_value_t = 7)]
        rounds: usize,
    },
}

fn main() -> anyhow::Result<()> {
    cogo_sandbox::launcher::run_if_asked(std::env::args_os().next().as_deref());
    match Arguments::parse().what {
        What::Start { rounds } => start::run(rounds),
        What::Store { dir, rounds } => store::run(&dir, rounds),
    }
}
