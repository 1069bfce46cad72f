//! How long a line takes from the program's `write` to one who follows the log.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use cogo_sandbox::control::{ControlClient, Notice};
use cogo_sandbox::log::{Entry, LogReader};
use cogo_sandbox::start::Launcher;
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};

use crate::Turns;
use crate::host::{Place, clear_away, running};
use crate::lines;
use crate::measure::percentile;

/// Lines of one run.
const LINES: u32 = 500;

/// Pause between two lines.
const PAUSE: Duration = Duration::from_millis(1);

/// Prints how late lines arrive, beside those of a bare pipe.
pub(crate) fn run(turns: &Turns) -> anyhow::Result<()> {
    let place = Place::on_disk()?;
    let zygote = Zygote::start(&Launcher::default(), ZygoteOptions::default())?;
    // The sandbox shows the workspace and the system, not where this program was built.
    let stamp = place.path().join("workspace/stamp");
    std::fs::copy(std::env::current_exe()?, &stamp)?;
    let stamp = stamp.to_str().context("the folder's name is plain")?;
    let argv = [stamp, "stamp"];
    let mut floor = Vec::new();
    let mut ours = Vec::new();
    for _ in 0..turns.rounds {
        follow_pipe(&argv, &mut floor)?;
        follow_log(&place, &zygote, &argv, &mut ours)?;
    }
    println!("| what | min ms | p50 ms | p99 ms | max ms |");
    println!("|---|---|---|---|---|");
    for (name, latencies) in [
        ("a bare pipe", &mut floor),
        ("cogo, from the log", &mut ours),
    ] {
        latencies.sort_unstable();
        let ms = |percent| percentile(latencies, percent).as_secs_f64() * 1e3;
        println!(
            "| {name} | {:.3} | {:.3} | {:.3} | {:.3} |",
            ms(0),
            ms(50),
            ms(99),
            ms(100)
        );
    }
    Ok(())
}

/// The program that is followed: writes the time again and again.
pub(crate) fn stamp() -> anyhow::Result<()> {
    lines::write(LINES, PAUSE)
}

fn follow_pipe(argv: &[&str], latencies: &mut Vec<Duration>) -> anyhow::Result<()> {
    let mut child = Command::new(argv[0])
        .args(&argv[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("it was asked for")?;
    for line in BufReader::new(output).lines() {
        latencies.push(lines::age(&line?)?);
    }
    child.wait()?;
    Ok(())
}

fn follow_log(
    place: &Place,
    zygote: &Zygote,
    argv: &[&str],
    latencies: &mut Vec<Duration>,
) -> anyhow::Result<()> {
    let spec = place.limited_spec(argv);
    let mut started = running(zygote.start_exec(&place.state, &place.id(), &spec, &[]))?;
    let mut log = LogReader::open(&started.exec.log_dir(), 0)?;
    let supervisor = ControlClient::connect(&started.exec)?;
    let mut ended = false;
    while !ended {
        ended = matches!(supervisor.receive()?, Some(Notice::Ended) | None);
        while let Some(entry) = log.next()? {
            let Entry::Record(record) = entry else {
                continue;
            };
            for line in std::str::from_utf8(record.bytes)?.lines() {
                latencies.push(lines::age(line)?);
            }
        }
    }
    clear_away(&mut started)
}
