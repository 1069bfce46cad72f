//! How fast tasks come through: one at a time, and as many as there is room for.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::runtime::Runtime;

use super::client::{Client, Heard, http};
use super::contender::{Contender, Kind, Setup};
use super::{Options, cells, each};

/// Connections that bring tasks at once.
const CLIENTS: usize = 10;
/// Tasks that each of them has under way.
const UNDER_WAY: usize = 8;

pub(super) fn run(runtime: &Runtime, setup: &Setup, options: &Options) -> anyhow::Result<()> {
    println!("`true`, one at a time, from the request on:\n");
    println!("| what | until | min ms | p50 ms | p99 ms |");
    println!("|---|---|---|---|---|");
    let single = [(Kind::Serve, 1), (Kind::Worker, 1), (Kind::Seed, 1)];
    each(setup, &single, |contender| {
        let (mut starts, mut ends) = runtime.block_on(one_at_a_time(contender, options.single))?;
        let name = contender.kind.name();
        if contender.kind == Kind::Serve {
            let mut leases = leases(contender, options.single)?;
            println!(
                "| {name} | leased, durable (HTTP) | {} |",
                cells(&mut leases)
            );
        }
        println!("| {name} | started | {} |", cells(&mut starts));
        println!("| {name} | verdict | {} |", cells(&mut ends));
        Ok(())
    })?;
    println!("\n`true`, {CLIENTS} clients with {UNDER_WAY} tasks each under way, 10 workers:\n");
    println!("| what | tasks/s |");
    println!("|---|---|");
    each(setup, &[(Kind::Serve, 10), (Kind::Seed, 10)], |contender| {
        let time = runtime.block_on(many_at_a_time(contender, options.many))?;
        let rate = options.many as f64 / time.as_secs_f64();
        println!("| {} | {rate:.0} |", contender.kind.name());
        Ok(())
    })
}

/// Times from the request to the start and to the verdict.
async fn one_at_a_time(
    contender: &Contender,
    count: usize,
) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let (path, form) = (contender.path(), contender.form());
    let mut client = Client::connect(contender.address, path, form).await?;
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    // The first ones fill caches and do not count.
    for n in 0..count + 20 {
        let id = format!("single-{n}");
        let began_at = Instant::now();
        client.execute(&id, "true", &contender.request()).await?;
        let mut started = None;
        loop {
            match client.next().await? {
                Heard::Started => started = Some(began_at.elapsed()),
                Heard::Ended(_) => break,
                Heard::Output(_) | Heard::Other => {}
            }
        }
        if n >= 20 {
            ends.push(began_at.elapsed());
            starts.extend(started);
        }
    }
    Ok((starts, ends))
}

/// Times from the request until it is answered that a worker has the task, durably.
fn leases(contender: &Contender, count: usize) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for n in 0..count {
        let mut body = contender.request();
        body["taskId"] = json!(format!("lease-{n}"));
        body["command"] = json!("true");
        let began_at = Instant::now();
        let answer = http(contender.address, "POST", "/execute", &body)?;
        times.push(began_at.elapsed());
        let status = &answer["status"];
        anyhow::ensure!(*status == "leased" || *status == "running", "{answer}");
        contender.await_so("the task's end", || {
            let health = contender.get("/health").unwrap_or_default();
            health["running"] == 0
        })?;
    }
    Ok(times)
}

async fn many_at_a_time(contender: &Contender, count: usize) -> anyhow::Result<Duration> {
    // The first ones fill caches and do not count.
    burst(contender, "warm", count / 10).await?;
    let began_at = Instant::now();
    burst(contender, "many", count).await?;
    Ok(began_at.elapsed())
}

async fn burst(contender: &Contender, prefix: &str, count: usize) -> anyhow::Result<()> {
    let mut clients = Vec::new();
    for n in 0..CLIENTS {
        let (path, form) = (contender.path(), contender.form());
        let client = Client::connect(contender.address, path, form).await?;
        let (request, prefix) = (contender.request(), format!("{prefix}-{n}-"));
        clients.push(tokio::spawn(submit(
            client,
            request,
            prefix,
            count / CLIENTS,
        )));
    }
    for client in clients {
        client.await??;
    }
    Ok(())
}

/// Keeps tasks under way until so many have ended.
async fn submit(
    mut client: Client,
    request: serde_json::Value,
    prefix: String,
    count: usize,
) -> anyhow::Result<()> {
    let (mut sent, mut ended) = (0, 0);
    while ended < count {
        while sent < count && sent - ended < UNDER_WAY {
            client
                .execute(&format!("{prefix}{sent}"), "true", &request)
                .await?;
            sent += 1;
        }
        if let Heard::Ended(task_id) = client.next().await?
            && task_id.starts_with(&prefix)
        {
            ended += 1;
        }
    }
    Ok(())
}
