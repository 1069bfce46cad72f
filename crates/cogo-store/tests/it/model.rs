//! Random changes do to a store what they do to a few maps in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use cogo_protocol::task::{TaskId, TaskState};
use cogo_store::{
    Change, EventRecord, Store, StoreError, TaskFilter, TaskRecord, TokenRecord, WorkerRecord,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::fixture::{Place, append, begin, put_task, put_token, put_worker, task, token, worker};
use crate::sqlite::{full, normal};

const STATES: [TaskState; 9] = [
    TaskState::Queued,
    TaskState::Leased,
    TaskState::Running,
    TaskState::Succeeded,
    TaskState::Failed,
    TaskState::TimedOut,
    TaskState::Blocked,
    TaskState::Cancelled,
    TaskState::Lost,
];
const NAMES: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    /// Calls that wait together, so that they may become one group.
    Commit(Vec<Vec<Draft>>),
    Reopen,
}

/// A change but for what depends on those before it.
#[derive(Clone, Debug)]
enum Draft {
    TaskPut {
        name: u64,
        state: usize,
        size: usize,
    },
    TaskDelete {
        name: u64,
    },
    WorkerPut {
        name: u64,
        draining: bool,
    },
    WorkerDelete {
        name: u64,
    },
    /// An event so many numbers after the last one; 0 is refused.
    EventAppend {
        skip: u64,
    },
    /// Trims up to so many numbers before the last one.
    EventsTrim {
        kept: u64,
    },
    TokenPut {
        name: u64,
        created_at_ms: u64,
    },
    TokenDelete {
        name: u64,
    },
}

fn draft() -> impl Strategy<Value = Draft> {
    let name = 0..NAMES;
    prop_oneof![
        6 => (name.clone(), 0..STATES.len(), prop_oneof![0..200_usize, 7000..20_000_usize])
            .prop_map(|(name, state, size)| Draft::TaskPut { name, state, size }),
        2 => name.clone().prop_map(|name| Draft::TaskDelete { name }),
        1 => (name.clone(), any::<bool>())
            .prop_map(|(name, draining)| Draft::WorkerPut { name, draining }),
        1 => name.clone().prop_map(|name| Draft::WorkerDelete { name }),
        4 => prop_oneof![1 => Just(0_u64), 40 => 1..4_u64]
            .prop_map(|skip| Draft::EventAppend { skip }),
        1 => (0..5_u64).prop_map(|kept| Draft::EventsTrim { kept }),
        1 => (name.clone(), any::<u64>())
            .prop_map(|(name, created_at_ms)| Draft::TokenPut { name, created_at_ms }),
        1 => name.prop_map(|name| Draft::TokenDelete { name }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let call = prop::collection::vec(draft(), 0..5);
    prop_oneof![
        8 => prop::collection::vec(call, 1..5).prop_map(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    tasks: BTreeMap<TaskId, TaskRecord>,
    workers: BTreeMap<String, WorkerRecord>,
    events: BTreeMap<u64, EventRecord>,
    event_last: u64,
    tokens: BTreeMap<String, TokenRecord>,
}

impl Model {
    /// The change that a draft means here, and whether a store takes it.
    fn apply(&mut self, draft: &Draft) -> (Change, bool) {
        let change = self.change(draft);
        match &change {
            Change::TaskPut(task) => {
                self.tasks.insert(task.id.clone(), (**task).clone());
            }
            Change::TaskDelete(id) => {
                self.tasks.remove(id);
            }
            Change::WorkerPut(worker) => {
                let name = worker.id.as_str().to_owned();
                self.workers.insert(name, (**worker).clone());
            }
            Change::WorkerDelete(id) => {
                self.workers.remove(id.as_str());
            }
            Change::EventAppend(event) => {
                if event.number <= self.event_last {
                    return (change, false);
                }
                self.event_last = event.number;
                self.events.insert(event.number, (**event).clone());
            }
            Change::EventsTrim(number) => self.events.retain(|event, _| event > number),
            Change::TokenPut(token) => {
                self.tokens.insert(token.name.clone(), (**token).clone());
            }
            Change::TokenDelete(name) => {
                self.tokens.remove(name);
            }
            Change::JobPut(_) | Change::JobDelete(_) => unreachable!("no draft makes one"),
        }
        (change, true)
    }

    fn change(&self, draft: &Draft) -> Change {
        let named = |name: &u64| format!("n{name}");
        match draft {
            Draft::TaskPut { name, state, size } => {
                let mut task = task(&named(name), *name, STATES[*state]);
                task.request.command.command = Some("x".repeat(*size));
                put_task(&task)
            }
            Draft::TaskDelete { name } => Change::TaskDelete(named(name).parse().unwrap()),
            Draft::WorkerPut { name, draining } => put_worker(&WorkerRecord {
                draining: *draining,
                ..worker(&named(name))
            }),
            Draft::WorkerDelete { name } => Change::WorkerDelete(named(name).parse().unwrap()),
            Draft::EventAppend { skip } => append(self.event_last + skip),
            Draft::EventsTrim { kept } => Change::EventsTrim(self.event_last.saturating_sub(*kept)),
            Draft::TokenPut {
                name,
                created_at_ms,
            } => put_token(&TokenRecord {
                created_at_ms: *created_at_ms,
                ..token(&named(name))
            }),
            Draft::TokenDelete { name } => Change::TokenDelete(named(name)),
        }
    }

    fn compare(&self, store: &dyn Store) {
        let mut tasks: Vec<_> = self.tasks.values().cloned().collect();
        tasks.sort_by_key(|task| task.number);
        let open: Vec<_> = tasks
            .iter()
            .filter(|task| !task.state.is_final())
            .cloned()
            .collect();
        assert_eq!(store.tasks_open().unwrap(), open);
        tasks.reverse();
        assert_eq!(store.tasks(&TaskFilter::default()).unwrap(), tasks);
        for state in STATES {
            let filter = TaskFilter {
                states: vec![state],
                before: Some(4),
                limit: Some(2),
            };
            let expected = tasks.iter().filter(|task| task.state == state);
            let expected = expected.filter(|task| task.number < 4).take(2).cloned();
            let expected: Vec<_> = expected.collect();
            assert_eq!(store.tasks(&filter).unwrap(), expected);
        }
        let workers: Vec<_> = self.workers.values().cloned().collect();
        assert_eq!(store.workers().unwrap(), workers);
        let events: Vec<_> = self.events.values().cloned().collect();
        assert_eq!(store.events_after(0, usize::MAX).unwrap(), events);
        assert_eq!(store.event_last().unwrap(), self.event_last);
        let tokens: Vec<_> = self.tokens.values().cloned().collect();
        assert_eq!(store.tokens().unwrap(), tokens);
    }
}

/// Hands in all calls at once and says which were taken.
fn run_calls(store: &dyn Store, model: &mut Model, calls: &[Vec<Draft>], poisoned: &mut bool) {
    let mut expected = Vec::new();
    let mut answers = Vec::new();
    for call in calls {
        let mut next = model.clone();
        let (changes, taken): (Vec<_>, Vec<_>) = call.iter().map(|draft| next.apply(draft)).unzip();
        answers.push(begin(store, changes));
        let good = taken.iter().all(|taken| *taken);
        expected.push((*poisoned, good));
        if good && !*poisoned {
            *model = next;
        } else {
            *poisoned = true;
        }
    }
    for (answer, (poisoned, good)) in answers.iter().zip(expected) {
        match (answer.recv().unwrap(), poisoned, good) {
            (Ok(()), false, true)
            | (Err(StoreError::Poisoned), true, _)
            | (Err(StoreError::Database { .. }), false, false) => {}
            (result, ..) => panic!("{result:?}, poisoned {poisoned}, good {good}"),
        }
    }
}

fn check<P: Place>(steps: &[Step]) {
    let place = P::new();
    let mut model = Model::default();
    let mut store: Arc<dyn Store> = place.open();
    let mut poisoned = false;
    for step in steps {
        match step {
            Step::Commit(calls) => run_calls(&*store, &mut model, calls, &mut poisoned),
            Step::Reopen => {
                drop(store);
                store = place.open();
                poisoned = false;
            }
        }
        model.compare(&*store);
    }
    drop(store);
    model.compare(&*place.open());
}

fn check_many<P: Place>(cases: u32) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&prop::collection::vec(step(), 1..25), |steps| {
            check::<P>(&steps);
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_full_store_equals_its_model() {
    check_many::<full>(24);
}

#[test]
fn a_normal_store_equals_its_model() {
    check_many::<normal>(48);
}
