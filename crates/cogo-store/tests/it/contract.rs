//! What every store has to do. A backend passes by naming its place in [`contract!`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;

use cogo_protocol::job::{JobKind, JobState};
use cogo_protocol::task::TaskState;
use cogo_store::{Change, JobFilter, JobRecord, Store, StoreError, TaskFilter, TaskRecord};

use crate::fixture::{
    Place, append, begin, commit, ended_task, event, hold_writer, id, job, put_job, put_task,
    put_token, put_worker, task, token, worker,
};

/// Makes a test of each function of this suite, for one kind of place.
macro_rules! contract {
    ($backend:ident: $($name:ident)*) => {
        mod $backend {
            $(
                #[test]
                fn $name() {
                    super::$name::<crate::sqlite::$backend>();
                }
            )*
        }
    };
}

macro_rules! contract_for {
    ($($backend:ident)*) => {
        $(contract! { $backend:
            a_new_store_is_empty
            records_are_read_back_as_they_were_put
            a_put_replaces_the_record
            everything_is_there_after_reopening
            dropping_a_store_writes_what_waits
            done_is_called_once_and_in_order
            an_empty_commit_waits_for_its_turn
            one_bad_change_undoes_its_call
            a_bad_call_fails_alone_and_poisons_those_after_it
            a_poisoned_store_reads_and_recovers_by_reopening
            events_are_numbered_by_the_caller
            the_last_number_outlives_trimming
            open_tasks_come_in_the_order_of_submission
            tasks_are_filtered_and_paged
            jobs_are_kept_in_the_order_of_submission
            jobs_are_filtered_and_paged
            deleted_records_are_gone
            odd_names_are_names
            big_requests_survive_changes_of_state
            readers_see_whole_commits_while_others_write
            many_threads_commit_at_once
            a_done_may_commit
        })*
    };
}

contract_for! { full normal }

fn every() -> TaskFilter {
    TaskFilter {
        limit: Some(usize::MAX),
        ..TaskFilter::default()
    }
}

fn names(tasks: &[TaskRecord]) -> Vec<&str> {
    tasks.iter().map(|task| task.id.as_str()).collect()
}

fn a_new_store_is_empty<P: Place>() {
    let place = P::new();
    let store = place.open();
    assert_eq!(store.tasks_open().unwrap(), []);
    assert_eq!(store.tasks(&every()).unwrap(), []);
    assert_eq!(store.task(&id("t")).unwrap(), None);
    assert_eq!(store.workers().unwrap(), []);
    assert_eq!(store.events_after(0, 10).unwrap(), []);
    assert_eq!(store.event_last().unwrap(), 0);
    assert_eq!(store.tokens().unwrap(), []);
}

fn records_are_read_back_as_they_were_put<P: Place>() {
    let place = P::new();
    let store = place.open();
    let (full, worker, token) = (ended_task("full", 1), worker("w"), token("ci"));
    let plain = task("plain", 2, TaskState::Queued);
    let changes = vec![
        put_task(&full),
        put_task(&plain),
        put_worker(&worker),
        put_token(&token),
        append(1),
        append(2),
    ];
    commit(&*store, changes).unwrap();

    assert_eq!(store.task(&full.id).unwrap(), Some(full.clone()));
    assert_eq!(store.tasks_open().unwrap(), std::slice::from_ref(&plain));
    assert_eq!(store.tasks(&every()).unwrap(), [plain, full]);
    assert_eq!(store.workers().unwrap(), [worker]);
    assert_eq!(store.tokens().unwrap(), [token]);
    assert_eq!(store.events_after(0, 10).unwrap(), [event(1), event(2)]);
}

fn a_put_replaces_the_record<P: Place>() {
    let place = P::new();
    let store = place.open();
    commit(
        &*store,
        vec![
            put_task(&ended_task("t", 1)),
            put_worker(&worker("w")),
            put_token(&token("ci")),
        ],
    )
    .unwrap();
    // The number may change with the rest.
    let task = task("t", 7, TaskState::Queued);
    let mut worker = worker("w");
    worker.draining = true;
    let mut token = token("ci");
    token.scopes.clear();
    commit(
        &*store,
        vec![put_task(&task), put_worker(&worker), put_token(&token)],
    )
    .unwrap();

    assert_eq!(store.tasks(&every()).unwrap(), [task]);
    assert_eq!(store.workers().unwrap(), [worker]);
    assert_eq!(store.tokens().unwrap(), [token]);
}

fn everything_is_there_after_reopening<P: Place>() {
    let place = P::new();
    let (task, worker, token) = (ended_task("t", 1), worker("w"), token("ci"));
    for round in 1..4 {
        let store = place.open();
        commit(
            &*store,
            vec![
                put_task(&task),
                put_worker(&worker),
                put_token(&token),
                append(round),
            ],
        )
        .unwrap();
    }
    let store = place.open();
    assert_eq!(store.tasks(&every()).unwrap(), [task]);
    assert_eq!(store.workers().unwrap(), [worker]);
    assert_eq!(store.tokens().unwrap(), [token]);
    assert_eq!(
        store.events_after(0, 10).unwrap(),
        [event(1), event(2), event(3)]
    );
}

fn dropping_a_store_writes_what_waits<P: Place>() {
    let place = P::new();
    let store = place.open();
    let release = hold_writer(&*store);
    let answers: Vec<_> = (1..=50)
        .map(|number| begin(&*store, vec![append(number)]))
        .collect();
    drop(release);
    drop(store);
    for answer in answers {
        answer.recv().unwrap().unwrap();
    }
    assert_eq!(place.open().event_last().unwrap(), 50);
}

fn done_is_called_once_and_in_order<P: Place>() {
    let place = P::new();
    let store = place.open();
    let called = Arc::new(Mutex::new(Vec::new()));
    for number in 1..=300 {
        let called = Arc::clone(&called);
        store.commit(
            vec![append(number)],
            Box::new(move |result| called.lock().unwrap().push((number, result.is_ok()))),
        );
    }
    commit(&*store, Vec::new()).unwrap();
    let expected: Vec<_> = (1..=300).map(|number| (number, true)).collect();
    assert_eq!(*called.lock().unwrap(), expected);
}

fn an_empty_commit_waits_for_its_turn<P: Place>() {
    let place = P::new();
    let store = place.open();
    let release = hold_writer(&*store);
    let first = begin(&*store, vec![append(1)]);
    let empty = begin(&*store, Vec::new());
    assert!(empty.try_recv().is_err());
    drop(release);
    empty.recv().unwrap().unwrap();
    first
        .try_recv()
        .expect("the earlier call was answered before")
        .unwrap();
}

fn one_bad_change_undoes_its_call<P: Place>() {
    let place = P::new();
    let store = place.open();
    commit(&*store, vec![append(5)]).unwrap();
    let bad = vec![
        put_task(&task("t", 1, TaskState::Queued)),
        put_worker(&worker("w")),
        append(6),
        append(5),
    ];
    let error = commit(&*store, bad).unwrap_err();
    assert!(matches!(error, StoreError::Database { .. }), "{error}");

    let is_as_before = |store: &dyn Store| {
        assert_eq!(store.tasks(&every()).unwrap(), []);
        assert_eq!(store.workers().unwrap(), []);
        assert_eq!(store.event_last().unwrap(), 5);
    };
    is_as_before(&*store);
    drop(store);
    is_as_before(&*place.open());
}

fn a_bad_call_fails_alone_and_poisons_those_after_it<P: Place>() {
    let place = P::new();
    let store = place.open();
    let release = hold_writer(&*store);
    let before = begin(&*store, vec![append(1)]);
    let also_before = begin(&*store, vec![append(2)]);
    let bad = begin(&*store, vec![append(3), append(3)]);
    let after = begin(&*store, vec![append(4)]);
    drop(release);

    before.recv().unwrap().unwrap();
    also_before.recv().unwrap().unwrap();
    let error = bad.recv().unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Database { .. }), "{error}");
    let error = after.recv().unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Poisoned), "{error}");
    assert_eq!(store.events_after(0, 10).unwrap(), [event(1), event(2)]);
}

fn a_poisoned_store_reads_and_recovers_by_reopening<P: Place>() {
    let place = P::new();
    let store = place.open();
    commit(&*store, vec![append(1)]).unwrap();
    commit(&*store, vec![append(1)]).unwrap_err();
    for _ in 0..3 {
        let error = commit(&*store, vec![append(2)]).unwrap_err();
        assert!(matches!(error, StoreError::Poisoned), "{error}");
    }
    assert_eq!(store.event_last().unwrap(), 1);
    drop(store);

    let store = place.open();
    commit(&*store, vec![append(2)]).unwrap();
    assert_eq!(store.event_last().unwrap(), 2);
}

fn events_are_numbered_by_the_caller<P: Place>() {
    let place = P::new();
    let store = place.open();
    commit(&*store, vec![append(3), append(10)]).unwrap();
    commit(&*store, vec![append(11)]).unwrap();
    let numbers = |after, limit| -> Vec<u64> {
        let events = store.events_after(after, limit).unwrap();
        events.iter().map(|event| event.number).collect()
    };
    assert_eq!(numbers(0, usize::MAX), [3, 10, 11]);
    assert_eq!(numbers(3, 10), [10, 11]);
    assert_eq!(numbers(4, 1), [10]);
    assert_eq!(numbers(0, 0), [0; 0]);
    assert_eq!(numbers(11, 10), [0; 0]);
    assert_eq!(numbers(u64::MAX, 10), [0; 0]);
    commit(&*store, vec![Change::EventsTrim(10)]).unwrap();
    assert_eq!(numbers(0, 10), [11]);
}

fn the_last_number_outlives_trimming<P: Place>() {
    let place = P::new();
    let store = place.open();
    commit(&*store, vec![append(7), Change::EventsTrim(u64::MAX)]).unwrap();
    assert_eq!(store.events_after(0, 10).unwrap(), []);
    assert_eq!(store.event_last().unwrap(), 7);
    drop(store);

    let store = place.open();
    assert_eq!(store.event_last().unwrap(), 7);
    // Trimming less than before takes nothing back.
    commit(&*store, vec![Change::EventsTrim(2)]).unwrap();
    assert_eq!(store.event_last().unwrap(), 7);
    commit(&*store, vec![append(7)]).unwrap_err();
}

fn open_tasks_come_in_the_order_of_submission<P: Place>() {
    let place = P::new();
    let store = place.open();
    let tasks = [
        task("d", 4, TaskState::Queued),
        task("a", 3, TaskState::Running),
        task("b", 9, TaskState::Leased),
        task("c", 1, TaskState::Queued),
        task("e", 2, TaskState::Lost),
        task("f", 5, TaskState::Succeeded),
    ];
    commit(&*store, tasks.iter().map(put_task).collect()).unwrap();
    assert_eq!(names(&store.tasks_open().unwrap()), ["c", "a", "d", "b"]);
    let ended = task("a", 3, TaskState::TimedOut);
    commit(&*store, vec![put_task(&ended)]).unwrap();
    assert_eq!(names(&store.tasks_open().unwrap()), ["c", "d", "b"]);
}

fn tasks_are_filtered_and_paged<P: Place>() {
    use TaskState::{Blocked, Cancelled, Failed, Queued};
    let place = P::new();
    let store = place.open();
    let states = [Queued, Failed, Blocked];
    let tasks = (1..=250_u64)
        .map(|number| task(&format!("t{number}"), number, states[number as usize % 3]));
    commit(&*store, tasks.map(|task| put_task(&task)).collect()).unwrap();
    let numbers = |states: &[TaskState], before, limit| -> Vec<u64> {
        let filter = TaskFilter {
            states: states.to_vec(),
            before,
            limit,
        };
        let tasks = store.tasks(&filter).unwrap();
        tasks.iter().map(|task| task.number).collect()
    };
    let newest: Vec<u64> = (151..=250).rev().collect();
    assert_eq!(numbers(&[], None, None), newest);
    assert_eq!(numbers(&[], Some(3), None), [2, 1]);
    assert_eq!(numbers(&[], None, Some(0)), [0; 0]);
    assert_eq!(numbers(&[Failed], None, Some(3)), [250, 247, 244]);
    assert_eq!(numbers(&[Failed, Failed], Some(244), Some(2)), [241, 238]);
    assert_eq!(
        numbers(&[Blocked, Queued], None, Some(4)),
        [249, 248, 246, 245]
    );
    assert_eq!(numbers(&[Cancelled], None, None), [0; 0]);
    assert_eq!(numbers(&[], Some(u64::MAX), Some(1)), [250]);

    let mut paged = Vec::new();
    let mut before = None;
    loop {
        let page = numbers(&[Queued, Failed], before, Some(7));
        let Some(&last) = page.last() else { break };
        before = Some(last);
        paged.extend(page);
    }
    let expected: Vec<u64> = (1..=250).rev().filter(|number| number % 3 < 2).collect();
    assert_eq!(paged, expected);
}

fn job_names(jobs: &[JobRecord]) -> Vec<&str> {
    jobs.iter().map(|job| job.id.as_str()).collect()
}

fn jobs_are_kept_in_the_order_of_submission<P: Place>() {
    let place = P::new();
    let (first, second) = (job("z", JobState::Queued), job("a", JobState::Running));
    let ended = job("ended", JobState::Failed);
    {
        let store = place.open();
        assert_eq!(store.jobs(&JobFilter::default()).unwrap(), []);
        let changes = vec![put_job(&first), put_job(&ended), put_job(&second)];
        commit(&*store, changes).unwrap();
        // Its place stays when it changes.
        let asked = JobRecord {
            cancel_requested: true,
            ..first.clone()
        };
        commit(&*store, vec![put_job(&asked)]).unwrap();
    }
    let store = place.open();
    let open = store.jobs_open().unwrap();
    assert_eq!(job_names(&open), ["z", "a"]);
    assert!(open[0].cancel_requested);
    assert_eq!(store.job(&ended.id).unwrap(), Some(ended.clone()));
    commit(&*store, vec![Change::JobDelete(ended.id.clone())]).unwrap();
    assert_eq!(store.job(&ended.id).unwrap(), None);
    assert_eq!(
        job_names(&store.jobs(&JobFilter::default()).unwrap()),
        ["a", "z"]
    );
}

fn jobs_are_filtered_and_paged<P: Place>() {
    let place = P::new();
    let store = place.open();
    for number in 0..6 {
        let mut job = job(&format!("j{number}"), JobState::Succeeded);
        if number % 2 == 1 {
            job.kind = JobKind::Fix;
        }
        commit(&*store, vec![put_job(&job)]).unwrap();
    }
    let page = |kind, before: Option<&str>, limit| {
        let before = before.map(|name| name.parse().unwrap());
        let filter = JobFilter {
            kind,
            before,
            limit,
        };
        let jobs = store.jobs(&filter).unwrap();
        job_names(&jobs).join(" ")
    };
    assert_eq!(page(None, None, Some(2)), "j5 j4");
    assert_eq!(page(None, Some("j4"), Some(2)), "j3 j2");
    assert_eq!(page(Some(JobKind::Fix), None, None), "j5 j3 j1");
    assert_eq!(page(Some(JobKind::Fix), Some("j2"), None), "j1");
    assert_eq!(page(Some(JobKind::Analysis), None, None), "");
    assert_eq!(page(None, Some("unknown"), None), "");
}

fn deleted_records_are_gone<P: Place>() {
    let place = P::new();
    let store = place.open();
    let kept = task("kept", 2, TaskState::Queued);
    commit(
        &*store,
        vec![
            put_task(&task("gone", 1, TaskState::Queued)),
            put_task(&kept),
            put_worker(&worker("gone")),
            put_token(&token("gone")),
        ],
    )
    .unwrap();
    let deletes = vec![
        Change::TaskDelete(id("gone")),
        Change::WorkerDelete("gone".parse().unwrap()),
        Change::TokenDelete("gone".to_owned()),
    ];
    commit(&*store, deletes.clone()).unwrap();
    // What is not there can be deleted again.
    commit(&*store, deletes).unwrap();
    assert_eq!(store.task(&id("gone")).unwrap(), None);
    assert_eq!(store.tasks(&every()).unwrap(), [kept]);
    assert_eq!(store.workers().unwrap(), []);
    assert_eq!(store.tokens().unwrap(), []);
    // Its number is free again.
    commit(&*store, vec![put_task(&task("new", 1, TaskState::Queued))]).unwrap();
}

fn odd_names_are_names<P: Place>() {
    let place = P::new();
    let store = place.open();
    let long = "é".repeat(128);
    let odd = [
        "A",
        "a",
        " a",
        "a ",
        "%",
        "_",
        "'; DROP TABLE task; --",
        "../x",
        "🦀",
        "e\u{301}",
        "é",
        "null",
        "1",
        "01",
        "1.0",
        &long,
    ];
    let mut changes = Vec::new();
    for (number, name) in odd.iter().enumerate() {
        changes.push(put_task(&task(name, number as u64, TaskState::Queued)));
        changes.push(put_worker(&worker(name)));
        changes.push(put_token(&token(name)));
    }
    commit(&*store, changes).unwrap();
    assert_eq!(names(&store.tasks_open().unwrap()), odd);
    for (number, name) in odd.iter().enumerate() {
        let found = store.task(&id(name)).unwrap().unwrap();
        assert_eq!(found.number, number as u64);
    }
    let mut sorted = odd.to_vec();
    sorted.sort_unstable();
    let workers = store.workers().unwrap();
    let found: Vec<&str> = workers.iter().map(|worker| worker.id.as_str()).collect();
    assert_eq!(found, sorted);
    let tokens = store.tokens().unwrap();
    let found: Vec<&str> = tokens.iter().map(|token| &*token.name).collect();
    assert_eq!(found, sorted);
}

fn big_requests_survive_changes_of_state<P: Place>() {
    let place = P::new();
    let store = place.open();
    let mut big = task("big", 1, TaskState::Queued);
    let text = "0123456\n".repeat(1 << 20);
    big.request.command.env = [("BIG".to_owned(), text)].into();
    commit(&*store, vec![put_task(&big)]).unwrap();
    assert_eq!(store.tasks_open().unwrap(), std::slice::from_ref(&big));

    big.state = TaskState::Running;
    commit(&*store, vec![put_task(&big)]).unwrap();
    assert_eq!(store.task(&big.id).unwrap().as_ref(), Some(&big));
    drop(store);
    let store = place.open();
    assert_eq!(store.tasks(&every()).unwrap(), std::slice::from_ref(&big));

    // A put replaces all of the record, the request too: by another big one, a small one, none.
    big.request.command.env = [("BIG".to_owned(), "x".repeat(1 << 20))].into();
    commit(&*store, vec![put_task(&big)]).unwrap();
    assert_eq!(store.task(&big.id).unwrap().as_ref(), Some(&big));
    let small = task("big", 1, TaskState::Succeeded);
    commit(&*store, vec![put_task(&small)]).unwrap();
    assert_eq!(store.task(&big.id).unwrap().as_ref(), Some(&small));
    commit(
        &*store,
        vec![
            put_task(&big),
            Change::TaskDelete(big.id.clone()),
            put_task(&small),
        ],
    )
    .unwrap();
    assert_eq!(store.task(&big.id).unwrap().as_ref(), Some(&small));
}

fn readers_see_whole_commits_while_others_write<P: Place>() {
    let place = P::new();
    let store = place.open();
    let pair = |round: u64, state| {
        let mut pair = [task("a", 1, state), task("b", 2, state)];
        for task in &mut pair {
            task.created_at_ms = round;
        }
        pair.iter().map(put_task).collect::<Vec<_>>()
    };
    commit(&*store, pair(0, TaskState::Queued)).unwrap();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let read = || {
            let mut rounds = 0;
            let mut seen = 0;
            while !over.load(Ordering::Relaxed) || rounds < 10 {
                for tasks in [store.tasks(&every()), store.tasks_open()] {
                    let tasks = tasks.unwrap();
                    assert_eq!(tasks.len(), 2);
                    assert_eq!(tasks[0].created_at_ms, tasks[1].created_at_ms);
                    assert!(tasks[0].created_at_ms >= seen, "time went back");
                    seen = tasks[0].created_at_ms;
                }
                rounds += 1;
            }
        };
        let readers: Vec<_> = (0..6).map(|_| scope.spawn(read)).collect();
        for round in 1..=200 {
            let state = [TaskState::Queued, TaskState::Leased, TaskState::Running];
            commit(&*store, pair(round, state[round as usize % 3])).unwrap();
            let seen = store.task(&id("a")).unwrap().unwrap();
            assert_eq!(seen.created_at_ms, round, "what is done is seen");
        }
        over.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

fn many_threads_commit_at_once<P: Place>() {
    let place = P::new();
    let store = place.open();
    thread::scope(|scope| {
        for thread in 0..8_u64 {
            let store = &store;
            scope.spawn(move || {
                for step in 0..25 {
                    let number = thread * 100 + step;
                    let task = task(&format!("t{number}"), number, TaskState::Queued);
                    commit(&**store, vec![put_task(&task)]).unwrap();
                }
            });
        }
    });
    let numbers = (0..8).flat_map(|thread| (0..25).map(move |step| thread * 100 + step));
    drop(store);
    let tasks = place.open().tasks_open().unwrap();
    assert!(tasks.iter().map(|task| task.number).eq(numbers));
}

fn a_done_may_commit<P: Place>() {
    let place = P::new();
    let store = place.open();
    let (sender, receiver) = mpsc::channel();
    let inner = Arc::clone(&store);
    store.commit(
        vec![append(1)],
        Box::new(move |_| {
            inner.commit(
                vec![append(2)],
                Box::new(move |result| sender.send(result).unwrap()),
            );
        }),
    );
    receiver.recv().unwrap().unwrap();
    assert_eq!(store.event_last().unwrap(), 2);
}
