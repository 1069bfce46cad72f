//! A worker's word and what is taken of it, without a connection.

use cogo_protocol::message::{ExecutionStarted, TaskComplete, TaskError};
use cogo_protocol::record::Stream;

use super::*;

struct Fixture {
    keeper: Keeper,
    /// The task's output as it is kept.
    _place: tempfile::TempDir,
}

/// What came of something that was said.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    PassedOn,
    Kept,
}

fn task() -> TaskId {
    "t".parse().unwrap()
}

impl Fixture {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        Self {
            keeper: Self::keeper(&Arc::new(TaskLogs::open(place.path()).unwrap())),
            _place: place,
        }
    }

    fn keeper(logs: &Arc<TaskLogs>) -> Keeper {
        let watches = Arc::new(TaskWatches::default());
        Keeper::over(
            Arc::clone(logs),
            watches,
            Durability::Normal,
            ConnectionId(1),
        )
    }

    fn say(&mut self, message: &FromWorker) -> Came {
        self.keeper.flush().unwrap();
        match self.keeper.heard(message) {
            Verdict::PassOn | Verdict::PassOnSynced(_) => Came::PassedOn,
            Verdict::Keep => Came::Kept,
        }
    }

    fn started(&mut self, fence: u64) {
        let message = FromWorker::ExecutionStarted(ExecutionStarted {
            task_id: task(),
            worker_id: "w".parse().unwrap(),
            timestamp: 0,
            pid: None,
            attempt: None,
            fence: Some(Fence(fence)),
            exec_id: None,
            handle: Some(7),
        });
        self.say(&message);
    }

    fn output(&mut self, seqs: std::ops::Range<u64>) {
        for seq in seqs {
            let header = OutputHeader {
                handle: 7,
                stream: Stream::Stdout,
                seq,
                timestamp_ms: 0,
            };
            let frame = [&header.encode()[..], b"x"].concat();
            self.keeper.output(frame.into()).unwrap();
        }
    }

    fn complete(&mut self, fence: u64, last_seq: u64) -> Came {
        let message = FromWorker::TaskComplete(Box::new(TaskComplete {
            task_id: task(),
            worker_id: "w".parse().unwrap(),
            exit_code: 0,
            timestamp: 0,
            verdict: None,
            usage: None,
            last_seq: Some(last_seq),
            duration_ms: None,
            attempt: None,
            fence: Some(Fence(fence)),
        }));
        self.say(&message)
    }

    fn cut(&mut self, first_seq: u64, end_seq: u64) -> Came {
        self.say(&FromWorker::OutputCut(OutputCut {
            task_id: task(),
            worker_id: "w".parse().unwrap(),
            first_seq,
            end_seq,
            bytes: 0,
            timestamp: 0,
            fence: Some(Fence(1)),
        }))
    }

    /// The records that are asked for, each by the first one; all questions have become due.
    fn asked(&mut self) -> Vec<u64> {
        for attempt in self.keeper.attempts.values_mut() {
            attempt.ask_at = attempt.ask_at.map(|_| Instant::now());
        }
        let questions = self.keeper.questions().unwrap();
        let from = |question| match question {
            ToWorker::Attach(attach) => attach.from_seq,
            other => panic!("{other:?}"),
        };
        questions.into_iter().map(from).collect()
    }

    fn kept(&self, fence: u64) -> Vec<u64> {
        let mut seqs = Vec::new();
        let reader = self.keeper.logs.reader(&task(), Fence(fence), 0).unwrap();
        if let Some(mut reader) = reader {
            while let Some(record) = reader.next().unwrap() {
                seqs.push(record.header.seq);
            }
        }
        seqs
    }
}

#[test]
fn an_end_behind_its_output_is_passed_on() {
    let mut it = Fixture::new();
    it.keeper.begin(task(), Fence(1));
    it.started(1);
    it.output(0..3);
    assert_eq!(it.complete(1, 3), Came::PassedOn);
    assert_eq!(it.kept(1), [0, 1, 2]);
    assert!(!it.keeper.has_questions());
}

#[test]
fn an_end_without_its_output_is_never_passed_on() {
    let mut it = Fixture::new();
    it.keeper.begin(task(), Fence(1));
    it.started(1);
    it.output(0..3);
    // However often it leaves the rest out.
    for _ in 0..10 {
        assert_eq!(it.complete(1, 5), Came::Kept);
        assert_eq!(it.asked(), [3]);
        it.started(1);
    }
    it.output(3..5);
    assert_eq!(it.complete(1, 5), Came::PassedOn);
    assert_eq!(it.kept(1), [0, 1, 2, 3, 4]);
}

#[test]
fn an_end_passes_when_the_worker_says_that_the_rest_is_gone() {
    let mut it = Fixture::new();
    it.keeper.begin(task(), Fence(1));
    it.started(1);
    it.output(0..3);
    assert_eq!(it.cut(3, 5), Came::PassedOn);
    assert_eq!(it.cut(3, 5), Came::Kept, "it is known");
    assert_eq!(it.complete(1, 5), Came::PassedOn);
}

#[test]
fn what_was_sent_before_a_question_was_heard_counts_for_nothing() {
    let mut it = Fixture::new();
    it.keeper.begin(task(), Fence(1));
    // The start was lost, and with it what the handle stands for.
    it.output(0..3);
    assert_eq!(it.complete(1, 3), Came::Kept);
    assert_eq!(it.asked(), [0]);
    it.output(2..3);
    assert_eq!(it.complete(1, 3), Came::Kept);
    assert_eq!(it.asked(), [0; 0], "the answer is on its way");
    it.started(1);
    it.output(0..3);
    assert_eq!(it.complete(1, 3), Came::PassedOn);
    assert_eq!(it.kept(1), [0, 1, 2]);
}

#[test]
fn output_of_a_late_attempt_stays_out_of_the_next_ones_log() {
    let mut it = Fixture::new();
    it.keeper.begin(task(), Fence(1));
    it.started(1);
    it.output(0..3);
    it.keeper.flush().unwrap();
    it.keeper.begin(task(), Fence(2));
    it.output(3..9);
    it.keeper.flush().unwrap();
    it.started(2);
    it.output(0..2);
    assert_eq!(
        it.complete(1, 9),
        Came::PassedOn,
        "the coordinator refuses it"
    );
    assert_eq!(it.complete(2, 2), Came::PassedOn);
    assert_eq!(it.kept(1), [0, 1, 2]);
    assert_eq!(it.kept(2), [0, 1]);
}

#[test]
fn a_log_is_taken_over_when_it_is_free() {
    let mut old = Fixture::new();
    old.keeper.begin(task(), Fence(1));
    old.started(1);
    old.output(0..3);
    old.keeper.flush().unwrap();
    let new = Fixture::keeper(&old.keeper.logs);
    let mut it = Fixture {
        keeper: new,
        _place: tempfile::tempdir().unwrap(),
    };
    it.keeper.resume(task(), Fence(1));
    assert_eq!(it.asked(), [0; 0]);
    assert!(it.keeper.has_questions());
    old.keeper.attempts.clear();
    assert_eq!(it.asked(), [3]);
    it.started(1);
    it.output(3..4);
    assert_eq!(it.complete(1, 4), Came::PassedOn);
    assert_eq!(it.kept(1), [0, 1, 2, 3]);
}

#[test]
fn a_task_that_its_worker_has_forgotten_is_not_asked_for_again() {
    let mut it = Fixture::new();
    it.keeper.resume(task(), Fence(1));
    assert_eq!(it.asked(), [0]);
    let message = FromWorker::TaskError(TaskError {
        task_id: Some(task()),
        worker_id: "w".parse().unwrap(),
        error: "no such task".to_owned(),
        code: Some(error_code::NO_SUCH_TASK.to_owned()),
        hint: None,
        timestamp: 0,
        verdict: None,
        last_seq: None,
        fence: None,
    });
    assert_eq!(it.say(&message), Came::PassedOn);
    assert!(!it.keeper.has_questions());
    assert!(it.keeper.attempts.is_empty());
}

#[test]
fn output_that_comes_is_not_asked_for() {
    let mut it = Fixture::new();
    it.keeper.begin(task(), Fence(1));
    it.started(1);
    it.output(0..3);
    it.keeper.flush().unwrap();
    it.keeper.resume(task(), Fence(1));
    assert!(!it.keeper.has_questions());
    it.keeper.resume(task(), Fence(1));
    assert_eq!(it.asked(), [3]);
}
