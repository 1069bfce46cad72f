//! What the store commits and the task log takes and gives in a second.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Barrier;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cogo_protocol::frame::OutputHeader;
use cogo_protocol::record::Stream;
use cogo_protocol::task::{Fence, TaskId, TaskRequest, TaskState};
use cogo_store::task_log::{Reader, TaskLogs};
use cogo_store::{AttemptRecord, Change, Durability, SqliteStore, Store, TaskRecord};

/// Transitions of a group; so many calls wait at once.
const GROUP: u64 = 64;
const COMMITS_ALONE: u64 = 300;
const GROUPS: u64 = 150;
/// Tasks whose state changes; they were submitted before.
const TASKS: u64 = 4096;

const READERS: usize = 1000;
const READER_THREADS: usize = 4;

/// Something with a rate.
struct Contender<'a> {
    name: &'static str,
    unit: &'static str,
    run: Box<dyn FnMut() -> anyhow::Result<f64> + 'a>,
    rates: Vec<f64>,
}

impl<'a> Contender<'a> {
    fn new(
        name: &'static str,
        unit: &'static str,
        run: impl FnMut() -> anyhow::Result<f64> + 'a,
    ) -> Self {
        Self {
            name,
            unit,
            run: Box::new(run),
            rates: Vec::new(),
        }
    }
}

/// Measures all of it on one disk, in turns.
pub(crate) fn run(dir: &Path, rounds: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(dir)?;
    let full = Transitions::open(&folder.path().join("full.db"), Durability::Full)?;
    let normal = Transitions::open(&folder.path().join("normal.db"), Durability::Normal)?;
    let floor = folder.path().join("floor");
    let logs = TaskLogs::open(&folder.path().join("logs"))?;
    let mut round = 0;
    let mut fence = || {
        round += 1;
        Fence(round)
    };
    let mut contenders = [
        Contender::new("append 100 B and fdatasync", "/s", || {
            append_and_sync(&floor)
        }),
        Contender::new("Full, one commit at a time", "/s", || full.alone()),
        Contender::new("Full, groups of 64 calls", "/s", || full.in_groups()),
        Contender::new("Full, calls of 64 transitions", "/s", || full.in_calls()),
        Contender::new("Normal, one commit at a time", "/s", || normal.alone()),
        Contender::new("Normal, groups of 64 calls", "/s", || normal.in_groups()),
        Contender::new("Normal, calls of 64 transitions", "/s", || {
            normal.in_calls()
        }),
        Contender::new("task log, 64 KiB records, one by one", "MB/s", || {
            append_log(&logs, 64 << 10, 1)
        }),
        Contender::new("task log, 100 B records in batches of 64", "MB/s", || {
            append_log(&logs, 100, 64)
        }),
        Contender::new("1,000 readers of one live log", "records/s", || {
            many_readers(&logs, fence())
        }),
    ];
    for _ in 0..rounds.max(1) {
        for contender in &mut contenders {
            let rate = (contender.run)().with_context(|| contender.name)?;
            contender.rates.push(rate);
        }
    }
    print(&mut contenders);
    Ok(())
}

fn print(contenders: &mut [Contender<'_>]) {
    println!("| what | lowest | median | highest | |");
    println!("|---|---|---|---|---|");
    for contender in contenders {
        let rates = &mut contender.rates;
        rates.sort_unstable_by(f64::total_cmp);
        println!(
            "| {} | {:.0} | {:.0} | {:.0} | {} |",
            contender.name,
            rates[0],
            rates[rates.len() / 2],
            rates[rates.len() - 1],
            contender.unit
        );
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// What the disk allows to a log that waits for each of its records.
fn append_and_sync(path: &Path) -> anyhow::Result<f64> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let start = Instant::now();
    for _ in 0..COMMITS_ALONE {
        file.write_all(&[b'x'; 100])?;
        file.sync_data()?;
    }
    Ok(per_second(COMMITS_ALONE, start.elapsed()))
}

/// A store with tasks whose state changes.
struct Transitions {
    store: SqliteStore,
    tasks: Vec<TaskRecord>,
}

impl Transitions {
    fn open(path: &Path, durability: Durability) -> anyhow::Result<Self> {
        let store = SqliteStore::open(path, durability)?;
        let tasks = (0..TASKS).map(task).collect::<anyhow::Result<Vec<_>>>()?;
        let (sender, receiver) = mpsc::channel();
        let changes = tasks.iter().map(put).collect();
        store.commit(
            changes,
            Box::new(move |result| sender.send(result).unwrap_or(())),
        );
        receiver.recv()??;
        Ok(Self { store, tasks })
    }

    fn alone(&self) -> anyhow::Result<f64> {
        let start = Instant::now();
        for at in 0..COMMITS_ALONE {
            self.wait_for(vec![vec![self.transition(at)]])?;
        }
        Ok(per_second(COMMITS_ALONE, start.elapsed()))
    }

    /// As a busy coordinator does: each transition is a call, 64 wait at once.
    fn in_groups(&self) -> anyhow::Result<f64> {
        self.waves(|first| {
            let transitions = first..first + GROUP;
            transitions.map(|at| vec![self.transition(at)]).collect()
        })
    }

    fn in_calls(&self) -> anyhow::Result<f64> {
        self.waves(|first| {
            let transitions = first..first + GROUP;
            vec![transitions.map(|at| self.transition(at)).collect()]
        })
    }

    fn waves(&self, calls: impl Fn(u64) -> Vec<Vec<Change>>) -> anyhow::Result<f64> {
        let start = Instant::now();
        for group in 0..GROUPS {
            self.wait_for(calls(group * GROUP))?;
        }
        Ok(per_second(GROUPS * GROUP, start.elapsed()))
    }

    fn transition(&self, at: u64) -> Change {
        let mut task = self.tasks[(at % TASKS) as usize].clone();
        task.state = TaskState::Running;
        task.created_at_ms += at;
        put(&task)
    }

    fn wait_for(&self, calls: Vec<Vec<Change>>) -> anyhow::Result<()> {
        let (sender, receiver) = mpsc::channel();
        for changes in calls {
            let sender = sender.clone();
            let done = Box::new(move |result| sender.send(result).unwrap_or(()));
            self.store.commit(changes, done);
        }
        drop(sender);
        for result in receiver {
            result?;
        }
        Ok(())
    }
}

fn task(number: u64) -> anyhow::Result<TaskRecord> {
    let mut request = TaskRequest::default();
    request.command.argv = Some(["cargo", "test", "--workspace"].map(str::to_owned).into());
    let attempt = AttemptRecord {
        number: 1,
        fence: Fence(number),
        worker_id: "worker-1".parse()?,
        exec_id: None,
        leased_at_ms: number,
        started_at_ms: Some(number),
        ended_at_ms: None,
        result: None,
        end: None,
        log_end: None,
        output_missing: Vec::new(),
    };
    Ok(TaskRecord {
        id: format!("bench-{number:032}").parse()?,
        request,
        submitter: "local".to_owned(),
        number,
        state: TaskState::Queued,
        cancel_requested: false,
        attempts: vec![attempt],
        recoveries: Vec::new(),
        exit_code: None,
        verdict: None,
        usage: None,
        error: None,
        created_at_ms: 1_700_000_000_000,
        started_at_ms: None,
        ended_at_ms: None,
    })
}

fn put(task: &TaskRecord) -> Change {
    Change::TaskPut(Box::new(task.clone()))
}

fn log_task() -> anyhow::Result<TaskId> {
    Ok("bench".parse()?)
}

fn header(seq: u64) -> OutputHeader {
    OutputHeader {
        handle: 0,
        stream: Stream::Stdout,
        seq,
        timestamp_ms: seq,
    }
}

/// Writes a log of 64 MB and forgets it.
fn append_log(logs: &TaskLogs, record_len: usize, batch: u64) -> anyhow::Result<f64> {
    const BYTES: u64 = 64_000_000;
    let task_id = log_task()?;
    let output = vec![b'x'; record_len];
    let mut appender = logs.appender(&task_id, Fence(0))?;
    let start = Instant::now();
    let batches = BYTES / (record_len as u64 * batch);
    for _ in 0..batches {
        let end = appender.end();
        let records: Vec<_> = (end..end + batch)
            .map(|seq| (header(seq), &output[..]))
            .collect();
        appender.append(&records)?;
    }
    let bytes = batches * batch * record_len as u64;
    let rate = per_second(bytes, start.elapsed()) / 1e6;
    drop(appender);
    logs.remove(&task_id)?;
    Ok(rate)
}

/// A thousand readers follow a log while it is written, on a few threads, as a server has them.
fn many_readers(logs: &TaskLogs, fence: Fence) -> anyhow::Result<f64> {
    const ROUNDS: u64 = 50;
    const BATCH: u64 = 20;
    let task_id = log_task()?;
    let mut appender = logs.appender(&task_id, fence)?;
    let turn = Barrier::new(READER_THREADS + 1);
    let output = [b'x'; 100];
    let mut time = Duration::ZERO;
    let read = thread::scope(|scope| {
        let threads: Vec<_> = (0..READER_THREADS)
            .map(|_| scope.spawn(|| follow(logs, &task_id, fence, &turn, ROUNDS)))
            .collect();
        for _ in 0..ROUNDS {
            let end = appender.end();
            let records: Vec<_> = (end..end + BATCH)
                .map(|seq| (header(seq), &output[..]))
                .collect();
            // A failure is told after the turn, or the readers would wait for ever.
            let result = appender.append(&records);
            let start = Instant::now();
            turn.wait();
            turn.wait();
            time += start.elapsed();
            result?;
        }
        let mut read = 0;
        for thread in threads {
            read += thread.join().expect("a reader does not panic")?;
        }
        anyhow::Ok(read)
    })?;
    drop(appender);
    logs.remove(&task_id)?;
    ensure!(
        read == READERS as u64 * ROUNDS * BATCH,
        "records are missing: {read}"
    );
    Ok(per_second(read, time))
}

/// Reads with its share of the readers in each turn. Returns how many records they saw.
fn follow(
    logs: &TaskLogs,
    task_id: &TaskId,
    fence: Fence,
    turn: &Barrier,
    rounds: u64,
) -> anyhow::Result<u64> {
    let mut readers = Vec::new();
    let mut failure = None;
    for _ in 0..READERS / READER_THREADS {
        match logs.reader(task_id, fence, 0) {
            Ok(reader) => readers.extend(reader),
            Err(error) => failure = Some(error),
        }
    }
    let mut read = 0;
    for _ in 0..rounds {
        turn.wait();
        for reader in &mut readers {
            match to_the_end(reader) {
                Ok(count) => read += count,
                Err(error) => failure = Some(error),
            }
        }
        turn.wait();
    }
    failure.map_or(Ok(read), |error| Err(error.into()))
}

fn to_the_end(reader: &mut Reader) -> Result<u64, cogo_store::task_log::TaskLogError> {
    let mut count = 0;
    while let Some(record) = reader.next()? {
        std::hint::black_box(record.output);
        count += 1;
    }
    Ok(count)
}
