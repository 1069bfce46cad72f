//! Measures cogo beside its peers and the physical floor, in one run.
//!
//! Every contender takes its turn in every round, so that whatever else the machine does
//! happens to all of them. Figures are minimum, median and 99th percentile.

mod block_cost;
mod blocks;
#[path = "../../../tests/blocks/harness.rs"]
mod harness;
mod measure;
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
    /// How well hangs are told from honest work, and how fast, over the corpus in `tests/blocks`.
    Blocks {
        /// Only programs whose name contains one of these.
        filters: Vec<String>,
        /// Programs that run at once.
        #[arg(long, default_value_t = 8)]
        at_once: usize,
    },
    /// Processor time that watching live execs costs.
    BlockCost {
        /// Execs that live at once.
        #[arg(long, default_value_t = 50)]
        execs: usize,
        /// Seconds to watch.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
}

fn main() -> anyhow::Result<()> {
    cogo_sandbox::launcher::run_if_asked(std::env::args_os().next().as_deref());
    match Arguments::parse().what {
        What::Start { rounds } => start::run(rounds),
        What::BlockCost { execs, seconds } => {
            block_cost::run(execs, std::time::Duration::from_secs(seconds))
        }
        What::Blocks { filters, at_once } => blocks::run(&filters, at_once),
    }
}
