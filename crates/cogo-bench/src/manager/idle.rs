//! What a manager with one worker takes when it has nothing to do.

use std::collections::HashMap;

use anyhow::Context;
use tokio::runtime::Runtime;

use super::contender::{Contender, Kind, Setup};
use super::{Options, each};

pub(super) fn run(_: &Runtime, setup: &Setup, _: &Options) -> anyhow::Result<()> {
    println!("Proportional memory (PSS) of all processes, with one worker, before any task:\n");
    println!("| what | processes | MB |");
    println!("|---|---|---|");
    each(setup, &[(Kind::Serve, 1), (Kind::Seed, 1)], |contender| {
        let pids = family(contender)?;
        let bytes: u64 = pids.iter().map(|pid| proportional(*pid)).sum();
        let mb = bytes as f64 / 1e6;
        println!("| {} | {} | {mb:.1} |", contender.kind.name(), pids.len());
        Ok(())
    })
}

/// The contender's process and all that descend from it.
fn family(contender: &Contender) -> anyhow::Result<Vec<i32>> {
    let mut parents = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // One that has ended meanwhile counts no more.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let (_, rest) = stat.rsplit_once(')').context("it has a name")?;
        let parent: i32 = rest
            .split_whitespace()
            .nth(1)
            .context("a parent")?
            .parse()?;
        parents.insert(pid, parent);
    }
    let root = contender.process().as_raw_nonzero().get();
    let descends = |pid: &i32| {
        let mut at = *pid;
        while at != root {
            match parents.get(&at) {
                Some(parent) => at = *parent,
                None => return false,
            }
        }
        true
    };
    Ok(parents.keys().copied().filter(descends).collect())
}

fn proportional(pid: i32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let rollup = rollup.unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}
