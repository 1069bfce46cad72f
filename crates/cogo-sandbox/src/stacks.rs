//! Stacks of an exec's programs, in the words of their language: taken once, when there is a
//! reason to ask.
//!
//! ```text
//! StackLook::start ──spawns──▶ reader ──joins the exec's namespaces──▶ reader inside
//!      ▲                                                                │ reads memory, asks
//!      └────────────── lines, as they come ─────────────────────────────┘
//! ```
//!
//! What is read is hostile: a program may lay anything out in its memory, and answer anything. So
//! it is read by a process of its own, which has the exec's user and none of ours, sees its files
//! and network and none of ours, and may do nothing more than the exec may, but look at it. Its
//! time, memory and answer are bounded, and its answer is text for a reader and no more.
//!
//! | runtime | how | what the program notices |
//! |---|---|---|
//! | Python | its frames are read from its memory | nothing |
//! | JVM | `threaddump`, as `jstack` asks for it | threads pause for some milliseconds; it keeps a socket in `/tmp` |
//! | Node, Go | not taken, and why | nothing |
//! | others | return addresses on the stack, with the symbols of the files they lie in | nothing |
//!
//! No signal is ever sent that the program does not handle.

mod java;
mod native;
mod reader;
mod runtime;

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::evidence::Sample;
use crate::launcher;

pub(crate) use reader::main as reader_main;

/// How each line begins.
pub const LINE: &str = "stack of ";
/// Longest time that a look takes.
const TIME_MAX: Duration = Duration::from_millis(800);
/// Most processes that are looked at.
const PROCESSES_MAX: usize = 6;
/// Most lines that are told.
const LINES_MAX: usize = 24;
/// Most characters of a line.
const LINE_MAX: usize = 600;
/// Most bytes that are taken from the reader.
const BYTES_MAX: usize = 64 * 1024;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Where every thread is.
    Stacks,
    /// Whether a runtime that keeps its locks to itself knows of threads that wait for each other.
    Deadlocks,
}

impl Question {
    fn name(self) -> &'static str {
        match self {
            Self::Stacks => "stacks",
            Self::Deadlocks => "deadlocks",
        }
    }
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stacks {
    /// A line for each thread, the most telling one first.
    pub lines: Vec<String>,
    /// What a runtime says of threads that wait for each other.
    pub deadlocks: Vec<String>,
}

/// A look that goes on. Ends its reader when dropped.
#[derive(Debug)]
pub struct StackLook {
    reader: Child,
    text: Vec<u8>,
    ends_at: Instant,
}

impl StackLook {
    /// Starts a look at the processes of a sample. `program` becomes the reader.
    ///
    /// # Errors
    ///
    /// Fails when no process can be started.
    pub fn start(
        program: &Path,
        sample: &Sample,
        question: Question,
        now: Instant,
    ) -> io::Result<Self> {
        let alive = (sample.processes.iter()).filter(|process| !process.threads.is_empty());
        let pids = alive.map(|process| process.pid.to_string());
        let pids: Vec<String> = pids.take(PROCESSES_MAX).collect();
        let request = format!("{} {} {}", question.name(), sample.command, pids.join(" "));
        let reader = Command::new(program)
            .arg0(launcher::STACKS)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut look = Self {
            reader,
            text: Vec::new(),
            ends_at: now + TIME_MAX,
        };
        if let Some(pipe) = &look.reader.stdout {
            rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        // It is short, fits into the pipe, and ends with it.
        if let Some(mut pipe) = look.reader.stdin.take() {
            pipe.write_all(request.as_bytes())?;
        }
        Ok(look)
    }

    /// Takes what is there. `Some` once it is over.
    pub fn poll(&mut self, now: Instant) -> Option<Stacks> {
        let is_over = self.read() || now >= self.ends_at || self.text.len() >= BYTES_MAX;
        is_over.then(|| self.stacks(now))
    }

    /// Whether the reader has said all it has to say.
    fn read(&mut self) -> bool {
        let Some(pipe) = &self.reader.stdout else {
            return true;
        };
        let mut buffer = [0_u8; 4096];
        while self.text.len() < BYTES_MAX {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => return true,
                Ok(count) => self.text.extend_from_slice(&buffer[..count]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return false,
                Err(_) => return true,
            }
        }
        true
    }

    fn stacks(&self, now: Instant) -> Stacks {
        let mut stacks = parse(&self.text);
        if now >= self.ends_at {
            let more = format!("{LINE}more was not read within {} ms", TIME_MAX.as_millis());
            stacks.lines.push(more);
        }
        stacks
    }
}

impl Drop for StackLook {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.reader.kill();
        let _ = self.reader.wait();
    }
}

/// Lines of the reader begin with a letter that says what they are; anything else is not ours.
fn parse(text: &[u8]) -> Stacks {
    let text = String::from_utf8_lossy(text);
    let mut stacks = Stacks::default();
    for line in text.lines() {
        let (kind, line) = line.split_at_checked(1).unwrap_or_default();
        let printable = line.chars().filter(|letter| !letter.is_control());
        let line: String = printable.take(LINE_MAX).collect();
        match kind {
            "s" if stacks.lines.len() < LINES_MAX => stacks.lines.push(format!("{LINE}{line}")),
            "d" if stacks.deadlocks.len() < LINES_MAX => stacks.deadlocks.push(line),
            _ => {}
        }
    }
    stacks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_bounded_text() {
        let mut text = b"spython (7): a\x1b[31m\nda waits for b\nx\n\xff\n".to_vec();
        for _ in 0..100 {
            text.extend_from_slice(&[b's'; 5000]);
            text.push(b'\n');
        }
        let stacks = parse(&text);
        assert_eq!(stacks.lines[0], "stack of python (7): a[31m");
        assert_eq!(stacks.deadlocks, ["a waits for b"]);
        assert_eq!(stacks.lines.len(), LINES_MAX);
        assert!(stacks.lines.iter().all(|line| line.len() < 700));
    }
}
