use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use cogo_protocol::job::{JobId, JobKind, JobState, JobStatus};
use cogo_protocol::message::{Progress, Stage};
use cogo_store::{Durability, SqliteStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::{EventReader, JobFailure, JobRefusal, JobRunner, JobWork, Jobs};

/// Does what the request says: `say` is reported and returned, `wait` waits to be stopped, `fail`
/// fails, `panic` panics.
struct Obedient {
    begun: mpsc::Sender<JobId>,
}

impl JobRunner for Obedient {
    fn check(&self, request: &Value) -> Result<(), String> {
        if request["do"].is_string() {
            Ok(())
        } else {
            Err("`do` is missing".to_owned())
        }
    }

    fn run(&self, work: &JobWork) -> Result<Value, JobFailure> {
        let mark = work.directory().join("begun");
        let before = fs::read_to_string(&mark).unwrap_or_default();
        fs::write(&mark, format!("{before}x")).unwrap();
        self.begun.send(work.id().clone()).unwrap();
        match work.request()["do"].as_str().unwrap() {
            "say" => {
                work.report(json!("hello"));
                work.progress(Progress {
                    percentage: 50.0,
                    stage: Stage::Building,
                    message: "half".to_owned(),
                    estimated_time_remaining: None,
                });
                Ok(json!({"said": "hello", "begun": before.len() + 1}))
            }
            "wait" => {
                work.report(json!("waiting"));
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .build()
                    .unwrap();
                runtime.block_on(work.stop().cancelled());
                Err(JobFailure::new("was stopped"))
            }
            "fail" => Err(JobFailure {
                error: "no luck".to_owned(),
                result: Some(json!(7)),
            }),
            _ => panic!("as asked"),
        }
    }
}

/// A manager's jobs, which can be stopped and started again.
struct Bench {
    folder: TempDir,
    runtime: Runtime,
    begun: mpsc::Receiver<JobId>,
    starts: mpsc::Sender<JobId>,
}

impl Bench {
    fn new() -> Self {
        let (starts, begun) = mpsc::channel();
        Self {
            folder: tempfile::tempdir().unwrap(),
            runtime: tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .unwrap(),
            begun,
            starts,
        }
    }

    fn start(&self) -> (Arc<Jobs>, CancellationToken) {
        let _entered = self.runtime.enter();
        let path = self.folder.path().join("store.sqlite");
        let store = Arc::new(SqliteStore::open(&path, Durability::Normal).unwrap());
        let runner: Arc<dyn JobRunner> = Arc::new(Obedient {
            begun: self.starts.clone(),
        });
        let runners = BTreeMap::from([(JobKind::Plan, runner)]);
        let stop = CancellationToken::new();
        let directory = self.folder.path().join("jobs");
        let jobs = Jobs::start(store, directory, runners, stop.clone()).unwrap();
        (jobs, stop)
    }

    fn submit(&self, jobs: &Arc<Jobs>, name: &str, what: &str) -> Result<JobStatus, JobRefusal> {
        let id = Some(name.parse().unwrap());
        let request = json!({"do": what});
        let submitting = jobs.submit(JobKind::Plan, id, request, "ci");
        Ok(self.runtime.block_on(submitting)?.0)
    }

    fn wait_begun(&self) -> JobId {
        self.begun.recv_timeout(Duration::from_mins(1)).unwrap()
    }

    fn wait_end(&self, jobs: &Jobs, name: &str) -> JobStatus {
        let id = name.parse().unwrap();
        self.runtime.block_on(async {
            if let Some(mut told) = jobs.told(&id) {
                told.wait_for(|told| told.ended).await.unwrap();
            }
            jobs.status(&id).await.unwrap().unwrap()
        })
    }

    fn result(&self, jobs: &Jobs, name: &str) -> Option<Value> {
        let id = name.parse().unwrap();
        let finding = jobs.find(&id);
        self.runtime.block_on(finding).unwrap().unwrap().result
    }
}

fn events(directory: &Path) -> usize {
    let mut reader = EventReader::open(directory, 0).unwrap();
    reader.page(u64::MAX).unwrap().len()
}

#[test]
fn a_job_is_done_and_what_it_said_is_kept() {
    let bench = Bench::new();
    let (jobs, _stop) = bench.start();
    bench.submit(&jobs, "one", "say").unwrap();
    let end = bench.wait_end(&jobs, "one");
    assert_eq!(end.state, JobState::Succeeded, "{end:?}");
    let result = json!({"said": "hello", "begun": 1});
    assert_eq!(bench.result(&jobs, "one"), Some(result));
    assert_eq!(events(&jobs.directory(&end.job_id)), 1);
}

#[test]
fn failures_and_panics_are_ends() {
    let bench = Bench::new();
    let (jobs, _stop) = bench.start();
    bench.submit(&jobs, "fails", "fail").unwrap();
    let end = bench.wait_end(&jobs, "fails");
    assert_eq!(
        (end.state, end.error.as_deref()),
        (JobState::Failed, Some("no luck"))
    );
    assert_eq!(bench.result(&jobs, "fails"), Some(json!(7)));
    bench.submit(&jobs, "panics", "panic").unwrap();
    let end = bench.wait_end(&jobs, "panics");
    assert_eq!(end.state, JobState::Failed);
    assert!(end.error.unwrap().contains("as asked"));
}

#[test]
fn a_name_stands_for_one_request() {
    let bench = Bench::new();
    let (jobs, _stop) = bench.start();
    bench.submit(&jobs, "one", "say").unwrap();
    assert_eq!(
        bench.submit(&jobs, "one", "say").unwrap().job_id.as_str(),
        "one"
    );
    bench.wait_end(&jobs, "one");
    let again = bench.submit(&jobs, "one", "say").unwrap();
    assert_eq!(again.state, JobState::Succeeded);
    let differs = bench.submit(&jobs, "one", "fail").unwrap_err();
    assert!(matches!(differs, JobRefusal::Differs(_)), "{differs}");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let bench = Bench::new();
    let (jobs, _stop) = bench.start();
    let submit = |kind, request| {
        let submitting = jobs.submit(kind, None, request, "ci");
        bench.runtime.block_on(submitting).unwrap_err()
    };
    let invalid = submit(JobKind::Plan, json!({}));
    assert!(matches!(invalid, JobRefusal::Invalid(_)), "{invalid}");
    let unknown = submit(JobKind::Fix, json!({"do": "say"}));
    assert!(
        matches!(unknown, JobRefusal::NotOffered(JobKind::Fix)),
        "{unknown}"
    );
}

#[test]
fn a_job_is_cancelled_while_it_works_and_while_it_waits() {
    let bench = Bench::new();
    let (jobs, stop) = bench.start();
    for number in 0..super::board::RUNNING_MAX {
        bench.submit(&jobs, &format!("w{number}"), "wait").unwrap();
        bench.wait_begun();
    }
    let waiting = bench.submit(&jobs, "last", "wait").unwrap();
    assert_eq!(waiting.state, JobState::Queued);
    for name in ["last", "w0"] {
        let id = name.parse().unwrap();
        bench.runtime.block_on(jobs.cancel(&id)).unwrap().unwrap();
        let end = bench.wait_end(&jobs, name);
        assert_eq!(end.state, JobState::Cancelled, "{end:?}");
        // Once more changes nothing.
        bench.runtime.block_on(jobs.cancel(&id)).unwrap().unwrap();
        assert_eq!(bench.wait_end(&jobs, name), end);
    }
    let last = "last".parse().unwrap();
    let last = bench.runtime.block_on(jobs.find(&last));
    assert_eq!(last.unwrap().unwrap().started_at_ms, None);
    stop.cancel();
    bench.runtime.block_on(jobs.stopped());
}

#[test]
fn a_job_that_was_put_off_is_taken_up_in_its_folder() {
    let bench = Bench::new();
    let (jobs, stop) = bench.start();
    bench.submit(&jobs, "long", "wait").unwrap();
    let id = bench.wait_begun();
    let directory = jobs.directory(&id);
    stop.cancel();
    bench.runtime.block_on(jobs.stopped());
    drop(jobs);

    let (jobs, _stop) = bench.start();
    assert_eq!(bench.wait_begun(), id);
    assert_eq!(fs::read_to_string(directory.join("begun")).unwrap(), "xx");
    bench.runtime.block_on(jobs.cancel(&id)).unwrap().unwrap();
    assert_eq!(bench.wait_end(&jobs, "long").state, JobState::Cancelled);
    assert_eq!(events(&directory), 2);
}
