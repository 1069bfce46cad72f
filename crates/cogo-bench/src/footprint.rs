//! What a live exec costs in memory of ours, and what a hundred parked sandboxes cost in time.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::Context;
use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::spec::ExecSpec;
use cogo_sandbox::start::{Launcher, Started, start};
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::Turns;
use crate::host::{Place, clear_away, running};
use crate::measure::percentile;

/// Execs alive at once while memory is measured.
const ALIVE: usize = 20;

/// Sandboxes that are parked at once.
const PARKED: usize = 100;

/// Prints the private memory of the processes that are ours, per live exec.
pub(crate) fn memory() -> anyhow::Result<()> {
    println!("| a live exec that | supervisor KB | process 1 KB | together KB | most KB |");
    println!("|---|---|---|---|---|");
    let place = Place::on_disk()?;
    let zygote = Zygote::start(&Launcher::default(), ZygoteOptions::default())?;
    let launcher = Launcher::default();
    let silent = place.limited_spec(&["/bin/sh", "-c", "exec sleep 1000"]);
    let loud = "head -c 67108864 /dev/zero; exec sleep 1000";
    let loud = place.limited_spec(&["/bin/sh", "-c", loud]);
    let from_zygote =
        |spec: &ExecSpec| running(zygote.start_exec(&place.state, &place.id(), spec, &[]));
    let anew = || running(start(&launcher, &place.state, &place.id(), &silent, &[]));
    let kinds: [(&str, &dyn Fn() -> anyhow::Result<Started>); 3] = [
        ("a zygote started", &|| from_zygote(&silent)),
        ("a zygote started, and wrote 64 MiB", &|| from_zygote(&loud)),
        ("a launcher executed anew started", &anew),
    ];
    for (name, start) in kinds {
        let mut alive = Vec::new();
        for _ in 0..ALIVE {
            alive.push(start()?);
            // It sleeps when its shell has become the sleeping program.
            await_sleep(alive.last().context("just pushed")?)?;
        }
        let mut costs = Vec::new();
        for started in &alive {
            let supervisor = started.running.supervisor_pid;
            costs.push((private_kb(supervisor)?, private_kb(child_of(supervisor)?)?));
        }
        costs.sort_unstable_by_key(|(supervisor, init)| supervisor + init);
        let (supervisor, init) = percentile(&costs, 50);
        let (most_supervisor, most_init) = percentile(&costs, 100);
        let most = most_supervisor + most_init;
        println!(
            "| {name} | {supervisor} | {init} | {} | {most} |",
            supervisor + init
        );
        for mut started in alive {
            let grace_period = Duration::ZERO;
            ControlClient::connect(&started.exec)?.send(&Request::Stop { grace_period })?;
            started.exec.wait()?;
            clear_away(&mut started)?;
        }
    }
    Ok(())
}

fn await_sleep(started: &Started) -> anyhow::Result<()> {
    let command = started.running.command_pid.context("it runs")?;
    loop {
        let name = fs::read_to_string(format!("/proc/{command}/comm"))?;
        if name.trim() == "sleep" {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Memory that would be free without this process.
fn private_kb(pid: i32) -> anyhow::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let amounts = text
        .lines()
        .filter_map(|line| line.strip_prefix("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Ok(amounts.sum())
}

fn child_of(pid: i32) -> anyhow::Result<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let first = children.split_whitespace().next();
    Ok(first.context("a supervisor has a process 1")?.parse()?)
}

/// Prints how long it takes until a hundred sandboxes are ready.
pub(crate) fn warm(turns: &Turns) -> anyhow::Result<()> {
    let place = Place::on_disk()?;
    let spec = place.limited_spec(&["/bin/true"]);
    let mut times = Vec::new();
    for _ in 0..turns.rounds {
        let zygote = Zygote::start(&Launcher::default(), ZygoteOptions { blanks: 0, used: 0 })?;
        let start = Instant::now();
        zygote.keep_warm(&spec, PARKED)?;
        times.push(start.elapsed());
        drop(zygote);
        // Their namespaces are taken down in the background.
        std::thread::sleep(Duration::from_millis(500));
    }
    times.sort_unstable();
    println!("| what | min ms | p50 ms | max ms |");
    println!("|---|---|---|---|");
    let ms = |percent| percentile(&times, percent).as_secs_f64() * 1e3;
    println!(
        "| {PARKED} sandboxes parked | {:.0} | {:.0} | {:.0} |",
        ms(0),
        ms(50),
        ms(100)
    );
    Ok(())
}
