//! One decision at a time; the simulation in `tests/it` looks at all of them together.

mod fixture;
mod recovery;

use std::time::Duration;

use cogo_protocol::message::{TaskBrief, error_code};
use cogo_protocol::task::{Fence, TaskState};
use cogo_store::Change;

use self::fixture::{Fixture, brief, seconds};
use super::*;

#[test]
fn a_task_for_a_free_worker_is_stored_once_and_leased() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    let step = it.submit("t");
    let puts = (step.changes.iter()).filter(|change| matches!(change, Change::TaskPut(_)));
    assert_eq!(puts.count(), 1);
    assert_eq!(it.executed(), [("w", "t", 1)]);
    assert_eq!(it.stored("t").state, TaskState::Leased);
    let Some(Answer::Submitted { task, new: true }) = &it.answer else {
        panic!("{:?}", it.answer)
    };
    assert_eq!(task.state, TaskState::Leased);
}

#[test]
fn a_name_stands_for_one_request() {
    let mut it = Fixture::new();
    it.submit("t");
    it.submit("t");
    assert!(matches!(
        it.answer,
        Some(Answer::Submitted { new: false, .. })
    ));
    it.submit_with("t", |request| request.attempts_max = Some(1));
    let differs = RequestError::TaskDiffers("t".parse().unwrap());
    assert_eq!(it.answer, Some(Answer::Refused(differs)));
}

#[test]
fn an_end_between_the_look_and_the_submission_is_noticed() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    let looked_at = it.now.monotonic;
    it.submit("t");
    it.complete("w", "t", 1, 0);
    assert_eq!(it.stored("t").state, TaskState::Succeeded);
    it.submit_known("t", Known::Absent { looked_at });
    assert_eq!(it.answer, Some(Answer::LookAgain("t".parse().unwrap())));
    let record = Box::new(it.stored("t").clone());
    it.submit_known("t", Known::Stored(record));
    assert!(matches!(
        it.answer,
        Some(Answer::Submitted { new: false, .. })
    ));
    assert_eq!(it.executed().len(), 1);
}

#[test]
fn an_old_look_is_not_trusted() {
    let mut it = Fixture::new();
    let looked_at = it.now.monotonic;
    it.pass(seconds(61));
    it.submit_known("t", Known::Absent { looked_at });
    assert_eq!(it.answer, Some(Answer::LookAgain("t".parse().unwrap())));
}

#[test]
fn the_queue_has_a_bound() {
    let mut it = Fixture::with(|config| config.queue_bound = 1);
    it.submit("one");
    it.submit("two");
    let full = RequestError::QueueFull { limit: 1 };
    assert_eq!(it.answer, Some(Answer::Refused(full)));
}

#[test]
fn a_task_waits_no_longer_than_it_wants() {
    let mut it = Fixture::new();
    it.submit_with("t", |request| request.queue_timeout = Some(5000));
    it.pass(seconds(4));
    assert_eq!(it.stored("t").state, TaskState::Queued);
    it.pass(seconds(1));
    assert_eq!(it.stored("t").state, TaskState::TimedOut);
}

#[test]
fn a_late_result_is_refused_and_may_be_forgotten() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.started("w", "t", 1);
    it.disconnect("w");
    it.pass(seconds(10));
    assert_eq!(it.stored("t").state, TaskState::Queued);
    it.connect("w", 1);
    it.pass(seconds(1));
    it.complete("w", "t", 1, 0);
    assert_eq!(it.acknowledged(), [("w", "t", 1)]);
    assert!(!it.stored("t").state.is_final());
    assert_eq!(it.coordinator.counters().stale, 1);
}

#[test]
fn a_lost_task_goes_elsewhere_and_back_only_if_nobody_else_is_left() {
    let mut it = Fixture::new();
    it.connect("a", 1);
    it.submit("t");
    it.started("a", "t", 1);
    it.disconnect("a");
    it.pass(seconds(10));
    it.connect("a", 1);
    it.connect("b", 0);
    it.pass(seconds(1));
    assert_eq!(
        it.executed(),
        [("a", "t", 1), ("a", "t", 2)],
        "b has no slot"
    );

    let mut it = Fixture::new();
    it.connect("a", 1);
    it.connect("b", 1);
    it.submit("t");
    it.submit("other");
    it.started("a", "t", 1);
    it.started("b", "other", 1);
    it.disconnect("a");
    it.pass(seconds(5));
    it.heartbeat("b");
    it.pass(seconds(5));
    it.connect("a", 1);
    it.heartbeat("b");
    it.pass(seconds(1));
    assert_eq!(it.executed().len(), 2, "it waits for b");
    it.complete("b", "other", 1, 0);
    assert_eq!(it.executed().last(), Some(&("b", "t", 2)));
}

#[test]
fn a_worker_that_never_heard_of_a_task_is_told_again() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.disconnect("w");
    it.connect("w", 1);
    assert_eq!(it.executed(), [("w", "t", 1), ("w", "t", 1)]);
    assert_eq!(it.stored("t").attempts.len(), 1);
}

#[test]
fn a_refusal_is_no_attempt() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.error("w", "t", 1, error_code::AT_CAPACITY);
    assert_eq!(it.executed().len(), 1, "the worker gets a moment");
    it.pass(seconds(1));
    assert_eq!(it.executed().last(), Some(&("w", "t", 2)));
    let attempts = &it.stored("t").attempts;
    assert_eq!((attempts.len(), attempts[0].number), (1, 1));
}

#[test]
fn what_one_host_cannot_run_is_tried_on_another() {
    let mut it = Fixture::new();
    it.connect("a", 1);
    it.connect("b", 1);
    it.submit("t");
    it.error("a", "t", 1, error_code::UNSUPPORTED);
    assert_eq!(it.executed().last(), Some(&("b", "t", 2)));
    it.error("b", "t", 2, error_code::SANDBOX_FAILED);
    let task = it.stored("t");
    assert_eq!(task.state, TaskState::Failed);
    assert_eq!(task.error.as_deref(), Some(error_code::SANDBOX_FAILED));
}

#[test]
fn attempts_run_out() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    for fence in 1..=3 {
        assert_eq!(it.executed().last(), Some(&("w", "t", fence)));
        it.started("w", "t", fence);
        it.error("w", "t", fence, error_code::OUTCOME_UNKNOWN);
        it.heartbeat("w");
        it.pass(seconds(3));
    }
    assert_eq!(it.stored("t").state, TaskState::Lost);
}

#[test]
fn a_failed_command_has_answered() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.complete("w", "t", 1, 7);
    let task = it.stored("t");
    assert_eq!((task.state, task.exit_code), (TaskState::Failed, Some(7)));
}

#[test]
fn cancelling_takes_effect_in_every_state() {
    let mut it = Fixture::new();
    it.submit("queued");
    it.cancel("queued");
    assert_eq!(it.stored("queued").state, TaskState::Cancelled);

    it.connect("w", 1);
    it.submit("leased");
    it.cancel("leased");
    assert_eq!(it.terminated(), [("w", "leased", 1)]);
    assert_eq!(it.stored("leased").state, TaskState::Leased);
    for _ in 0..3 {
        it.heartbeat("w");
        it.pass(seconds(5));
    }
    let task = it.stored("leased");
    assert_eq!(task.state, TaskState::Cancelled);
    assert!(task.error.as_deref().unwrap().contains("did not say"));
}

#[test]
fn what_may_still_run_keeps_its_slot() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("stubborn");
    it.cancel("stubborn");
    for _ in 0..3 {
        it.heartbeat("w");
        it.pass(seconds(5));
    }
    it.submit("next");
    assert_eq!(it.executed().len(), 1);
    it.complete("w", "stubborn", 1, 0);
    assert_eq!(it.executed().last(), Some(&("w", "next", 1)));
    assert_eq!(it.stored("stubborn").state, TaskState::Cancelled);
}

#[test]
fn the_manager_ends_what_its_worker_forgets_to_end() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit_with("t", |request| request.command.timeout = Some(1000));
    it.started("w", "t", 1);
    for _ in 0..9 {
        it.heartbeat("w");
        it.pass(seconds(6));
    }
    assert_eq!(it.terminated().first(), Some(&("w", "t", 1)));
    assert_eq!(it.stored("t").state, TaskState::TimedOut);
}

#[test]
fn own_sleep_is_not_taken_for_silence_of_workers() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.started("w", "t", 1);
    it.sleep(seconds(3600));
    it.heartbeat("w");
    it.pass(seconds(9));
    assert_eq!(it.stored("t").state, TaskState::Running);
    it.pass(seconds(2));
    assert_eq!(it.stored("t").state, TaskState::Queued);
}

#[test]
fn memory_is_set_aside() {
    let mut it = Fixture::new();
    it.connect("w", 2);
    for name in ["one", "two"] {
        it.submit_with(name, |request| request.requirements.memory = Some(600));
    }
    it.submit("small");
    assert_eq!(it.executed(), [("w", "one", 1), ("w", "small", 1)]);
    it.complete("w", "one", 1, 0);
    assert_eq!(it.executed().last(), Some(&("w", "two", 1)));
}

#[test]
fn a_workspace_goes_where_it_is_warm() {
    let mut it = Fixture::new();
    it.connect("a", 2);
    it.connect("b", 2);
    let warm = |request: &mut cogo_protocol::task::TaskRequest| {
        let path = "/src".to_owned();
        request.command.workspace = Some(cogo_protocol::command::WorkspaceRequest::Path(path));
    };
    it.submit("filler");
    it.submit_with("one", warm);
    assert_eq!(it.executed().last(), Some(&("b", "one", 1)));
    it.complete("a", "filler", 1, 0);
    it.submit_with("two", warm);
    assert_eq!(it.executed().last(), Some(&("b", "two", 1)));
}

#[test]
fn a_task_for_one_worker_fails_when_that_is_removed() {
    let mut it = Fixture::new();
    it.connect("w", 0);
    it.submit_with("t", |request| {
        request.requirements.worker = Some("w".parse().unwrap());
    });
    it.ask(ClientRequest::WorkerRemove {
        worker_id: "w".parse().unwrap(),
        force: false,
    });
    assert_eq!(it.stored("t").state, TaskState::Failed);
}

#[test]
fn a_removed_worker_finishes_or_hands_over_what_it_has() {
    for force in [false, true] {
        let mut it = Fixture::new();
        it.connect("a", 1);
        it.submit("t");
        it.started("a", "t", 1);
        it.connect("b", 1);
        it.ask(ClientRequest::WorkerRemove {
            worker_id: "a".parse().unwrap(),
            force,
        });
        assert_eq!(it.records.workers.contains_key("a"), !force);
        if force {
            assert_eq!(it.executed().last(), Some(&("b", "t", 2)));
        } else {
            it.complete("a", "t", 1, 0);
            assert!(!it.records.workers.contains_key("a"));
        }
    }
}

#[test]
fn a_restart_goes_on_where_the_store_stands() {
    let mut it = Fixture::new();
    it.connect("w", 2);
    it.submit("running");
    it.started("w", "running", 1);
    it.submit("leased");
    it.submit("queued");
    it.restart();
    it.connect_with("w", 2, &[("running", 1)]);
    assert_eq!(it.executed().last(), Some(&("w", "leased", 1)));
    assert_eq!(it.coordinator.counters().adopted, 1);
    it.complete("w", "running", 1, 0);
    assert_eq!(it.stored("running").state, TaskState::Succeeded);
    assert_eq!(it.executed().last(), Some(&("w", "queued", 1)));
}

#[test]
fn a_restart_gives_leases_a_full_term() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.started("w", "t", 1);
    it.restart();
    it.pass(seconds(9));
    assert_eq!(it.stored("t").state, TaskState::Running);
    it.pass(seconds(1));
    assert_eq!(it.stored("t").attempts[0].fence, Fence(1));
    assert_eq!(it.stored("t").state, TaskState::Queued);
}

#[test]
fn a_restart_looks_after_local_workers_at_once() {
    let mut it = Fixture::with(|config| config.pool.max = 1);
    it.connect("local-1", 1);
    it.submit("t");
    it.started("local-1", "t", 1);
    let before = it.starts;
    it.restart();
    assert_eq!(it.starts, before + 1, "it is found, or started");
    it.connect_with("local-1", 1, &[("t", 1)]);
    it.complete("local-1", "t", 1, 0);
    assert_eq!(it.stored("t").state, TaskState::Succeeded);
    assert_eq!(it.stored("t").attempts.len(), 1);
}

#[test]
fn local_workers_are_kept_alive_but_not_for_ever() {
    let mut it = Fixture::with(|config| config.pool.max = 2);
    assert_eq!(it.starts, 1);
    for _ in 0..10 {
        it.handle(Input::LocalWorkerExited {
            worker_id: "local-1".parse().unwrap(),
            how: "exited with 1".to_owned(),
        });
        it.pass(seconds(5));
    }
    assert_eq!(it.starts, 5, "the fifth end is one too many");
    assert_eq!(it.coordinator.health().workers_given_up, 1);
    it.ask(ClientRequest::WorkerRecover("local-1".parse().unwrap()));
    assert_eq!(it.starts, 6);
}

#[test]
fn the_pool_grows_with_the_queue() {
    let mut it = Fixture::with(|config| config.pool.max = 3);
    for name in ["one", "two", "three", "four", "five"] {
        it.submit(name);
    }
    it.pass(Duration::from_millis(1500));
    assert_eq!(it.starts, 3);
}

#[test]
fn a_late_attempt_takes_room_until_its_worker_lists_it_no_more() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.started("w", "t", 1);
    it.disconnect("w");
    it.pass(seconds(10));
    it.connect_with("w", 1, &[("t", 1)]);
    it.pass(seconds(1));
    assert_eq!(it.terminated(), [("w", "t", 1)]);
    it.heartbeat_with("w", vec![brief("t", 1)]);
    assert_eq!(it.executed().len(), 1, "it still runs");
    let ended = TaskBrief {
        running: false,
        ..brief("t", 1)
    };
    it.heartbeat_with("w", vec![ended]);
    assert_eq!(it.executed().last(), Some(&("w", "t", 2)));
    assert_eq!(it.acknowledged(), [("w", "t", 1)]);
}

#[test]
fn a_late_attempt_that_does_not_end_is_killed() {
    let mut it = Fixture::new();
    it.connect_with("w", 1, &[("t", 1)]);
    assert_eq!(it.terminated().len(), 1);
    for _ in 0..15 {
        it.pass(seconds(1));
        it.heartbeat_with("w", vec![brief("t", 1)]);
    }
    assert_eq!(it.terminated().len(), 2);
}

#[test]
fn a_late_attempt_that_was_overlooked_is_ended() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.pass(seconds(1));
    it.heartbeat_with("w", vec![brief("t", 1)]);
    assert_eq!(it.terminated(), [("w", "t", 1)]);
}

#[test]
fn an_attempt_that_its_worker_lists_no_more_is_lost() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.started("w", "t", 1);
    for state in [TaskState::Running, TaskState::Queued] {
        it.pass(seconds(1));
        it.heartbeat_with("w", Vec::new());
        assert_eq!(it.stored("t").state, state);
    }
}

#[test]
fn an_end_that_was_not_told_is_asked_for() {
    let mut it = Fixture::new();
    it.connect("w", 1);
    it.submit("t");
    it.started("w", "t", 1);
    let ended = TaskBrief {
        running: false,
        ..brief("t", 1)
    };
    it.pass(seconds(1));
    it.heartbeat_with("w", vec![ended.clone()]);
    assert!(it.asked.is_empty(), "it may be on its way");
    it.pass(seconds(1));
    it.heartbeat_with("w", vec![ended]);
    assert_eq!(it.asked, ["t"]);
}
