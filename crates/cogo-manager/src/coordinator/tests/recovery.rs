//! What is tried after a failure, as the store and workers see it.

use cogo_protocol::block::BlockReason;
use cogo_protocol::recovery::{Cause, RecoveryRequest, Strategy};
use cogo_protocol::task::{TaskRequest, TaskState};
use cogo_protocol::verdict::{ExitStatus, Outcome, TimeoutClock};
use cogo_store::AttemptEnd;

use super::fixture::{Fixture, seconds};
use super::*;

const NO_MORE_PROCESSES: Outcome = Outcome::PidsExhausted {
    limit: 9,
    status: ExitStatus::Exited { code: 1 },
};
const STUCK: Outcome = Outcome::TimedOut {
    after_ms: 5,
    clock: TimeoutClock::Silence,
};

fn recovers(request: &mut TaskRequest) {
    request.command.command = Some("make -j8".to_owned());
    request.recovery = Some(RecoveryRequest::default());
}

fn submitted(workers: &[&'static str]) -> Fixture {
    let mut it = Fixture::new();
    for worker in workers {
        it.connect(worker, 1);
    }
    it.submit_with("t", recovers);
    it.started(workers[0], "t", 1);
    it
}

#[test]
fn what_is_decided_is_stored_and_survives_a_restart() {
    let mut it = submitted(&["w"]);
    it.ended("w", "t", 1, NO_MORE_PROCESSES);
    let stored = it.stored("t");
    assert_eq!(stored.state, TaskState::Leased);
    assert_eq!(stored.attempts[0].end, Some(AttemptEnd::Superseded));
    let record = &stored.recoveries[0];
    assert_eq!(record.cause, Cause::PidsExhausted { limit: 9 });
    assert_eq!(
        (record.strategy, record.after_attempt),
        (Strategy::LessParallelism, 1)
    );
    assert_eq!(record.result, None);
    assert_eq!(it.command().command.as_deref(), Some("make -j1"));

    it.restart();
    it.connect("w", 1);
    assert_eq!(it.command().command.as_deref(), Some("make -j1"));
    it.started("w", "t", 2);
    it.complete("w", "t", 2, 0);
    let stored = it.stored("t");
    assert_eq!(stored.state, TaskState::Succeeded);
    assert_eq!(
        stored.recoveries[0].result.as_deref(),
        Some("exited with 0")
    );
}

#[test]
fn a_failure_is_an_answer() {
    let mut it = submitted(&["w"]);
    it.complete("w", "t", 1, 1);
    assert_eq!(it.stored("t").state, TaskState::Failed);
    assert!(it.stored("t").recoveries.is_empty());
}

#[test]
fn what_cannot_be_helped_is_given_up_with_its_history() {
    let mut it = submitted(&["w"]);
    for fence in 1..=3 {
        it.started("w", "t", fence);
        it.ended("w", "t", fence, NO_MORE_PROCESSES);
    }
    let stored = it.stored("t");
    assert_eq!(stored.state, TaskState::Failed);
    let strategies: Vec<Strategy> = stored.recoveries.iter().map(|it| it.strategy).collect();
    assert_eq!(
        strategies,
        [
            Strategy::LessParallelism,
            Strategy::LessParallelism,
            Strategy::Quarantine
        ]
    );
}

#[test]
fn what_hung_is_tried_elsewhere_first() {
    let mut it = submitted(&["v", "w"]);
    it.ended("v", "t", 1, STUCK);
    assert_eq!(it.executed().last(), Some(&("w", "t", 2)));
    assert_eq!(it.stored("t").recoveries[0].strategy, Strategy::Retry);
}

#[test]
fn a_cancellation_ends_the_ladder() {
    let mut it = submitted(&["w"]);
    it.cancel("t");
    it.ended("w", "t", 1, NO_MORE_PROCESSES);
    assert!(it.stored("t").state.is_final());
    assert_eq!(it.executed().len(), 1);
}

#[test]
fn an_operator_has_what_hangs_recovered() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.started("w", "t", 1);
    it.hangs("w", "t", 1, BlockReason::Deadlock);
    assert_eq!(it.terminated(), [], "the task did not ask for it");
    it.ask(ClientRequest::WorkerRecover("w".parse().unwrap()));
    assert_eq!(it.terminated(), [("w", "t", 1)]);
    // It is ended, so that it hangs no more.
    it.heartbeat("w");
    it.ended("w", "t", 1, Outcome::Cancelled);
    let record = &it.stored("t").recoveries[0];
    assert_eq!(record.strategy, Strategy::Retry);
    let Cause::Blocked { reason, evidence } = &record.cause else {
        panic!("{record:?}")
    };
    assert_eq!((*reason, evidence.len()), (BlockReason::Deadlock, 1));
    assert_eq!(it.executed().last(), Some(&("w", "t", 2)));
}

#[test]
fn a_configured_answer_is_given_to_what_waits() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit_with("t", |request| {
        request.command.stdin = cogo_protocol::command::StdinRequest::Open;
        request.recovery = Some(RecoveryRequest {
            answer: Some("y".to_owned()),
            ..RecoveryRequest::default()
        });
    });
    it.started("w", "t", 1);
    it.hangs("w", "t", 1, BlockReason::WaitingForInput);
    assert_eq!(it.terminated(), [("w", "t", 1)]);
    it.ended("w", "t", 1, Outcome::Cancelled);
    let answer = cogo_protocol::command::StdinRequest::Text("y\n".to_owned());
    assert_eq!(it.command().stdin, answer);
}

#[test]
fn a_worker_that_does_not_end_what_it_should_is_left() {
    let mut it = submitted(&["v", "w"]);
    it.hangs("v", "t", 1, BlockReason::Deadlock);
    it.ask(ClientRequest::WorkerRecover("v".parse().unwrap()));
    // It lives, and does not tell of an end.
    for _ in 0..20 {
        it.pass(seconds(1));
        it.heartbeat("v");
        it.heartbeat("w");
    }
    assert_eq!(it.executed().last(), Some(&("w", "t", 2)));
    let record = &it.stored("t").recoveries[0];
    assert_eq!(record.cause, Cause::WorkerHung);
    assert_eq!(record.change.avoid_worker, Some("v".parse().unwrap()));
}
