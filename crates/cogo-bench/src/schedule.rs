//! How long the manager's coordinator takes to decide, with a full house: many workers, all busy,
//! and many tasks that wait. Everything around it is left out, its clock is virtual.
//!
//! Figures are processor time of the one thread: a decision never waits for anything, and what
//! else the machine does is not its doing.

use std::time::Duration;

use anyhow::{Context, ensure};
use cogo_manager::clock::Now;
use cogo_manager::coordinator::{
    ClientRequest, Config, ConnectionId, Coordinator, Effect, Input, Known, ReplyId, Restored, Step,
};
use cogo_manager::rules::pool::PoolConfig;
use cogo_protocol::command::{CommandRequest, WorkspaceRequest};
use cogo_protocol::exec::Isolation;
use cogo_protocol::message::{
    ExecuteCommand, FromWorker, Heartbeat, PROTOCOL_VERSION, TaskComplete, ToWorker, Welcome,
};
use cogo_protocol::task::{Priority, Requirements, TaskRequest};
use cogo_protocol::worker::{Capabilities, Health, WorkerId, WorkerStatus};
use rustix::time::{ClockId, clock_gettime};

const KINDS: [&str; 3] = ["basic", "flutter", "analysis"];
const ZONES: [&str; 3] = ["a", "b", "c"];
const SUBMITTERS: u64 = 40;
const SLOTS: u32 = 4;

/// Fills a coordinator and times its decisions.
pub(crate) fn run(tasks: u64, workers: u64, rounds: u64) -> anyhow::Result<()> {
    ensure!(rounds <= tasks, "there are fewer tasks than rounds");
    let mut house = House::new(tasks);
    let mut connect = Times::new("worker connects");
    for number in 0..workers {
        connect.time(|| house.connect(number));
    }
    let mut free = Times::new("submit, a worker is free");
    let mut full = Times::new("submit, it has to wait");
    for number in 0..tasks + workers * u64::from(SLOTS) {
        let (step, took) = house.submit(number);
        let leased = house.note_leases(step) > 0;
        (if leased { &mut free } else { &mut full }).0.push(took);
    }
    let mut assign = Times::new("completion, the next task is leased");
    let mut heartbeat = Times::new("heartbeat");
    let mut list = Times::new("list the first 100 of the queue");
    for round in 0..rounds {
        let (step, took) = house.complete(round)?;
        ensure!(house.note_leases(step) > 0, "a free slot got nothing");
        assign.0.push(took);
        heartbeat.time(|| house.heartbeat(round));
        if round % 100 == 0 {
            list.time(|| house.list());
        }
    }
    println!("{tasks} tasks wait, {workers} workers with {SLOTS} slots each are busy");
    println!("resident: {} MiB", resident_mib()?);
    println!("| decision | times | p50 µs | p99 µs | max µs |");
    println!("|---|---|---|---|---|");
    for mut times in [connect, free, full, assign, heartbeat, list] {
        times.print();
    }
    Ok(())
}

/// A coordinator with its workers.
struct House {
    coordinator: Coordinator,
    now: Now,
    /// Commands that run, with where.
    running: Vec<(ConnectionId, ExecuteCommand)>,
}

impl House {
    fn new(tasks: u64) -> Self {
        let now = Now {
            monotonic: Duration::ZERO,
            unix_ms: 1_700_000_000_000,
        };
        let config = Config {
            queue_bound: usize::MAX,
            // Nobody sends heartbeats for those that are not looked at.
            lease: Duration::from_hours(24),
            start_timeout: Duration::from_hours(24),
            pool: PoolConfig {
                max: 0,
                ..PoolConfig::default()
            },
            ..Config::default()
        };
        let (coordinator, _) = Coordinator::new(config, Restored::default(), now);
        Self {
            coordinator,
            now,
            running: Vec::with_capacity(tasks as usize),
        }
    }

    fn handle(&mut self, input: Input) -> (Step, Duration) {
        self.now.monotonic += Duration::from_micros(100);
        let start = processor_time();
        let step = self.coordinator.handle(input, self.now);
        (step, processor_time().saturating_sub(start))
    }

    fn connect(&mut self, number: u64) -> Duration {
        let label = |text: &str| ("zone".to_owned(), text.to_owned());
        let welcome = Welcome {
            worker_id: worker_id(number),
            worker_type: KINDS[number as usize % KINDS.len()].to_owned(),
            protocol_version: PROTOCOL_VERSION,
            capabilities: Capabilities {
                slots: SLOTS,
                cpus: f64::from(SLOTS),
                memory_bytes: 16 << 30,
                labels: [label(ZONES[number as usize / KINDS.len() % ZONES.len()])].into(),
            },
            isolation: vec![Isolation::Strict],
            tasks: Vec::new(),
            timestamp: 0,
        };
        let input = Input::WorkerConnected {
            connection: ConnectionId(number),
            welcome: Box::new(welcome),
        };
        self.handle(input).1
    }

    fn submit(&mut self, number: u64) -> (Step, Duration) {
        let dice = scatter(number);
        let pick = |shift: u32, among: u64| dice.rotate_right(shift) % among;
        let requirements = Requirements {
            kind: (pick(3, 4) > 0).then(|| KINDS[pick(7, 3) as usize].to_owned()),
            labels: match pick(11, 3) {
                0 => [("zone".to_owned(), ZONES[pick(13, 3) as usize].to_owned())].into(),
                _ => [].into(),
            },
            cpu: (pick(17, 2) == 0).then_some(1.0),
            ..Requirements::default()
        };
        let request = TaskRequest {
            command: CommandRequest {
                command: Some("cargo test".to_owned()),
                workspace: Some(WorkspaceRequest::Path(format!("/src/{}", pick(19, 5000)))),
                ..CommandRequest::default()
            },
            requirements,
            priority: Priority::try_from(pick(23, 10) as u8).unwrap_or_default(),
            ..TaskRequest::default()
        };
        let submit = ClientRequest::Submit {
            task_id: format!("task-{number}").parse().expect("a short name"),
            request: Box::new(request),
            submitter: format!("agent-{}", pick(29, SUBMITTERS)),
            known: Known::Fresh,
        };
        self.handle(Input::Request(ReplyId(number), submit))
    }

    /// Remembers what was sent to workers, and says how many commands that was.
    fn note_leases(&mut self, step: Step) -> usize {
        let before = self.running.len();
        for effect in step.effects {
            if let Effect::Send(connection, message) = effect
                && let ToWorker::ExecuteCommand(execute) = *message
            {
                self.running.push((connection, *execute));
            }
        }
        self.running.len() - before
    }

    /// One of the commands that run ends.
    fn complete(&mut self, round: u64) -> anyhow::Result<(Step, Duration)> {
        ensure!(!self.running.is_empty(), "nothing runs");
        let index = scatter(round) as usize % self.running.len();
        let (connection, execute) = self.running.swap_remove(index);
        let complete = TaskComplete {
            task_id: execute.task_id,
            worker_id: worker_id(connection.0),
            exit_code: 0,
            timestamp: 0,
            verdict: None,
            usage: None,
            last_seq: None,
            duration_ms: None,
            attempt: execute.attempt,
            fence: execute.fence,
        };
        let message = Box::new(FromWorker::TaskComplete(Box::new(complete)));
        Ok(self.handle(Input::WorkerSaid(connection, message)))
    }

    fn heartbeat(&mut self, round: u64) -> Duration {
        let connection = self.running[scatter(round) as usize % self.running.len()].0;
        let message = Box::new(FromWorker::Heartbeat(Heartbeat {
            worker_id: worker_id(connection.0),
            timestamp: 0,
            status: WorkerStatus::Busy,
            health: Health::default(),
            draining: false,
            current_task: None,
            tasks: Vec::new(),
        }));
        self.handle(Input::WorkerSaid(connection, message)).1
    }

    fn list(&mut self) -> Duration {
        let request = ClientRequest::Queue { limit: 100 };
        self.handle(Input::Request(ReplyId(0), request)).1
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn worker_id(number: u64) -> WorkerId {
    (format!("worker-{number}").parse()).expect("a short name")
}

/// Numbers in no order that repeat from run to run.
fn scatter(number: u64) -> u64 {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

fn resident_mib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib
        .context("no VmRSS in /proc/self/status")?
        .parse::<u64>()?
        / 1024)
}

/// The times of one sort of decision.
struct Times(Vec<Duration>, &'static str);

impl Times {
    const fn new(what: &'static str) -> Self {
        Self(Vec::new(), what)
    }

    fn time(&mut self, decide: impl FnOnce() -> Duration) {
        self.0.push(decide());
    }

    fn print(&mut self) {
        self.0.sort_unstable();
        let Some(last) = self.0.len().checked_sub(1) else {
            return;
        };
        let micros = |index: usize| self.0[index].as_secs_f64() * 1e6;
        println!(
            "| {} | {} | {:.1} | {:.1} | {:.1} |",
            self.1,
            last + 1,
            micros(last / 2),
            micros(last * 99 / 100),
            micros(last)
        );
    }
}
