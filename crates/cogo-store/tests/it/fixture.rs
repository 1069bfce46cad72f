//! Places where a store is kept, records to put into it, and waiting.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use cogo_protocol::exec::Isolation;
use cogo_protocol::job::{JobKind, JobState};
use cogo_protocol::recovery::{Adjustment, Cause, RecoveryRecord, Strategy};
use cogo_protocol::task::{Fence, TaskId, TaskRequest, TaskState};
use cogo_protocol::verdict::{Outcome, Verdict};
use cogo_protocol::worker::Capabilities;
use cogo_store::{
    AttemptRecord, Change, EventRecord, JobRecord, Scope, Store, StoreError, TaskRecord,
    TokenRecord, WorkerRecord,
};
use tempfile::TempDir;

/// Where one store is kept. It can be opened again once it was dropped.
pub(crate) trait Place {
    /// A place where nothing is yet.
    fn new() -> Self;
    /// Opens what is kept there.
    fn open(&self) -> Arc<dyn Store>;
}

/// Commits and waits.
pub(crate) fn commit(store: &dyn Store, changes: Vec<Change>) -> Result<(), StoreError> {
    begin(store, changes).recv().unwrap()
}

/// Commits; what becomes of it comes through the channel.
pub(crate) fn begin(store: &dyn Store, changes: Vec<Change>) -> Receiver<Result<(), StoreError>> {
    let (sender, receiver) = mpsc::channel();
    store.commit(
        changes,
        Box::new(move |result| {
            // Not everyone waits for the answer.
            let _ = sender.send(result);
        }),
    );
    receiver
}

/// Keeps the writer in a `done` until the sender is dropped, so that what comes meanwhile becomes
/// one group.
pub(crate) fn hold_writer(store: &dyn Store) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (arrive, arrived) = mpsc::channel();
    store.commit(
        Vec::new(),
        Box::new(move |_| {
            arrive.send(()).unwrap();
            let _ = released.recv();
        }),
    );
    arrived.recv().unwrap();
    release
}

pub(crate) fn id(text: &str) -> TaskId {
    text.parse().unwrap()
}

pub(crate) fn task(name: &str, number: u64, state: TaskState) -> TaskRecord {
    let mut request = TaskRequest::default();
    request.command.command = Some(format!("make {name}"));
    TaskRecord {
        id: id(name),
        request,
        submitter: "local".to_owned(),
        number,
        state,
        cancel_requested: false,
        attempts: Vec::new(),
        recoveries: Vec::new(),
        exit_code: None,
        verdict: None,
        usage: None,
        error: None,
        created_at_ms: 1_700_000_000_000 + number,
        started_at_ms: None,
        ended_at_ms: None,
    }
}

/// A task that ran, with every field filled.
pub(crate) fn ended_task(name: &str, number: u64) -> TaskRecord {
    let attempt = AttemptRecord {
        number: 1,
        fence: Fence(3),
        worker_id: "worker-1".parse().unwrap(),
        exec_id: None,
        leased_at_ms: 2,
        started_at_ms: Some(3),
        ended_at_ms: Some(u64::MAX),
        result: Some("exited with 1\n\"quoted\"".to_owned()),
        end: None,
        log_end: Some(77),
        output_missing: Vec::new(),
    };
    TaskRecord {
        attempts: vec![
            attempt.clone(),
            AttemptRecord {
                number: 2,
                ..attempt
            },
        ],
        recoveries: vec![RecoveryRecord {
            after_attempt: 1,
            worker_id: "worker-1".parse().unwrap(),
            cause: Cause::OutOfMemory {
                limit_bytes: 1 << 20,
                peak_bytes: 1 << 20,
            },
            strategy: Strategy::MoreMemory,
            change: Adjustment {
                memory_bytes: Some(1 << 21),
                ..Adjustment::default()
            },
            note: "more".to_owned(),
            decided_at: 5,
            result: None,
        }],
        exit_code: Some(-1),
        verdict: Some(Verdict {
            outcome: Outcome::Exited { code: 1 },
            incidents: Vec::new(),
            survivors: 0,
        }),
        error: Some("grün \u{0} 🦀".to_owned()),
        started_at_ms: Some(3),
        ended_at_ms: Some(4),
        cancel_requested: true,
        ..task(name, number, TaskState::Failed)
    }
}

pub(crate) fn worker(name: &str) -> WorkerRecord {
    WorkerRecord {
        id: name.parse().unwrap(),
        kind: "basic".to_owned(),
        local: true,
        draining: false,
        capabilities: Capabilities {
            slots: 4,
            // Not every parser of numbers reads this one back.
            cpus: 0.100_000_000_000_000_02,
            memory_bytes: u64::MAX,
            labels: [("os".to_owned(), "linux".to_owned())].into(),
        },
        isolation: vec![Isolation::Strict, Isolation::None],
        created_at_ms: 5,
    }
}

pub(crate) fn event(number: u64) -> EventRecord {
    EventRecord {
        number,
        timestamp_ms: number * 2,
        task_id: number.is_multiple_of(2).then(|| id("t")),
        worker_id: None,
        json: format!(r#"{{"number":{number}}}"#),
    }
}

pub(crate) fn token(name: &str) -> TokenRecord {
    TokenRecord {
        name: name.to_owned(),
        sha256: [0xa5; 32],
        scopes: vec![Scope::Submit, Scope::WorkerJoin],
        created_at_ms: 1,
        expires_at_ms: Some(2),
    }
}

pub(crate) fn job(name: &str, state: JobState) -> JobRecord {
    JobRecord {
        id: name.parse().unwrap(),
        kind: JobKind::Plan,
        request: serde_json::json!({"plan": "steps: []", "inputs": ["a=b"]}),
        submitter: "ci".to_owned(),
        state,
        cancel_requested: false,
        progress: None,
        result: state.is_final().then(|| serde_json::json!([1, "two"])),
        error: None,
        created_at_ms: 1,
        started_at_ms: Some(2),
        ended_at_ms: state.is_final().then_some(3),
    }
}

pub(crate) fn put_job(job: &JobRecord) -> Change {
    Change::JobPut(Box::new(job.clone()))
}

pub(crate) fn put_task(task: &TaskRecord) -> Change {
    Change::TaskPut(Box::new(task.clone()))
}

pub(crate) fn put_worker(worker: &WorkerRecord) -> Change {
    Change::WorkerPut(Box::new(worker.clone()))
}

pub(crate) fn put_token(token: &TokenRecord) -> Change {
    Change::TokenPut(Box::new(token.clone()))
}

pub(crate) fn append(number: u64) -> Change {
    Change::EventAppend(Box::new(event(number)))
}

/// A small file system of its own, gone when dropped.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` for who may not mount.
    pub(crate) fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        if fs::metadata("/proc/self").unwrap().uid() != 0 {
            println!("not root: this test needs a file system of its own");
            return None;
        }
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", folder.path(), "tmpfs", flags, c"size=3m").unwrap();
        Some(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let flags = rustix::mount::UnmountFlags::DETACH;
        rustix::mount::unmount(self.0.path(), flags).unwrap();
    }
}
