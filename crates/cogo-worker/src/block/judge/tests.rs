//! Samples made by hand: what is a block, what is none, and when it is told.

use std::time::{Duration, Instant};

use cogo_protocol::block::BlockReason;
use cogo_sandbox::evidence::{
    Bounded, Call, Channel, Memory, Output, Process, Sample, Target, Thread, Timeout, Wait,
};

use super::*;

const COMMAND: i32 = 100;
const INIT: i32 = 1;

/// A judge and the time, which tests move.
struct Court {
    judge: Judge,
    now: Instant,
    input: Input,
    position: u64,
}

impl Court {
    fn new() -> Self {
        let now = Instant::now();
        let capacity = Capacity {
            cpus: 2.0,
            memory: 1 << 30,
        };
        Self {
            judge: Judge::new(Thresholds::default(), capacity, now),
            now,
            input: Input::default(),
            position: 0,
        }
    }

    /// Shows the same sample again and again for so many seconds, twice a second.
    fn show(&mut self, seconds: u64, sample: &Sample) -> Option<Block> {
        self.show_changing(seconds, |_| sample.clone())
    }

    fn show_changing(&mut self, seconds: u64, sample: impl Fn(u64) -> Sample) -> Option<Block> {
        let looks = (0..=seconds * 2).map(|look| {
            let sample = sample(look);
            let news = self.judge.observe(&sample, self.input, self.now);
            self.now += Duration::from_millis(500);
            news
        });
        let told: Vec<Block> = looks.flatten().filter_map(News::block).collect();
        assert!(told.len() <= 1, "told more than once: {told:?}");
        told.into_iter().next()
    }

    fn expect(&mut self, seconds: u64, sample: &Sample, reason: BlockReason) -> Block {
        let block = self.show(seconds, sample).expect("a block");
        assert_eq!(block.reason, reason, "{block:?}");
        block
    }

    fn expect_silence(&mut self, seconds: u64, sample: &Sample) {
        assert_eq!(self.show(seconds, sample), None);
    }
}

fn thread(tid: i32, call: Call, on: Vec<Target>, timeout: Timeout) -> Thread {
    Thread {
        tid,
        turns: 1,
        wait: Wait { call, on, timeout },
        ..Thread::default()
    }
}

fn asleep(tid: i32, call: Call, on: Vec<Target>) -> Thread {
    thread(tid, call, on, Timeout::Never)
}

fn futex(tid: i32, owner: Option<i32>) -> Thread {
    let call = Call::Futex {
        address: 0x1000,
        owner,
    };
    asleep(tid, call, Vec::new())
}

fn sleeps(tid: i32, seconds: u64) -> Thread {
    let timeout = Timeout::After(Some(Duration::from_secs(seconds)));
    thread(tid, Call::Sleep, Vec::new(), timeout)
}

fn process(pid: i32, parent: i32, threads: Vec<Thread>) -> Process {
    Process {
        pid,
        parent,
        name: "program".to_owned(),
        threads,
        ..Process::default()
    }
}

fn tree(processes: Vec<Process>) -> Sample {
    Sample {
        processes,
        command: COMMAND,
        init: INIT,
        complete: true,
        ..Sample::default()
    }
}

fn alone(threads: Vec<Thread>) -> Sample {
    tree(vec![process(COMMAND, INIT, threads)])
}

fn input() -> Target {
    Target::Input {
        descriptor: 0,
        terminal: false,
    }
}

fn pipe(readers: &[i32], writers: &[i32]) -> Target {
    Target::Pipe(Channel {
        inode: 7,
        readers: readers.to_vec(),
        writers: writers.to_vec(),
        unread: 0,
    })
}

fn printed(position: u64) -> Option<Output> {
    Some(Output {
        position,
        mid_line: false,
    })
}

fn reads_input() -> Sample {
    alone(vec![asleep(COMMAND, Call::Read, vec![input()])])
}

#[test]
fn a_reader_of_input_that_nobody_sends_waits_for_input() {
    let block = Court::new().expect(3, &reads_input(), BlockReason::WaitingForInput);
    assert!(block.recoverable);
    assert!(block.evidence[0].contains("standard input"), "{block:?}");
}

#[test]
fn input_that_is_expected_is_no_block() {
    let mut court = Court::new();
    court.input.expected = true;
    court.expect_silence(600, &reads_input());
}

#[test]
fn a_conversation_may_pause() {
    let mut court = Court::new();
    court.input.sent_at = Some(court.now);
    court.expect_silence(240, &reads_input());
    court.expect(120, &reads_input(), BlockReason::WaitingForInput);
}

#[test]
fn a_server_that_also_reads_its_input_is_no_block() {
    let server = asleep(101, Call::Accept, vec![Target::Listener { waiting: 0 }]);
    let reader = asleep(COMMAND, Call::Read, vec![input()]);
    Court::new().expect_silence(600, &alone(vec![reader, server]));
}

#[test]
fn a_program_that_sleeps_beside_its_reader_is_no_block() {
    let reader = asleep(101, Call::Read, vec![input()]);
    Court::new().expect_silence(30, &alone(vec![sleeps(COMMAND, 40), reader]));
}

#[test]
fn threads_that_only_wait_for_each_other_are_a_deadlock() {
    let sample = alone(vec![futex(COMMAND, None), futex(101, None)]);
    Court::new().expect(3, &sample, BlockReason::Deadlock);
}

#[test]
fn one_look_proves_nothing() {
    let sample = alone(vec![futex(COMMAND, None), futex(101, None)]);
    Court::new().expect_silence(0, &sample);
}

#[test]
fn a_thread_that_got_a_turn_between_looks_is_not_stuck() {
    let told = Court::new().show_changing(60, |look| {
        let mut sample = alone(vec![futex(COMMAND, None), futex(101, None)]);
        sample.processes[0].threads[1].turns = look;
        sample
    });
    assert_eq!(told, None);
}

#[test]
fn a_timer_a_server_or_a_hidden_wait_is_a_reason_to_live() {
    let reasons = [
        sleeps(101, 500),
        asleep(101, Call::Poll, vec![Target::Listener { waiting: 0 }]),
        asleep(101, Call::Poll, vec![Target::FileChanges]),
        asleep(
            101,
            Call::Read,
            vec![Target::Timer {
                left: Some(Duration::from_secs(5)),
            }],
        ),
        asleep(101, Call::Hidden, Vec::new()),
        asleep(101, Call::Disk, Vec::new()),
    ];
    for reason in reasons {
        let sample = alone(vec![futex(COMMAND, None), reason]);
        Court::new().expect_silence(30, &sample);
    }
}

#[test]
fn what_could_not_be_read_proves_nothing() {
    let mut sample = alone(vec![futex(COMMAND, None)]);
    sample.complete = false;
    Court::new().expect_silence(30, &sample);
}

#[test]
fn owners_in_a_circle_are_a_deadlock_whatever_else_runs() {
    let told = Court::new().show_changing(3, |look| {
        let mut busy = thread(102, Call::Running, Vec::new(), Timeout::Never);
        busy.turns = look;
        alone(vec![
            futex(COMMAND, Some(101)),
            futex(101, Some(COMMAND)),
            busy,
        ])
    });
    assert_eq!(told.expect("a block").reason, BlockReason::Deadlock);
}

#[test]
fn a_mutex_whose_owner_sleeps_is_no_deadlock() {
    let sample = alone(vec![futex(COMMAND, Some(101)), sleeps(101, 5)]);
    Court::new().expect_silence(10, &sample);
}

#[test]
fn a_full_pipe_whose_reader_waits_is_stalled_output() {
    let writer = asleep(101, Call::Write, vec![pipe(&[COMMAND], &[101])]);
    let sample = tree(vec![
        process(
            COMMAND,
            INIT,
            vec![asleep(COMMAND, Call::Child, Vec::new())],
        ),
        process(101, COMMAND, vec![writer]),
    ]);
    let block = Court::new().expect(3, &sample, BlockReason::OutputStalled);
    assert!(!block.recoverable);
}

#[test]
fn two_full_pipes_between_two_writers_are_a_deadlock() {
    let writes = |own, other| asleep(own, Call::Write, vec![pipe(&[other], &[own])]);
    let sample = tree(vec![
        process(COMMAND, INIT, vec![writes(COMMAND, 101)]),
        process(101, COMMAND, vec![writes(101, COMMAND)]),
    ]);
    Court::new().expect(3, &sample, BlockReason::Deadlock);
}

#[test]
fn a_reader_that_pauses_is_waited_for_and_one_that_sleeps_for_long_is_not() {
    let with_reader = |seconds| {
        let writer = asleep(COMMAND, Call::Write, vec![pipe(&[101], &[COMMAND])]);
        tree(vec![
            process(COMMAND, INIT, vec![writer]),
            process(101, COMMAND, vec![sleeps(101, seconds)]),
        ])
    };
    Court::new().expect_silence(30, &with_reader(20));
    Court::new().expect(5, &with_reader(1000), BlockReason::OutputStalled);
}

#[test]
fn an_orphan_that_holds_a_pipe_open_keeps_its_reader_for_ever() {
    let with_parent = |parent| {
        let reader = asleep(COMMAND, Call::Read, vec![pipe(&[COMMAND], &[101])]);
        tree(vec![
            process(COMMAND, INIT, vec![reader]),
            process(101, parent, vec![sleeps(101, 1000)]),
        ])
    };
    Court::new().expect(5, &with_parent(INIT), BlockReason::Deadlock);
    Court::new().expect_silence(30, &with_parent(COMMAND));
}

#[test]
fn a_signal_that_nobody_can_send_is_waited_for_a_while() {
    let sample = alone(vec![asleep(COMMAND, Call::Signal, Vec::new())]);
    let mut court = Court::new();
    court.expect_silence(20, &sample);
    court.expect(20, &sample, BlockReason::Unknown);
}

/// A thread that uses a whole processor, on a machine where it gets `share` of one.
fn busy(look: u64, share: f64) -> Sample {
    let time = Duration::from_millis(500) * look as u32;
    let mut thread = thread(COMMAND, Call::Running, Vec::new(), Timeout::Never);
    thread.cpu = time.mul_f64(share);
    thread.queued = time.checked_sub(thread.cpu).unwrap_or_default();
    thread.turns = look;
    alone(vec![thread])
}

#[test]
fn a_silent_computation_is_accused_after_its_set_time_only() {
    for share in [1.0, 0.2] {
        let mut court = Court::new();
        let told = court.show_changing(290, |look| busy(look, share));
        assert_eq!(told, None);
        let told = court.show_changing(60, |look| busy(581 + look, share));
        let block = told.expect("a block");
        assert_eq!(
            (block.reason, block.recoverable),
            (BlockReason::InfiniteLoop, false)
        );
    }
}

#[test]
fn output_traffic_memory_or_children_are_progress() {
    let changes: [fn(&mut Sample, u64); 4] = [
        |sample, look| sample.output = printed(look / 40),
        |sample, look| sample.processes[0].bytes_written = look * 1000,
        |sample, look| sample.processes[0].faults = look * 100,
        |sample, look| {
            let child = process(1000 + look as i32 / 20, COMMAND, vec![sleeps(7, 9)]);
            sample.processes.push(child);
        },
    ];
    for change in changes {
        let told = Court::new().show_changing(600, |look| {
            let mut sample = busy(look, 1.0);
            change(&mut sample, look);
            sample
        });
        assert_eq!(told, None);
    }
}

#[test]
fn reads_that_return_nothing_are_a_loop_without_the_set_time() {
    let told = Court::new().show_changing(20, |look| {
        let mut sample = busy(look, 1.0);
        sample.processes[0].read_calls = look * 100_000;
        sample
    });
    assert_eq!(told.expect("a block").reason, BlockReason::InfiniteLoop);
}

#[test]
fn a_limit_that_was_hit_is_told_once_and_at_once() {
    let mut court = Court::new();
    let mut sample = busy(1, 1.0);
    sample.glance.pids_refused = 3;
    sample.pids = Bounded {
        used: 10,
        limit: Some(10),
    };
    sample.complete = false;
    let told = court.judge.observe(&sample, Input::default(), court.now);
    assert_eq!(
        told.and_then(News::block).expect("a block").reason,
        BlockReason::PidsExhausted
    );
    sample.glance.pids_refused = 9;
    court.expect_silence(5, &sample);
    sample.glance.oom_kills = 1;
    court.expect(0, &sample, BlockReason::MemoryExhausted);
}

#[test]
fn memory_near_its_limit_is_short_only_while_it_grows_or_thrashes() {
    let near = |look: u64, growth: u64, faults: u64| {
        let mut sample = busy(look, 0.5);
        sample.memory = Some(Memory {
            held: 950_000_000 + look * growth,
            limit: Some(1_000_000_000),
            major_faults: look * faults,
        });
        sample
    };
    let steady = Court::new().show_changing(60, |look| near(look, 0, 3));
    assert_eq!(steady, None);
    for (growth, faults) in [(1_000_000, 0), (0, 200)] {
        let told = Court::new().show_changing(6, |look| near(look, growth, faults));
        assert_eq!(told.expect("a block").reason, BlockReason::MemoryExhausted);
    }
}

#[test]
fn a_full_disk_that_stays_full_is_exhausted() {
    let mut sample = busy(1, 0.0);
    sample.disk = Some(Bounded {
        used: 8 << 20,
        limit: Some(8 << 20),
    });
    Court::new().expect(3, &sample, BlockReason::DiskExhausted);
}

#[test]
fn a_block_that_ends_is_forgotten_and_told_again_when_it_comes_back() {
    let mut court = Court::new();
    court.expect(3, &reads_input(), BlockReason::WaitingForInput);
    court.position += 1;
    let mut moved = busy(9, 1.0);
    moved.output = printed(court.position);
    court.expect_silence(0, &moved);
    assert_eq!(court.judge.standing(), None);
    let mut again = reads_input();
    again.output = printed(court.position);
    court.expect(3, &again, BlockReason::WaitingForInput);
}
