//! `cogo map`: an outline of a repository for a reader with a budget.

use clap::Args;
use cogo_analysis::map::map;
use cogo_sandbox::exec_dir::StateDir;

use super::Repository;
use crate::failure::{Failure, note, print};

const EXAMPLES: &str = "\
Examples:
  cogo map                              what matters most, in about 2,000 tokens
  cogo map --tokens 8000                more of it
  cogo map --focus src/store.rs         as seen from that file
  cogo map --json | jq '.files[].path'  for programs";

/// Print a ranked outline of a repository within a token budget
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// About how many tokens it may have
    #[arg(long, value_name = "N", default_value_t = 2000)]
    tokens: usize,
    /// Files or folders from which to look, from the root
    #[arg(long, value_name = "FILE", num_args = 1..)]
    focus: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    repository: Repository,
}

/// Prints the outline.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let (store, _) = options.repository.open(state)?;
    let map = map(store.connection(), options.tokens, &options.focus)?;
    if options.json {
        print(&(serde_json::to_string(&map)? + "\n"))?;
        return Ok(0);
    }
    print(&map.text())?;
    if map.left_out > 0 {
        note(&format!(
            "{} definitions did not fit into {} tokens",
            map.left_out, options.tokens
        ));
    }
    Ok(0)
}
