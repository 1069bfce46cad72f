//! Measures cogo beside its peers and the physical floor, in one run.
//!
//! Every contender takes its turn in every round, so that whatever else the machine does
//! happens to all of them. Figures are minimum, median and 99th percentile.

mod host;
mod measure;
mod start;

use clap::{Args, Parser, Subcommand};

/// Measures cogo beside its peers and the physical floor, in one run.
#[derive(Parser)]
#[command(name = "cogo-bench", version)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Time from asking for `/bin/true` to its durable verdict: in a session, warm and cold, beside
    /// other sandboxes.
    Start {
        #[command(flatten)]
        turns: Turns,
    },
}

/// How contenders take turns.
#[derive(Args)]
struct Turns {
    /// Rounds; each contender runs once in each.
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Only the first contender and those whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

fn main() -> anyhow::Result<()> {
    cogo_sandbox::launcher::run_if_asked(std::env::args_os().next().as_deref());
    match Arguments::parse().what {
        What::Start { turns } => start::run(&turns),
    }
}
