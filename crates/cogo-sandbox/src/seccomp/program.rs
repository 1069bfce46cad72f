//! Turns the rule table into a classic BPF program.
//!
//! BPF jumps go forward only, so the program is written from its end to its start: whatever a jump
//! can reach is already there, and no address is ever patched.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W,
    sock_filter,
};

use super::{Action, REVIEWED_MAX, Relation, Rule, Test};

/// The audit name of this architecture: `EM_*` with the 64-bit and little-endian bits.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
/// The audit name of this architecture: `EM_*` with the 64-bit and little-endian bits.
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`. Both architectures are little-endian: the low half is first.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENTS_OFFSET: u32 = 16;

/// The longest conditional jump: its distances are bytes.
const JUMP_MAX: usize = 255;

/// How many numbers that differ from their neighbours are compared with one by one. Each saves a
/// step of the search, and the kernel's time to load a program grows with its length.
const EXCEPTIONS_MAX: usize = 2;

/// Numbers from `first` up to the next segment's are decided alike, but for some.
struct Segment {
    first: u32,
    decision: Decision,
    exceptions: Vec<(u32, Decision)>,
}

impl Segment {
    fn new(first: u32, decision: Decision) -> Self {
        Self {
            first,
            decision,
            exceptions: Vec::new(),
        }
    }
}

/// What decides a number: one action, or rules with conditions.
#[derive(Clone, Copy, PartialEq)]
enum Decision {
    Fixed(Action),
    Body(Label),
}

/// Builds the whole program.
pub(super) fn assemble(rules: &[Rule]) -> Box<[sock_filter]> {
    let mut assembler = Assembler {
        reversed: Vec::with_capacity(320),
        returns: Vec::new(),
    };
    let segments = segments(&mut assembler, rules);
    let by_number = assembler.search(&segments);
    let start = assembler.load(NUMBER_OFFSET);
    debug_assert_eq!(start.0, by_number.0 + 1, "the search follows its load");
    let kill = assembler.action(Action::KillProcess);
    // The killing instruction stands between: step over it.
    assembler.jump_if(BPF_JEQ, ARCHITECTURE, start, kill);
    assembler.load(ARCHITECTURE_OFFSET);
    assembler.reversed.into_iter().rev().collect()
}

/// Divides the numbers into runs that are decided alike; emits the conditions on the way.
fn segments(assembler: &mut Assembler, rules: &[Rule]) -> Vec<Segment> {
    let mut sorted: Vec<&Rule> = rules.iter().collect();
    sorted.sort_by_key(|rule| rule.number); // stable: rules of one call keep their order
    let mut segments = Vec::with_capacity(128);
    let mut next = 0;
    for call in sorted.chunk_by(|a, b| a.number == b.number) {
        let number = call[0].number;
        if number > next {
            segments.push(Segment::new(next, UNKNOWN));
        }
        segments.push(Segment::new(number, assembler.call(call)));
        next = number + 1;
    }
    debug_assert_eq!(
        next,
        REVIEWED_MAX + 1,
        "the table ends where the review ended"
    );
    segments.push(Segment::new(next, UNKNOWN));
    segments.dedup_by(|later, earlier| later.decision == earlier.decision);
    with_exceptions(segments)
}

/// Joins what stands left and right of a single number that is decided differently.
fn with_exceptions(segments: Vec<Segment>) -> Vec<Segment> {
    let mut joined: Vec<Segment> = Vec::with_capacity(segments.len());
    let mut rest = segments.into_iter().peekable();
    while let Some(segment) = rest.next() {
        let joins = |run: &Segment, after: &Segment| {
            after.first == segment.first + 1
                && after.decision == run.decision
                && run.exceptions.len() < EXCEPTIONS_MAX
        };
        match (joined.last_mut(), rest.peek()) {
            (Some(run), Some(after)) if joins(run, after) => {
                run.exceptions.push((segment.first, segment.decision));
                rest.next();
            }
            _ => joined.push(segment),
        }
    }
    joined
}

const UNKNOWN: Decision = Decision::Fixed(Action::Errno(libc::ENOSYS));

/// The place of an instruction, counted from the end of the program.
#[derive(Clone, Copy, PartialEq)]
struct Label(usize);

struct Assembler {
    reversed: Vec<sock_filter>,
    returns: Vec<(Action, Label)>,
}

impl Assembler {
    /// Emits what decides one call: its rules in order, the first that holds wins.
    fn call(&mut self, rules: &[&Rule]) -> Decision {
        let (last, conditional) = rules.split_last().expect("a call has at least one rule");
        debug_assert!(last.when.is_empty(), "{} has no last word", last.syscall);
        if conditional.is_empty() {
            return Decision::Fixed(last.action);
        }
        let mut otherwise = self.action(last.action);
        for rule in conditional.iter().rev() {
            let mut holds = self.action(rule.action);
            for test in rule.when.iter().rev() {
                holds = self.test(test, holds, otherwise);
            }
            otherwise = holds;
        }
        Decision::Body(otherwise)
    }

    fn test(&mut self, test: &Test, holds: Label, fails: Label) -> Label {
        let (found, mut next) = match test.relation {
            Relation::OneOf => (holds, fails),
            Relation::NoneOf => (fails, holds),
        };
        for value in test.values.iter().rev() {
            next = self.jump_if(BPF_JEQ, *value, found, next);
        }
        if test.mask != u32::MAX {
            self.push(BPF_ALU | BPF_AND | BPF_K, test.mask, 0, 0);
        }
        self.load(ARGUMENTS_OFFSET + 8 * u32::from(test.argument))
    }

    /// Emits a binary search for the number's segment.
    fn search(&mut self, segments: &[Segment]) -> Label {
        if let [segment] = segments {
            let mut label = self.decision(segment.decision);
            for (number, decision) in segment.exceptions.iter().rev() {
                let found = self.decision(*decision);
                label = self.jump_if(BPF_JEQ, *number, found, label);
            }
            return label;
        }
        let (low, high) = segments.split_at(segments.len() / 2);
        let high_label = self.search(high);
        let low_label = self.search(low);
        self.jump_if(BPF_JGE, high[0].first, high_label, low_label)
    }

    fn decision(&mut self, decision: Decision) -> Label {
        match decision {
            Decision::Fixed(action) => self.action(action),
            Decision::Body(label) => label,
        }
    }

    /// A return within reach of a jump, shared where there is one.
    fn action(&mut self, action: Action) -> Label {
        // Half the reach: the jump itself may come a while later.
        let near = self.reversed.len().saturating_sub(JUMP_MAX / 2);
        if let Some(found) = self
            .returns
            .iter()
            .find(|(a, at)| *a == action && at.0 >= near)
        {
            return found.1;
        }
        let value = match action {
            Action::Allow => libc::SECCOMP_RET_ALLOW,
            Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
            Action::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        };
        let label = self.push(BPF_RET | BPF_K, value, 0, 0);
        self.returns.push((action, label));
        label
    }

    fn load(&mut self, offset: u32) -> Label {
        self.push(BPF_LD | BPF_W | BPF_ABS, offset, 0, 0)
    }

    fn jump_if(&mut self, operation: u32, value: u32, yes: Label, no: Label) -> Label {
        let (yes, no) = (self.within_reach(yes), self.within_reach(no));
        let here = self.reversed.len();
        let distance = |label: Label| u8::try_from(here - label.0 - 1).expect("within reach");
        self.push(
            BPF_JMP | operation | BPF_K,
            value,
            distance(yes),
            distance(no),
        )
    }

    /// The label itself, or a new long jump to it.
    fn within_reach(&mut self, label: Label) -> Label {
        let distance = self.reversed.len() - label.0 - 1;
        // One less than the most: the other target may still need a long jump in between.
        if distance < JUMP_MAX {
            return label;
        }
        self.push(BPF_JMP | BPF_JA, distance as u32, 0, 0)
    }

    fn push(&mut self, code: u32, k: u32, jt: u8, jf: u8) -> Label {
        self.reversed.push(sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        });
        Label(self.reversed.len() - 1)
    }
}
