use cogo_protocol::block::BlockReason;
use cogo_protocol::command::WorkspaceRequest;
use cogo_protocol::recovery::{AlternativeCommand, Strategy};
use cogo_protocol::verdict::{ExitStatus, Outcome, TimeoutClock, Usage};
use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::*;
use crate::rules::verdict::Circumstances;

const MIB: u64 = 1 << 20;

/// A task that asks for recovery, on which attempts fail one after the other.
struct Story {
    request: TaskRequest,
    tried: Vec<RecoveryRecord>,
    offers: Offers,
    elapsed: Duration,
}

impl Story {
    fn of(line: &str) -> Self {
        let mut request = TaskRequest::default();
        request.command.command = Some(line.to_owned());
        request.recovery = Some(RecoveryRequest::default());
        Self {
            request,
            tried: Vec::new(),
            offers: Offers {
                memory_max: 4096 * MIB,
                other_worker: true,
                restart: true,
            },
            elapsed: Duration::ZERO,
        }
    }

    fn options(&mut self) -> &mut RecoveryRequest {
        self.request.recovery.as_mut().unwrap()
    }

    fn with(mut self, change: impl FnOnce(&mut RecoveryRequest)) -> Self {
        change(self.options());
        self
    }

    fn decide(&self, cause: &Cause, worker: &WorkerId) -> Decision {
        next(&Situation {
            request: &self.request,
            tried: &self.tried,
            cause,
            worker,
            on_request: false,
            elapsed: self.elapsed,
            offers: self.offers,
        })
    }

    /// The next attempt fails; what is decided is done.
    fn fails(&mut self, cause: &Cause) -> Decision {
        let worker: WorkerId = format!("w{}", self.tried.len() % 2).parse().unwrap();
        let decision = self.decide(cause, &worker);
        if let Decision::Try(plan) = &decision {
            self.tried.push(RecoveryRecord {
                after_attempt: self.tried.len() as u32 + 1,
                worker_id: worker,
                cause: cause.clone(),
                strategy: plan.strategy,
                change: plan.change.clone(),
                note: plan.note.clone(),
                decided_at: 0,
                result: None,
            });
        }
        decision
    }

    /// What is tried while the attempts go on failing by this cause.
    fn ladder(&mut self, cause: &Cause) -> Vec<Strategy> {
        let mut tried = Vec::new();
        while let Decision::Try(plan) = self.fails(cause) {
            tried.push(plan.strategy);
            assert!(tried.len() < 20, "the ladder has no end: {tried:?}");
        }
        tried
    }
}

fn out_of_memory(limit: u64) -> Cause {
    Cause::OutOfMemory {
        limit_bytes: limit,
        peak_bytes: limit,
    }
}

fn blocked(reason: BlockReason) -> Cause {
    Cause::Blocked {
        reason,
        evidence: Vec::new(),
    }
}

const STUCK: Cause = Cause::TimedOut {
    after_ms: 1000,
    busy: false,
};
const SLOW: Cause = Cause::TimedOut {
    after_ms: 1000,
    busy: true,
};

#[test]
fn each_cause_has_its_ladder() {
    use Strategy::{Alternative, ClearCaches, LessParallelism, MoreMemory, OtherWorker, Retry};
    let silent = Cause::Silent {
        after_ms: 5,
        busy: false,
    };
    for (cause, expected) in [
        (Cause::Exited { code: 1 }, &[Alternative][..]),
        (Cause::Signaled { signal: 11 }, &[Alternative]),
        (Cause::Signaled { signal: 9 }, &[Retry, Alternative]),
        (
            out_of_memory(512 * MIB),
            &[
                MoreMemory,
                MoreMemory,
                LessParallelism,
                LessParallelism,
                Alternative,
            ],
        ),
        (
            Cause::PidsExhausted { limit: 5 },
            &[LessParallelism, LessParallelism, Alternative],
        ),
        (
            Cause::DiskFull { limit_bytes: 5 },
            &[ClearCaches, LessParallelism, LessParallelism, Alternative],
        ),
        (
            STUCK,
            &[Retry, LessParallelism, LessParallelism, Alternative],
        ),
        (
            silent,
            &[Retry, LessParallelism, LessParallelism, Alternative],
        ),
        (SLOW, &[Alternative]),
        (
            blocked(BlockReason::Deadlock),
            &[Retry, LessParallelism, LessParallelism, Alternative],
        ),
        (blocked(BlockReason::InfiniteLoop), &[Alternative]),
        (blocked(BlockReason::WaitingForInput), &[Alternative]),
        (
            blocked(BlockReason::CpuExhausted),
            &[
                OtherWorker,
                OtherWorker,
                OtherWorker,
                LessParallelism,
                LessParallelism,
                Alternative,
            ],
        ),
        (Cause::NotStarted, &[Alternative]),
    ] {
        let mut story = Story::of("cargo build").with(|options| {
            options.alternative = Some(AlternativeCommand::Line("cargo check".into()));
        });
        story.request.command.limits.memory_bytes = Some(512 * MIB);
        assert_eq!(story.ladder(&cause), expected, "{cause:?}");
    }
}

#[test]
fn without_an_alternative_a_failure_is_an_answer() {
    for cause in [
        Cause::Exited { code: 1 },
        Cause::Signaled { signal: 6 },
        SLOW,
        blocked(BlockReason::InfiniteLoop),
        Cause::NotStarted,
    ] {
        assert_eq!(Story::of("cargo test").ladder(&cause), [], "{cause:?}");
    }
}

#[test]
fn a_failure_is_repeated_where_the_task_says_so() {
    use Strategy::{CleanWorkspace, ClearCaches, LessParallelism, Retry};
    let mut story = Story::of("cargo test").with(|options| options.failure_retries = 2);
    let cause = Cause::Exited { code: 101 };
    assert_eq!(
        story.ladder(&cause),
        [Retry, Retry, ClearCaches, LessParallelism, LessParallelism]
    );
    let mut copy = Story::of("make").with(|options| options.failure_retries = 1);
    copy.request.command.workspace = Some(WorkspaceRequest::Tree {
        path: "/src".into(),
        mode: WorkspaceMode::Copy,
    });
    assert_eq!(
        copy.ladder(&cause)[..3],
        [Retry, ClearCaches, CleanWorkspace]
    );
    let command = command(&copy.request, &copy.tried);
    let argv = command.argv().unwrap();
    assert_eq!(argv[..2], ["/bin/sh", "-c"]);
    assert_eq!(argv[3..], ["sh", "/src", "/bin/sh", "-c", "make"]);
}

#[test]
fn what_is_changed_in_place_is_not_cleaned_unasked() {
    let mut story = Story::of("./check").with(|options| options.failure_retries = 1);
    story.request.command.workspace = Some(WorkspaceRequest::Path("/src".into()));
    let cause = Cause::Exited { code: 1 };
    assert!(!story.ladder(&cause).contains(&Strategy::CleanWorkspace));
    story.tried.clear();
    story.options().strategies = Some(vec![Strategy::CleanWorkspace]);
    assert_eq!(story.ladder(&cause), [Strategy::CleanWorkspace]);
}

#[test]
fn input_is_answered_then_ended() {
    let mut story = Story::of("./setup").with(|options| options.answer = Some("y".into()));
    story.request.command.stdin = StdinRequest::Open;
    let cause = blocked(BlockReason::WaitingForInput);
    assert_eq!(story.ladder(&cause), [Strategy::Input, Strategy::Input]);
    assert_eq!(
        story.tried[0].change.stdin,
        Some(StdinRequest::Text("y\n".into()))
    );
    assert_eq!(story.tried[1].change.stdin, Some(StdinRequest::Closed));
    assert_eq!(
        command(&story.request, &story.tried).stdin,
        StdinRequest::Closed
    );
    // Who was silent with an open input may have waited for it.
    let mut silent = Story::of("./setup");
    silent.request.command.stdin = StdinRequest::Open;
    assert_eq!(
        silent.ladder(&STUCK)[..2],
        [Strategy::Input, Strategy::Retry]
    );
}

#[test]
fn nothing_is_tried_unasked_past_its_bounds_or_against_its_will() {
    let cause = out_of_memory(MIB);
    let mut off = Story::of("make");
    off.request.recovery = None;
    assert_eq!(off.fails(&cause), Decision::GiveUp(None));
    off.request.recovery = Some(RecoveryRequest {
        enabled: false,
        ..RecoveryRequest::default()
    });
    assert_eq!(off.fails(&cause), Decision::GiveUp(None));
    let mut late = Story::of("make").with(|options| options.time_max = Some(5000));
    late.elapsed = Duration::from_secs(5);
    assert!(matches!(late.fails(&cause), Decision::GiveUp(Some(_))));
    let mut counted = Story::of("make").with(|options| options.attempts_max = Some(1));
    assert_eq!(counted.ladder(&cause), [Strategy::MoreMemory]);
    let mut narrow = Story::of("make").with(|options| {
        options.strategies = Some(vec![Strategy::LessParallelism]);
    });
    assert!(!narrow.ladder(&cause).contains(&Strategy::MoreMemory));
}

#[test]
fn a_worker_that_hangs_is_left_or_started_anew() {
    let story = Story::of("make");
    let worker: WorkerId = "w".parse().unwrap();
    let plan = |offers| {
        after_loss(&Situation {
            request: &story.request,
            tried: &[],
            cause: &Cause::WorkerHung,
            worker: &worker,
            on_request: false,
            elapsed: Duration::ZERO,
            offers,
        })
    };
    let moved = plan(story.offers).unwrap();
    assert_eq!(moved.strategy, Strategy::OtherWorker);
    assert_eq!(moved.change.avoid_worker, Some(worker.clone()));
    let restarted = plan(Offers {
        other_worker: false,
        ..story.offers
    });
    assert_eq!(restarted.unwrap().strategy, Strategy::RestartWorker);
    assert_eq!(plan(Offers::default()), None, "it never goes back as it is");
}

#[test]
fn the_verdict_gives_the_cause() {
    let usage = |wall_ms, cpu_user_ms| {
        Some(Usage {
            wall_ms,
            cpu_user_ms,
            ..Usage::default()
        })
    };
    let told = |outcome: &Outcome, usage, circumstances| {
        after_answer(&Told {
            outcome,
            usage,
            circumstances,
            block: None,
            timeout_ms: Some(1000),
        })
    };
    let calm = Circumstances::default();
    let asked = Circumstances {
        cancel_requested: true,
        ..calm
    };
    let late = Circumstances {
        deadline_passed: true,
        ..calm
    };
    let wall = Outcome::TimedOut {
        after_ms: 1000,
        clock: TimeoutClock::Wall,
    };
    let silence = Outcome::TimedOut {
        after_ms: 1000,
        clock: TimeoutClock::Silence,
    };
    assert_eq!(told(&Outcome::Exited { code: 0 }, None, calm), None);
    assert_eq!(told(&Outcome::Exited { code: 1 }, None, asked), None);
    assert_eq!(told(&Outcome::Cancelled, None, calm), None);
    assert_eq!(told(&wall, usage(1000, 20), calm), Some(STUCK));
    assert_eq!(told(&wall, usage(1000, 300), calm), Some(SLOW));
    assert_eq!(told(&wall, None, calm), Some(STUCK));
    assert_eq!(told(&Outcome::Cancelled, usage(1000, 1), late), Some(STUCK));
    // It computed for a while, then hung.
    let hung = Cause::Silent {
        after_ms: 1000,
        busy: false,
    };
    assert_eq!(told(&silence, usage(9000, 8000), calm), Some(hung));
    let oom = Outcome::OutOfMemory {
        limit_bytes: 5,
        peak_bytes: 6,
        status: ExitStatus::Signaled { signal: 9 },
    };
    let expected = Cause::OutOfMemory {
        limit_bytes: 5,
        peak_bytes: 6,
    };
    assert_eq!(told(&oom, None, calm), Some(expected));
}

fn any_cause() -> impl proptest::strategy::Strategy<Value = Cause> {
    prop_oneof![
        (0..300_i32).prop_map(|code| Cause::Exited { code }),
        (1..32_i32).prop_map(|signal| Cause::Signaled { signal }),
        (1..8192_u64).prop_map(|mib| out_of_memory(mib * MIB)),
        Just(Cause::PidsExhausted { limit: 9 }),
        Just(Cause::DiskFull { limit_bytes: 9 }),
        Just(STUCK),
        Just(SLOW),
        Just(blocked(BlockReason::Deadlock)),
        Just(blocked(BlockReason::WaitingForInput)),
        Just(blocked(BlockReason::MemoryExhausted)),
        Just(blocked(BlockReason::CpuExhausted)),
        Just(blocked(BlockReason::HeartbeatLost)),
        Just(Cause::NotStarted),
    ]
}

proptest! {
    /// However attempts fail: the ladder ends, no limit is lowered or above what workers have, and
    /// an attempt without memory left is never repeated as it was.
    #[test]
    fn the_ladder_is_bounded_and_never_repeats_in_vain(
        causes in proptest::collection::vec(any_cause(), 1..40),
        limit in proptest::option::of(1..8192_u64),
        memory_max in 0..16_384_u64,
        attempts_max in 0..9_u32,
        failure_retries in 0..4_u32,
        line in "(make -j8|cargo test|npm test|\\./run\\.sh|ninja)",
    ) {
        let mut story = Story::of(&line).with(|options| {
            options.attempts_max = Some(attempts_max);
            options.failure_retries = failure_retries;
            options.answer = Some("y".into());
        });
        story.request.command.limits.memory_bytes = limit.map(|mib| mib * MIB);
        story.offers.memory_max = memory_max * MIB;
        let mut highest = story.request.command.limits.memory_bytes.unwrap_or(0);
        for cause in causes {
            let before = command(&story.request, &story.tried);
            let Decision::Try(plan) = story.fails(&cause) else {
                continue;
            };
            prop_assert_ne!(plan.strategy, Strategy::Quarantine);
            let after = command(&story.request, &story.tried);
            if let Some(memory) = plan.change.memory_bytes {
                prop_assert!(memory > highest, "{memory} after {highest}");
                prop_assert!(memory <= memory_max * MIB);
                highest = memory;
            }
            if matches!(cause, Cause::OutOfMemory { .. } | Cause::PidsExhausted { .. }) {
                prop_assert_ne!(before, after, "{:?} again after {:?}", plan, cause);
            }
        }
        prop_assert!(story.tried.len() <= attempts_max as usize);
    }

    #[test]
    fn memory_grows_within_what_there_is(
        limit in 1..u64::MAX / 8,
        peak in 0..u64::MAX / 8,
        steps in 0..4_u32,
        headroom: u64,
    ) {
        if let Some(next) = next_limit(limit, peak, steps, headroom) {
            prop_assert!(next > limit && next > peak);
            prop_assert!(next <= headroom);
        }
    }
}
