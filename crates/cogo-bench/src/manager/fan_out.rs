//! Many clients follow one task, and one of them does not read.

use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::runtime::Runtime;

use super::client::{Client, Heard};
use super::contender::{Contender, Kind, Setup};
use super::{Options, each};
use crate::lines;

/// Lines of the task.
const LINES: u32 = 5000;
/// Pause of the program after each.
const PAUSE: Duration = Duration::from_micros(400);

pub(super) fn run(runtime: &Runtime, setup: &Setup, options: &Options) -> anyhow::Result<()> {
    let command = setup.lines(LINES, PAUSE);
    println!(
        "{LINES} lines of one task, a write every {PAUSE:?} or so, to {} clients that follow it and \
         one more that does not read. A delivery is a line that has come to a client.\n",
        options.subscribers
    );
    println!("| what | clients | deliveries/s | all told after s | the program took s |");
    println!("|---|---|---|---|---|");
    for subscribers in [1, options.subscribers] {
        each(setup, &[(Kind::Serve, 1), (Kind::Seed, 1)], |contender| {
            let name = contender.kind.name();
            let measured = runtime.block_on(async {
                let patience = Duration::from_mins(2);
                tokio::time::timeout(patience, fan_out(contender, &command, subscribers)).await
            });
            match measured {
                Ok(Ok((all, program))) => {
                    let deliveries = subscribers as f64 * f64::from(LINES) / all.as_secs_f64();
                    let (all, program) = (all.as_secs_f64(), program.as_secs_f64());
                    println!(
                        "| {name} | {subscribers} | {deliveries:.0} | {all:.2} | {program:.2} |"
                    );
                }
                Ok(Err(error)) if contender.kind != Kind::Seed => return Err(error),
                Ok(Err(error)) => println!("| {name} | {subscribers} | {error:#} | | |"),
                Err(_) => println!("| {name} | {subscribers} | not done after 2 min | | |"),
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The time from the task's start until all clients have heard its end, and the time between the
/// program's first and last line.
async fn fan_out(
    contender: &Contender,
    command: &str,
    subscribers: usize,
) -> anyhow::Result<(Duration, Duration)> {
    let form = contender.form();
    let mut driver = Client::connect(contender.address, contender.path(), form).await?;
    // The task begins when everyone is there.
    let gate = tempfile::NamedTempFile::new_in(contender.workspace())?;
    gate.as_file().lock()?;
    let gated = format!("flock -s {} true; {command}", gate.path().display());
    driver
        .execute("fan-out", &gated, &contender.request())
        .await?;
    while !matches!(driver.next().await?, Heard::Started) {}
    let path = match contender.kind {
        Kind::Serve => "/api/sandbox/tasks/fan-out/stream?fromSeq=0",
        Kind::Worker | Kind::Seed => contender.path(),
    };
    let mut clients = Vec::new();
    for _ in 0..subscribers {
        clients.push(Client::connect(contender.address, path, form).await?);
    }
    let _not_read = Client::connect(contender.address, path, form).await?;
    let followers: Vec<_> = (clients.into_iter())
        .map(|client| tokio::spawn(follow(client)))
        .collect();
    let program = tokio::spawn(follow(driver));
    let began_at = Instant::now();
    drop(gate);
    for follower in followers {
        follower.await??;
    }
    let all = began_at.elapsed();
    let (first, last) = program.await??;
    Ok((all, last.saturating_sub(first)))
}

/// Reads to the end. Gives the times in the first and the last line.
async fn follow(mut client: Client) -> anyhow::Result<(Duration, Duration)> {
    let (mut count, mut rest) = (0, Vec::new());
    let mut times: Option<(Duration, Duration)> = None;
    loop {
        match client.next().await? {
            Heard::Output(output) => {
                rest.extend(output);
                let text = lines::whole(&mut rest)?;
                count += text.lines().count();
                if let (Some(first), Some(last)) = (text.lines().next(), text.lines().next_back()) {
                    let first = times.map_or(lines::written(first)?, |times| times.0);
                    times = Some((first, lines::written(last)?));
                }
            }
            Heard::Ended(_) => break,
            Heard::Started | Heard::Other => {}
        }
    }
    anyhow::ensure!(count == LINES as usize, "{count} of {LINES} lines came");
    times.context("no lines came")
}
