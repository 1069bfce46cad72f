//! How fast output comes through, and how late it is.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::client::{Client, Heard};
use super::contender::{Contender, Kind, Setup};
use super::{Options, cells, each};
use crate::lines;

const MIB: usize = 1 << 20;

pub(super) fn run(runtime: &Runtime, setup: &Setup, options: &Options) -> anyhow::Result<()> {
    let all = [(Kind::Serve, 1), (Kind::Worker, 1), (Kind::Seed, 1)];
    println!("A program that writes as fast as it can, to a client that only counts:\n");
    println!("| what | `yes`, MB/s | lines of 4 KiB, MB/s |");
    println!("|---|---|---|");
    each(setup, &all, |contender| {
        let mut rates = Vec::new();
        for (name, line) in [("short", ""), ("long", " $(printf %4095s x)")] {
            // The seed design is given less, or nobody could wait for it.
            let bytes = match contender.kind {
                Kind::Serve | Kind::Worker => options.stream * MIB,
                Kind::Seed => options.stream * MIB / 16,
            };
            let command = format!("yes{line} | head -c {bytes}");
            let time = runtime.block_on(stream(contender, name, &command, bytes))?;
            rates.push(bytes as f64 / time.as_secs_f64() / 1e6);
        }
        let name = contender.kind.name();
        println!("| {name} | {:.0} | {:.0} |", rates[0], rates[1]);
        Ok(())
    })?;
    println!("\nFrom a program's write of a line to the client, a line every millisecond:\n");
    println!("| what | min ms | p50 ms | p99 ms |");
    println!("|---|---|---|---|");
    each(setup, &all, |contender| {
        let command = setup.lines(2000, Duration::from_millis(1));
        let mut times = runtime.block_on(delays(contender, &command))?;
        println!("| {} | {} |", contender.kind.name(), cells(&mut times));
        Ok(())
    })
}

/// Time from a task's start to its end, when all that it wrote has come.
async fn stream(
    contender: &Contender,
    id: &str,
    command: &str,
    bytes: usize,
) -> anyhow::Result<Duration> {
    let (path, form) = (contender.path(), contender.form());
    let mut client = Client::connect(contender.address, path, form).await?;
    client.execute(id, command, &contender.request()).await?;
    let mut began_at = Instant::now();
    let mut seen = 0;
    loop {
        match client.next().await? {
            Heard::Started => began_at = Instant::now(),
            Heard::Output(output) => seen += output.len(),
            Heard::Ended(_) => break,
            Heard::Other => {}
        }
    }
    anyhow::ensure!(seen == bytes, "{seen} of {bytes} bytes came");
    Ok(began_at.elapsed())
}

async fn delays(contender: &Contender, command: &str) -> anyhow::Result<Vec<Duration>> {
    let (path, form) = (contender.path(), contender.form());
    let mut client = Client::connect(contender.address, path, form).await?;
    client
        .execute("delays", command, &contender.request())
        .await?;
    let mut times = Vec::new();
    let mut rest = Vec::new();
    loop {
        match client.next().await? {
            Heard::Output(output) => {
                rest.extend(output);
                let text = lines::whole(&mut rest)?;
                for line in text.lines() {
                    times.push(lines::age(line)?);
                }
            }
            Heard::Ended(_) => return Ok(times),
            Heard::Started | Heard::Other => {}
        }
    }
}
