//! What watching costs: processor time of the watcher's thread beside live execs.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cogo_sandbox::control::{ControlClient, Request};
use cogo_sandbox::spec::Limits;
use cogo_sandbox::start::{Launcher, Start, Started, start};
use cogo_worker::block::{Watch, WatchOptions, Watcher};

use crate::host::Place;

/// What live execs do: sleep, serve, poll, keep many threads with timers, use the processor.
const KINDS: [&str; 5] = [
    "sleep 1000",
    "exec python3 -m http.server 8000 --bind 127.0.0.1",
    "while :; do sleep 1; done",
    "exec node -e 'setInterval(() => {}, 100)'",
    "while :; do sleep 0.01; i=0; while [ $i -lt 500 ]; do i=$((i+1)); done; done",
];

/// How long an exec counts as new.
const SETTLED: Duration = Duration::from_secs(30);

/// Watches that many execs for that long.
pub(crate) fn run(execs: usize, time: Duration) -> anyhow::Result<()> {
    let place = Place::on_disk()?;
    let watcher = Watcher::start()?;
    let mut started = Vec::new();
    for index in 0..execs {
        started.push(watched(&place, index, &watcher)?);
    }
    // A new exec is looked at closely for a while; what is measured is the cost of living.
    let at_first = watcher_time()?;
    std::thread::sleep(SETTLED);
    let before = watcher_time()?;
    println!(
        "{execs} new execs for {SETTLED:?}: {:?} of processor time",
        before.saturating_sub(at_first)
    );
    let begun = Instant::now();
    std::thread::sleep(time);
    let used = watcher_time()?.saturating_sub(before);
    let share = 100.0 * used.as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("{execs} execs for {time:?}: {used:?} of processor time, {share:.2} % of a core");
    drop(watcher);
    for mut exec in started {
        let stop = Request::Stop {
            grace_period: Duration::ZERO,
        };
        ControlClient::connect(&exec.exec)?.send(&stop)?;
        exec.reap()?;
    }
    Ok(())
}

/// An exec with somebody who watches it.
fn watched(place: &Place, index: usize, watcher: &Watcher) -> anyhow::Result<Started> {
    let mut spec = place.spec(&["sh", "-c", KINDS[index % KINDS.len()]]);
    spec.workspace.path = place.path().join(format!("workspace-{index}"));
    std::fs::create_dir(&spec.workspace.path)?;
    spec.limits = Limits {
        pids: Some(200),
        memory: Some(1 << 30),
        ..Limits::default()
    };
    let id = format!("cost-{}-{index}", std::process::id());
    let started = start(&Launcher::default(), &place.state, &id, &spec, &[])?;
    let Start::Running(started) = started else {
        bail!("not started");
    };
    let options = WatchOptions::default();
    let watch = Watch::open(
        &started.exec,
        &started.running,
        &spec,
        options,
        Instant::now(),
    )?;
    watcher.watch(&id, watch, |news| println!("said: {news:?}"));
    Ok(started)
}

/// Processor time of the thread of that name in this process.
fn watcher_time() -> anyhow::Result<Duration> {
    for entry in std::fs::read_dir("/proc/self/task")? {
        let path = entry?.path();
        if std::fs::read_to_string(path.join("comm"))?.trim() == "block-watcher" {
            let text = std::fs::read_to_string(path.join("schedstat"))?;
            let nanoseconds = text
                .split_whitespace()
                .next()
                .context("no figure")?
                .parse()?;
            return Ok(Duration::from_nanos(nanoseconds));
        }
    }
    bail!("no thread of that name")
}
