//! Which runtime a process has, and what can be told of it.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use super::{java, native};

/// Most frames of a thread that are told.
pub(super) const FRAMES_MAX: usize = 12;
/// How long a runtime may take to answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_millis(600);
/// Most threads of a process that are told.
const THREADS_MAX: usize = 12;
/// Most bytes of `/proc/<pid>/maps` that are read.
const MAPS_MAX: u64 = 1 << 20;

/// A process to look at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// Its id here.
    pub(super) pid: i32,
    /// Its id as others know it.
    pub(super) shown: i32,
}

/// The value behind `key` in a file of `key: value` lines.
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(str::trim)
}

/// Tells the stacks of a process.
pub(super) fn tell(target: Target, say: impl Fn(char, &str)) {
    let name = fs::read_to_string(format!("/proc/{}/comm", target.pid)).unwrap_or_default();
    let who = format!("{} ({})", name.trim(), target.shown);
    let lines = match Runtime::of(target.pid) {
        Runtime::Python => python(target.pid),
        Runtime::Jvm => java::dump(target.pid, ANSWER_MAX).map(|dump| {
            let deadlocks = java::deadlocks(&dump).into_iter();
            let known = deadlocks.map(|line| format!("deadlock: {line}"));
            known.chain(java::stacks(&dump)).collect()
        }),
        Runtime::Node => Err(
            "JavaScript frames cannot be read from outside, and its inspector is not opened unasked"
                .to_owned(),
        ),
        Runtime::Go => Err("Go tells its stacks by SIGQUIT only, which would end it".to_owned()),
        Runtime::Native => Ok(Vec::new()),
    };
    let is_told = matches!(&lines, Ok(lines) if !lines.is_empty());
    match lines {
        Ok(lines) => {
            for line in lines.iter().take(THREADS_MAX) {
                say('s', &format!("{who}, {line}"));
            }
        }
        Err(why) => say('s', &format!("{who} not taken in its own words: {why}")),
    }
    if !is_told {
        for line in native::stacks(target.pid, THREADS_MAX) {
            say('s', &format!("{who}, {line}"));
        }
    }
}

/// Whether it is a process with a JVM of the `HotSpot` family.
pub(super) fn is_jvm(pid: i32) -> bool {
    Runtime::of(pid) == Runtime::Jvm
}

/// What runs a program, by the files it has mapped to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runtime {
    Python,
    Jvm,
    Node,
    Go,
    Native,
}

impl Runtime {
    fn of(pid: i32) -> Self {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let files = mapped(pid);
        let has = |start: &str| {
            let names = files.iter().filter_map(|path| path.file_name()?.to_str());
            names.into_iter().any(|name| name.starts_with(start))
        };
        if has("libjvm.so") {
            Self::Jvm
        } else if has("libpython") || has("python") || has("pypy") {
            Self::Python
        } else if program.file_name().is_some_and(|name| name == "node") || has("libnode.so") {
            Self::Node
        } else if is_go(pid) {
            Self::Go
        } else {
            Self::Native
        }
    }
}

/// The files that a process has mapped.
fn mapped(pid: i32) -> Vec<PathBuf> {
    let mut text = String::new();
    if let Ok(maps) = fs::File::open(format!("/proc/{pid}/maps")) {
        // A piece of them is better than none.
        let _ = maps.take(MAPS_MAX).read_to_string(&mut text);
    }
    let path = |line: &str| line.find('/').map(|start| PathBuf::from(&line[start..]));
    let mut paths: Vec<PathBuf> = text.lines().filter_map(path).collect();
    paths.dedup();
    paths
}

/// Go's linker writes a note of its own near the start of the file.
fn is_go(pid: i32) -> bool {
    let mut start = [0_u8; 4096];
    let Ok(mut program) = fs::File::open(format!("/proc/{pid}/exe")) else {
        return false;
    };
    let length = program.read(&mut start).unwrap_or(0);
    let note = b"\x04\0\0\0Go\0\0";
    memchr::memmem::find(&start[..length], note).is_some()
}

/// The frames of all Python threads, read from the interpreter's memory while it goes on.
fn python(pid: i32) -> Result<Vec<String>, String> {
    let config = py_spy::Config {
        blocking: py_spy::config::LockingStrategy::NonBlocking,
        ..py_spy::Config::default()
    };
    let told = |error: &dyn std::fmt::Display| format!("{error:#}");
    let mut interpreter = py_spy::PythonSpy::new(pid, &config).map_err(|error| told(&error))?;
    let traces = interpreter.get_stack_traces();
    let traces = traces.map_err(|error| told(&error))?;
    Ok(traces.iter().map(python_thread).collect())
}

fn python_thread(trace: &py_spy::StackTrace) -> String {
    let name = trace.thread_name.as_deref().unwrap_or("thread");
    let frame = |frame: &py_spy::Frame| {
        let file = frame.short_filename.as_ref().unwrap_or(&frame.filename);
        format!("{} ({file}:{})", frame.name, frame.line)
    };
    let frames = trace.frames.iter().map(frame).collect::<Vec<_>>();
    format!("Python thread {name}: {}", chain(&frames))
}

/// Frames in one line, the innermost one first.
pub(super) fn chain(frames: &[String]) -> String {
    let more = frames.len().saturating_sub(FRAMES_MAX);
    let line = frames[..frames.len() - more].join(" ← ");
    match more {
        0 => line,
        more => format!("{line} ← {more} more"),
    }
}
