//! How long it takes until all is as it was when a worker was killed.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::runtime::Runtime;

use super::client::http;
use super::contender::{Contender, Kind, Setup};
use super::{Options, each};

/// Tasks that run when it happens.
const TASKS: usize = 4;

pub(super) fn run(_: &Runtime, setup: &Setup, _: &Options) -> anyhow::Result<()> {
    println!("`kill -9` of a worker with {TASKS} running tasks, lease of 10 s:\n");
    println!("| what | recovered after s |");
    println!("|---|---|");
    each(setup, &[(Kind::Serve, 1)], |contender| {
        let time = local(contender)?;
        println!(
            "| a local worker is back with its tasks | {:.2} |",
            time.as_secs_f64()
        );
        Ok(())
    })?;
    each(setup, &[(Kind::Serve, 0)], |contender| {
        let time = remote(contender)?;
        println!(
            "| tasks of a remote worker run elsewhere | {:.2} |",
            time.as_secs_f64()
        );
        Ok(())
    })
}

fn local(contender: &Contender) -> anyhow::Result<Duration> {
    submit(contender)?;
    await_running(contender, None)?;
    let before = contender.workers()?;
    let began_at = Instant::now();
    for worker in &before {
        kill_process(*worker, Signal::KILL)?;
    }
    contender.await_so("the worker", || {
        let again = contender.workers().is_ok_and(|workers| workers != before);
        let health = contender.get("/health").unwrap_or_default();
        again && health["workersConnected"] == 1
    })?;
    Ok(began_at.elapsed())
}

fn remote(contender: &Contender) -> anyhow::Result<Duration> {
    let mut first = contender.join("first")?;
    connected(contender, 1)?;
    submit(contender)?;
    await_running(contender, Some("first"))?;
    let mut second = contender.join("second")?;
    connected(contender, 2)?;
    let began_at = Instant::now();
    kill_process(Pid::from_child(&first), Signal::KILL)?;
    first.wait()?;
    await_running(contender, Some("second"))?;
    let time = began_at.elapsed();
    second.kill()?;
    second.wait()?;
    Ok(time)
}

fn submit(contender: &Contender) -> anyhow::Result<()> {
    for n in 0..TASKS {
        let mut body = contender.request();
        body["taskId"] = json!(format!("task-{n}"));
        body["command"] = json!("sleep 1000");
        http(contender.address, "POST", "/execute", &body)?;
    }
    Ok(())
}

fn connected(contender: &Contender, count: usize) -> anyhow::Result<()> {
    contender.await_so("workers", || {
        let health = contender.get("/health").unwrap_or_default();
        health["workersConnected"] == count
    })
}

fn await_running(contender: &Contender, on: Option<&str>) -> anyhow::Result<()> {
    contender.await_so("running tasks", || {
        (0..TASKS).all(|n| {
            let task = contender
                .get(&format!("/tasks/task-{n}"))
                .unwrap_or_default();
            task["status"] == "running" && on.is_none_or(|worker| task["workerId"] == worker)
        })
    })
}
