//! Measures cogo beside its peers and the physical floor, in one run.
//!
//! Every contender takes its turn in every round, so that whatever else the machine does
//! happens to all of them. Figures are minimum, median and 99th percentile.

mod block_cost;
mod blocks;
mod flood;
mod footprint;
#[path = "../../../tests/blocks/harness.rs"]
mod harness;
mod host;
mod latency;
mod lines;
mod manager;
mod measure;
mod peers;
mod recovery;
#[path = "../../../tests/recovery/harness.rs"]
mod recovery_harness;
mod schedule;
mod start;
mod store;
mod watch;

use clap::{Args, Parser, Subcommand};

/// Measures cogo beside its peers and the physical floor, in one run.
///
/// Results are Markdown tables. The machine should have nothing else to do.
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
    /// Megabytes per second from a program that floods to the log on disk.
    Throughput {
        #[command(flatten)]
        turns: Turns,
    },
    /// Time from a program's write to one who follows the log.
    Latency {
        #[command(flatten)]
        turns: Turns,
    },
    /// Time until a hundred sandboxes are parked.
    Warm {
        #[command(flatten)]
        turns: Turns,
    },
    /// Private memory of our processes per live exec.
    Memory,
    /// All of these.
    All {
        #[command(flatten)]
        turns: Turns,
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
    /// How well hangs are told from honest work, and how fast, over the corpus in `tests/blocks`.
    Blocks {
        /// Only programs whose name contains one of these.
        filters: Vec<String>,
        /// Programs that run at once.
        #[arg(long, default_value_t = 8)]
        at_once: usize,
    },
    /// How well tasks that fail are got done another way, over the corpus in `tests/recovery`.
    Recovery {
        /// Only tasks whose name contains one of these.
        filters: Vec<String>,
        /// Tasks that run at once.
        #[arg(long, default_value_t = 3)]
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
    /// The manager as its clients see it, beside a bare worker and the seed design.
    Manager(manager::Options),
    /// Time from an edit to the first answer of `cogo watch`, and from an error's bytes to its
    /// diagnostic.
    Watch {
        /// Edits, and errors, of each kind.
        #[arg(long, default_value_t = 100)]
        rounds: u32,
    },
    /// Writes errors with the time in them; what `watch` measures.
    #[command(hide = true)]
    Errors { count: u32, how: String },
    /// Writes times; what `latency` follows.
    #[command(hide = true)]
    Stamp,
    /// Writes so many lines with the time in them, with a pause after each.
    #[command(hide = true)]
    Lines {
        count: u32,
        /// In microseconds.
        pause: u64,
    },
}

/// How contenders take turns.
#[derive(Args)]
struct Turns {
    /// Rounds; each contender runs once in each.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Only the first contender and those whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

impl Turns {
    /// A start is over in milliseconds: it takes, and can have, many more rounds.
    fn of_starts(self) -> Self {
        Self {
            rounds: self.rounds * 40,
            ..self
        }
    }
}

fn main() -> anyhow::Result<()> {
    cogo_sandbox::launcher::run_if_asked(std::env::args_os().next().as_deref());
    match Arguments::parse().what {
        What::Start { turns } => start::run(&turns.of_starts()),
        What::Throughput { turns } => flood::run(&turns),
        What::Latency { turns } => latency::run(&turns),
        What::Warm { turns } => footprint::warm(&turns),
        What::Memory => footprint::memory(),
        What::Store { dir, rounds } => store::run(&dir, rounds),
        What::Schedule {
            tasks,
            workers,
            rounds,
        } => schedule::run(tasks, workers, rounds),
        What::BlockCost { execs, seconds } => {
            block_cost::run(execs, std::time::Duration::from_secs(seconds))
        }
        What::Recovery { filters, at_once } => recovery::run(&filters, at_once),
        What::Blocks { filters, at_once } => blocks::run(&filters, at_once),
        What::All { turns } => all(turns),
        What::Manager(options) => manager::run(&options),
        What::Watch { rounds } => watch::run(rounds),
        What::Errors { count, how } => watch::errors(count, &how),
        What::Stamp => latency::stamp(),
        What::Lines { count, pause } => {
            lines::write(count, std::time::Duration::from_micros(pause))
        }
    }
}

fn all(turns: Turns) -> anyhow::Result<()> {
    println!("{}\n", host::machine());
    println!("Peers: {}\n", peers::versions().join(", "));
    println!("### Throughput\n");
    flood::run(&turns)?;
    println!("\n### Latency\n");
    latency::run(&turns)?;
    println!("\n### Warm sandboxes\n");
    footprint::warm(&turns)?;
    println!("\n### Memory\n");
    footprint::memory()?;
    println!("\n### Start\n");
    start::run(&turns.of_starts())
}
