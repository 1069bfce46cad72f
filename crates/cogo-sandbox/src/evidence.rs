//! What the kernel shows of one exec from outside: plain data for whoever judges whether it hangs.
//!
//! Three looks, each for a pace of its own:
//!
//! | look | costs | tells |
//! |---|---|---|
//! | [`Observer::glance`] | a few µs | whether anything ran, whether a limit was hit |
//! | [`Observer::survey`] | about ten µs | how near the whole tree is to its limits |
//! | [`Observer::examine`] | tens of µs for each thread | every process and thread, and what it waits for |
//!
//! A wait is resolved as far as the kernel tells: the system call and its arguments, the
//! descriptors behind them, who holds the other end of a pipe or connection, who owns a lock, when
//! a timer ends. Nothing is changed and no process is stopped: all of it is read from `/proc` and
//! the control group.
//!
//! As an ordinary user the same holds for one's own execs, whose user namespace is one's own
//! child, save for kernels that keep `/proc/<pid>/syscall` to themselves: those waits are
//! [`Call::Hidden`], and a hidden wait proves nothing.
//!
//! Deliberately absent: any judgement, and any name of a program that changes what is read.

mod call;
mod descriptor;
mod lock;
mod observer;
mod proc_file;
mod socket;
mod thread;

use std::time::Duration;

pub use observer::{Detail, Observer};
pub use thread::handles_quit;

/// What changes with every step of an exec, read at a fast pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// Processor time of the whole tree; `None` where nobody counts it.
    pub cpu: Option<Duration>,
    /// Processes the kernel killed at the memory limit, so far.
    pub oom_kills: u64,
    /// Processes or threads refused at the pids limit, so far.
    pub pids_refused: u64,
}

/// One look at a whole exec.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// Its processes, process 1 of the sandbox left out. Empty in a survey.
    pub processes: Vec<Process>,
    /// The process id of the command itself.
    pub command: i32,
    /// The process id of the sandbox's process 1, to which orphans go.
    pub init: i32,
    /// What a glance shows, read before the rest.
    pub glance: Glance,
    /// Memory of the whole tree; `None` in a survey of one that is far from its limit.
    pub memory: Option<Memory>,
    /// Processes and threads of the whole tree; in a survey only once some were refused.
    pub pids: Bounded,
    /// The sandbox's private disk, in bytes.
    pub disk: Option<Bounded>,
    /// How the cpu limit was applied so far.
    pub throttling: Option<Throttling>,
    /// What the exec printed; `None` in a survey.
    pub output: Option<Output>,
    /// Whether processes and threads were looked at, and all of them could be read. What is
    /// missing must not be taken for absent.
    pub complete: bool,
}

/// An amount and its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounded {
    /// How much is used.
    pub used: u64,
    /// How much there may be; `None` without a bound.
    pub limit: Option<u64>,
}

/// Memory of the whole tree, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Memory that cannot be dropped: pages without a file behind them. The page cache is left
    /// out, which fills up to any limit and gives way again.
    pub held: u64,
    /// The limit of the exec.
    pub limit: Option<u64>,
    /// Pages read back from disk because they had been dropped or were not there yet, so far.
    pub major_faults: u64,
}

/// How often the scheduler took the processor away at the cpu limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Periods in which something wanted to run.
    pub periods: u64,
    /// Those of them in which the limit was reached.
    pub throttled: u64,
}

/// Where the output stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// A number that changes whenever something is printed.
    pub position: u64,
    /// Whether the last thing printed does not end its line, as a question does not.
    pub mid_line: bool,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Its id as the host sees it.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// The name of its main thread.
    pub name: String,
    /// Its threads; the one with the process's id is the main one.
    pub threads: Vec<Thread>,
    /// Bytes moved by read calls, so far.
    pub bytes_read: u64,
    /// Bytes moved by write calls, so far.
    pub bytes_written: u64,
    /// Read calls, so far.
    pub read_calls: u64,
    /// Write calls, so far.
    pub write_calls: u64,
    /// Page faults of all threads, so far.
    pub faults: u64,
    /// Open descriptors.
    pub descriptors: Bounded,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thread {
    /// Its id as the host sees it.
    pub tid: i32,
    /// Processor time it used so far.
    pub cpu: Duration,
    /// Time it was ready to run and had no processor, so far.
    pub queued: Duration,
    /// How often it was put on a processor. As long as this stands still, it did nothing at all.
    pub turns: u64,
    /// What it waits for.
    pub wait: Wait,
    /// The kernel function it sleeps in, where that is told.
    pub kernel_function: String,
}

/// What a thread waits for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wait {
    /// The kind of wait.
    pub call: Call,
    /// The descriptors behind it.
    pub on: Vec<Target>,
    /// When it ends by itself.
    pub timeout: Timeout,
}

/// The kind of wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Call {
    /// It waits for nothing: it runs or is about to.
    #[default]
    Running,
    /// It waits for a device, and cannot be interrupted.
    Disk,
    /// It sleeps for a time.
    Sleep,
    /// It waits for another thread to change a word of memory.
    Futex {
        /// Where the word is.
        address: u64,
        /// The thread that holds it, where the word belongs to a mutex that says so.
        owner: Option<i32>,
    },
    /// It reads.
    Read,
    /// It writes.
    Write,
    /// It waits until one of several descriptors is ready.
    Poll,
    /// It waits for a client.
    Accept,
    /// It waits for a server to answer at all.
    Connect,
    /// It opens a named pipe that has no other end.
    Open,
    /// It waits for a child to end, or for the one just made to become a program.
    Child,
    /// It waits for a file lock.
    Lock(LockHolder),
    /// It waits for a signal.
    Signal,
    /// It waits for a System V or POSIX semaphore or message.
    Message,
    /// A signal or a tracer stopped it.
    Stopped,
    /// It ended and nobody asked how.
    Zombie,
    /// It sleeps in a system call that says nothing about who could wake it.
    Other {
        /// The number of the call.
        number: i64,
    },
    /// It sleeps, and this user is not told where.
    Hidden,
}

/// Who holds a file lock that a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockHolder {
    /// A process of the exec.
    Inside(i32),
    /// Some other process.
    Outside(i32),
    /// The kernel does not say.
    Unknown,
}

/// When a wait ends by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timeout {
    /// Never.
    #[default]
    Never,
    /// After at most that time, where it is known.
    After(Option<Duration>),
}

/// What a descriptor leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The exec's own standard input: only whoever started it can send something.
    Input {
        /// The descriptor that leads there.
        descriptor: i32,
        /// Whether it is a terminal.
        terminal: bool,
    },
    /// The exec's own output, which is always read.
    Output,
    /// A pipe made inside.
    Pipe(Channel),
    /// A named pipe.
    NamedPipe {
        /// Its path inside.
        path: String,
    },
    /// A terminal made inside, or its master.
    Terminal,
    /// A socket that waits for clients.
    Listener {
        /// Clients that are waiting to be accepted.
        waiting: u64,
    },
    /// A connection, or a pair of sockets, between processes of the exec.
    Connection(Channel),
    /// A connection to something outside of the exec.
    Remote {
        /// The other side.
        peer: String,
    },
    /// A counter that only processes of the exec change.
    Event,
    /// A timer.
    Timer {
        /// Time until it ends; `None` if it is not set.
        left: Option<Duration>,
    },
    /// Signals or the end of a process.
    Process,
    /// Changes of files, which anyone may make.
    FileChanges,
    /// A regular file or directory.
    File,
    /// Something whose waker is not known.
    Other {
        /// How the kernel names it.
        name: String,
    },
}

/// The two ends of something made inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channel {
    /// What the kernel calls it.
    pub inode: u64,
    /// Processes that can read from it, or hold the other end of a connection.
    pub readers: Vec<i32>,
    /// Processes that can write to it, or hold the other end of a connection.
    pub writers: Vec<i32>,
    /// Bytes that lie unread on the other side of a connection.
    pub unread: u64,
}
