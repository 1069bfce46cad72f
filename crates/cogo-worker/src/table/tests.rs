//! Decisions of the table, without a runtime.

use serde_json::{Value, json};

use super::*;
use crate::runner::Job;

const AGE: Duration = Duration::from_hours(1);

/// A table whose runners are this test.
struct TableFixture {
    table: Table,
    now_ms: u64,
    /// Runners that were started, the oldest first.
    jobs: Vec<Job>,
    forgotten: Vec<String>,
}

impl TableFixture {
    fn new(slots: usize, count: usize) -> Self {
        let config = TableConfig {
            block: BlockSettings::default(),
            slots,
            retention: Retention { count, age: AGE },
            state_dir: PathBuf::from("/state"),
        };
        let mut number = 0;
        let new_id = move || {
            number += 1;
            ExecId::from_parts(number, &[0; 10])
        };
        Self {
            table: Table::new(config, new_id),
            now_ms: 1_000_000,
            jobs: Vec::new(),
            forgotten: Vec::new(),
        }
    }

    fn handle(&mut self, event: Event) {
        for effect in self.table.handle(event, self.now_ms) {
            match effect {
                Effect::Run(job) => self.jobs.push(job),
                Effect::Forget(record) => self.forgotten.push(name(&record)),
            }
        }
    }

    fn ask<T>(&mut self, request: impl FnOnce(Answer<T>) -> Request) -> T {
        let (answer, mut answered) = oneshot::channel();
        self.handle(Event::Request(request(answer)));
        answered.try_recv().unwrap()
    }

    fn execute(&mut self, more: Value) -> Result<String, String> {
        let mut command = json!({ "taskId": "t", "command": "true" });
        let Value::Object(more) = more else {
            panic!("{more}")
        };
        command.as_object_mut().unwrap().extend(more);
        let command = serde_json::from_value(command).unwrap();
        let taken = self.ask(|answer| Request::Execute(Box::new(command), answer));
        taken
            .map(|task| name(&task.record))
            .map_err(|refusal| refusal.code)
    }

    fn act(&mut self, deed: Deed) -> Result<(), String> {
        let act = Act {
            task_id: "t".parse().unwrap(),
            fence: None,
            deed,
        };
        self.ask(|answer| Request::Act(act, answer))
            .map_err(|refusal| refusal.code)
    }

    fn acknowledge(&mut self, fence: u64) -> Result<(), String> {
        let task_id = "t".parse().unwrap();
        self.ask(|answer| Request::Acknowledge(task_id, Fence(fence), answer))
            .map_err(|refusal| refusal.code)
    }

    /// Ends the oldest task that runs.
    fn end_one(&mut self) {
        let job = self.jobs.remove(0);
        let end = End::Refused(Refusal::new("x", "over"));
        let exec = job.task.record.exec_id;
        job.progress
            .send_modify(|progress| progress.phase = Phase::Ended(Arc::new(end)));
        self.handle(Event::RunnerDone(exec));
    }

    fn actions(&mut self, job: usize) -> Vec<Action> {
        std::iter::from_fn(|| self.jobs[job].actions.try_recv().ok()).collect()
    }
}

/// A task with its fence.
fn name(record: &TaskRecord) -> String {
    let fence = record
        .fence
        .map_or(String::new(), |fence| format!("@{}", fence.0));
    format!("{}{fence}", record.task_id)
}

fn refused(code: &str) -> Result<String, String> {
    Err(code.to_owned())
}

#[test]
fn slots_are_free_as_soon_as_a_task_has_ended() {
    let mut table = TableFixture::new(2, 10);
    for id in ["a", "b"] {
        assert_eq!(table.execute(json!({ "taskId": id })), Ok(id.to_owned()));
    }
    assert_eq!(
        table.execute(json!({ "taskId": "c" })),
        refused("at_capacity")
    );
    assert_eq!(table.table.summary().status, WorkerStatus::Busy);
    table.end_one();
    assert_eq!(table.execute(json!({ "taskId": "c" })), Ok("c".to_owned()));
    table.end_one();
    table.end_one();
    assert_eq!(table.table.summary().status, WorkerStatus::Idle);
}

#[test]
fn fences_decide_who_has_the_task() {
    let mut table = TableFixture::new(1, 10);
    assert_eq!(table.execute(json!({ "fence": 2 })), Ok("t@2".to_owned()));
    assert_eq!(table.execute(json!({ "fence": 2 })), Ok("t@2".to_owned()));
    assert_eq!(table.jobs.len(), 1, "the same request starts nothing");
    assert_eq!(table.execute(json!({ "fence": 1 })), refused("stale_fence"));
    assert_eq!(table.execute(json!({})), refused("task_exists"));
    assert_eq!(table.execute(json!({ "fence": 3 })), Ok("t@3".to_owned()));
    let stop = Action::Stop {
        grace_period: Duration::ZERO,
        signal: None,
    };
    assert_eq!(table.actions(0), [stop]);
    assert!(matches!(
        &table.jobs[1].kind,
        JobKind::Start { after: Some(_), .. }
    ));
    table.end_one();
    assert_eq!(table.forgotten, ["t@2"]);
    assert!(table.jobs[0].task.is_live());
    table.end_one();
    assert_eq!(table.execute(json!({ "fence": 3 })), Ok("t@3".to_owned()));
    assert!(table.jobs.is_empty(), "an ended task is only told again");
}

#[test]
fn a_task_of_a_bare_client_cannot_be_taken_over() {
    let mut table = TableFixture::new(2, 10);
    assert_eq!(table.execute(json!({})), Ok("t".to_owned()));
    assert_eq!(table.execute(json!({ "fence": 9 })), refused("task_exists"));
}

#[test]
fn only_the_end_that_is_stored_is_forgotten() {
    let mut table = TableFixture::new(1, 10);
    table.execute(json!({ "fence": 2 })).unwrap();
    assert_eq!(table.acknowledge(2), Err("not_applicable".to_owned()));
    table.end_one();
    assert_eq!(table.acknowledge(1), Err("stale_fence".to_owned()));
    assert_eq!(table.table.summary().tasks.len(), 1);
    assert_eq!(table.acknowledge(2), Ok(()));
    assert_eq!(table.acknowledge(2), Ok(()), "twice is no harm");
    assert_eq!(table.forgotten, ["t@2"]);
    assert_eq!(table.table.summary().tasks.len(), 0);
}

#[test]
fn old_and_surplus_ends_are_forgotten_and_running_tasks_are_not() {
    let mut table = TableFixture::new(9, 2);
    for id in ["a", "b", "c", "d"] {
        table.execute(json!({ "taskId": id })).unwrap();
    }
    for _ in 0..3 {
        table.end_one();
    }
    assert_eq!(table.forgotten, ["a"]);
    table.now_ms += AGE.as_millis() as u64;
    table.handle(Event::PruneDue);
    assert_eq!(table.forgotten, ["a", "b", "c"]);
    assert!(table.jobs[0].task.is_live());
}

#[test]
fn input_is_taken_until_its_end_and_up_to_a_bound() {
    let input = |len, eof| Deed::Input {
        bytes: vec![b'x'; len],
        eof,
    };
    let mut table = TableFixture::new(9, 9);
    table.execute(json!({ "stdin": "open" })).unwrap();
    assert_eq!(table.act(input(INPUT_PENDING_MAX, false)), Ok(()));
    assert_eq!(table.act(input(1, false)), Err("input_full".to_owned()));
    table.jobs[0].input_pending.store(0, Ordering::Relaxed);
    assert_eq!(table.act(input(1, true)), Ok(()));
    assert_eq!(table.act(input(1, false)), Err("not_applicable".to_owned()));
    let resize = Deed::Resize {
        rows: 1,
        columns: 1,
    };
    assert_eq!(table.act(resize), Err("not_applicable".to_owned()));
}

#[test]
fn a_draining_worker_takes_no_more() {
    let mut table = TableFixture::new(9, 9);
    table.execute(json!({})).unwrap();
    table.handle(Event::Request(Request::Drain));
    assert_eq!(table.execute(json!({ "taskId": "u" })), refused("draining"));
    assert!(table.table.summary().draining);
    table.handle(Event::Request(Request::StopAll(None)));
    let stop = Action::Stop {
        grace_period: limits::GRACE,
        signal: None,
    };
    assert_eq!(table.actions(0), [stop]);
}

#[test]
fn of_two_recovered_attempts_the_newer_is_the_task() {
    for newer_first in [false, true] {
        let mut table = TableFixture::new(9, 9);
        let mut records: Vec<TaskRecord> = [4, 5]
            .map(|fence| TaskRecord {
                block: BlockSettings::default(),
                task_id: "t".parse().unwrap(),
                attempt: None,
                fence: Some(Fence(fence)),
                exec_id: ExecId::from_parts(fence, &[0; 10]),
                workspace: None,
                input: InputRecord::Closed,
                pty: false,
                phase: PhaseRecord::Started,
            })
            .into();
        if newer_first {
            records.reverse();
        }
        for record in records {
            table.table.recover(record, None);
        }
        table.handle(Event::PruneDue);
        assert_eq!(table.jobs.len(), 2, "both are watched");
        assert_eq!(table.execute(json!({ "fence": 5 })), Ok("t@5".to_owned()));
        let older = table
            .jobs
            .iter()
            .position(|job| job.task.record.fence == Some(Fence(4)))
            .unwrap();
        assert_eq!(table.actions(older).len(), 1, "and the older is stopped");
    }
}
