//! What a JVM says of its threads, asked for as `jstack` does.
//!
//! `HotSpot` looks for `.attach_pid<pid>` when it gets `SIGQUIT`, and then opens a socket
//! `/tmp/.java_pid<pid>`, on which it answers whoever has its own user id. Without that file the
//! signal would make it print its threads to its output; where it does not handle the signal, it
//! would end. Neither is done.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::runtime::{self, chain};
use crate::evidence::handles_quit;

/// Most bytes of an answer.
const DUMP_MAX: u64 = 512 * 1024;
/// Time between looks for the socket.
const STEP: Duration = Duration::from_millis(5);

/// What the JVM says of its threads.
pub(super) fn dump(pid: i32, time_max: Duration) -> Result<String, String> {
    let ends_at = Instant::now() + time_max;
    let own = runtime_id(pid);
    let socket = format!("/tmp/.java_pid{own}");
    if !is_socket(&socket) {
        open_socket(pid, own, &socket, ends_at)?;
    }
    ask(&socket, ends_at).map_err(|error| format!("the JVM does not answer: {error}"))
}

/// A JVM names its files by its id in its own namespace.
fn runtime_id(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = runtime::value(&status, "NSpid").unwrap_or_default();
    let own = ids.split_whitespace().next_back();
    own.and_then(|id| id.parse().ok()).unwrap_or(pid)
}

fn is_socket(path: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

fn open_socket(pid: i32, own: i32, socket: &str, ends_at: Instant) -> Result<(), String> {
    // It ends a process that has no handler.
    if !handles_quit(pid) {
        return Err("the JVM does not handle SIGQUIT".to_owned());
    }
    let sign = format!("/tmp/.attach_pid{own}");
    let mut options = fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(&sign);
    made.map_err(|error| format!("`{sign}` cannot be made: {error}"))?;
    let opened = Pid::from_raw(pid).is_some_and(|pid| {
        rustix::process::kill_process(pid, Signal::QUIT).is_ok() && appears(socket, ends_at)
    });
    // A leftover would do no harm.
    let _ = fs::remove_file(&sign);
    if opened {
        Ok(())
    } else {
        Err("the JVM did not open its socket".to_owned())
    }
}

fn appears(socket: &str, ends_at: Instant) -> bool {
    while Instant::now() < ends_at {
        if is_socket(socket) {
            return true;
        }
        std::thread::sleep(STEP);
    }
    false
}

fn ask(socket: &str, ends_at: Instant) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    let left = ends_at.saturating_duration_since(Instant::now()).max(STEP);
    stream.set_read_timeout(Some(left))?;
    stream.set_write_timeout(Some(left))?;
    // Version, command, and three arguments of which it needs none.
    stream.write_all(b"1\0threaddump\0\0\0\0")?;
    let mut answer = Vec::new();
    // What came until the time was over is told.
    let ended = stream.take(DUMP_MAX).read_to_end(&mut answer);
    if answer.is_empty() {
        ended?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A line for each thread that runs Java: those of the program before those of the JVM.
pub(super) fn stacks(dump: &str) -> Vec<String> {
    // Threads in a deadlock are told of a second time behind this.
    let (threads, _) = dump.split_once("Java-level deadlock").unwrap_or((dump, ""));
    let paragraphs = threads.split("\n\n").map(str::trim_start);
    let mut found: Vec<(bool, String)> = paragraphs.filter_map(thread).collect();
    found.sort_by_key(|(is_daemon, _)| *is_daemon);
    found.into_iter().map(|(_, line)| line).collect()
}

fn thread(paragraph: &str) -> Option<(bool, String)> {
    let (head, rest) = paragraph.split_once('\n')?;
    let (name, about) = head.strip_prefix('"')?.rsplit_once('"')?;
    let state = rest.split_once("java.lang.Thread.State: ");
    let state = state.and_then(|(_, state)| state.lines().next());
    let lines = || rest.lines().map(str::trim);
    let frames: Vec<String> = lines()
        .filter_map(|line| line.strip_prefix("at "))
        .map(without_module)
        .collect();
    if frames.is_empty() {
        return None;
    }
    let waits = lines().find_map(|line| {
        let wait = line.strip_prefix("- ")?;
        (wait.starts_with("waiting to") || wait.starts_with("parking to")).then_some(wait)
    });
    let waits = waits.map_or_else(String::new, |wait| format!(" ({wait})"));
    let state = state.unwrap_or("running");
    let line = format!("Java thread {name}, {state}: {}{waits}", chain(&frames));
    Some((about.contains(" daemon "), line))
}

/// `java.lang.Thread.sleep(java.base@17/Native Method)` without the module.
fn without_module(frame: &str) -> String {
    match (frame.split_once('('), frame.rsplit_once('/')) {
        (Some((method, place)), Some((_, file))) if place.contains('/') => {
            format!("{method}({file}")
        }
        _ => frame.to_owned(),
    }
}

/// What `HotSpot` itself says of threads that wait for each other's locks.
pub(super) fn deadlocks(dump: &str) -> Vec<String> {
    let mut lines = dump.lines().map(str::trim);
    let mut found = Vec::new();
    while lines.any(|line| line.starts_with("Found one Java-level deadlock")) {
        let mut waits = Vec::new();
        let mut who = "";
        let listed = lines.by_ref().skip(1);
        for line in listed.take_while(|line| !line.starts_with("Java stack information")) {
            if let Some(name) = line.strip_suffix(':').filter(|line| line.starts_with('"')) {
                who = name;
            } else if let Some(holder) = line.strip_prefix("which is held by ") {
                waits.push(format!("{who} waits for a lock of {holder}"));
            }
        }
        found.push(waits.join(", "));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = r#"Full thread dump OpenJDK 64-Bit Server VM (17.0.15):

"Common-Cleaner" #9 daemon prio=8 os_prio=0 cpu=0.5ms in Object.wait()  [0x7f]
   java.lang.Thread.State: TIMED_WAITING (on object monitor)
	at java.lang.Object.wait(java.base@17.0.15/Native Method)

"left" #14 prio=5 os_prio=0 waiting for monitor entry  [0x7f]
   java.lang.Thread.State: BLOCKED (on object monitor)
	at Monitors.take(Monitors.java:7)
	- waiting to lock <0x01> (a java.lang.Object)
	at Monitors.lambda$main$0(Monitors.java:12)

"GC Thread#0" os_prio=0 cpu=1.5ms tid=0x7f runnable

Found one Java-level deadlock:
=============================
"left":
  waiting to lock monitor 0x01 (object 0x01, a java.lang.Object),
  which is held by "right"

"right":
  waiting for ownable synchronizer 0x02, (a java.util.concurrent.locks.ReentrantLock$NonfairSync),
  which is held by "left"

Java stack information for the threads listed above:
===================================================
"left":
	at Monitors.take(Monitors.java:7)

Found 1 deadlock.
"#;

    #[test]
    fn threads_of_the_program_come_first() {
        let lines = stacks(DUMP);
        assert_eq!(
            lines[0],
            "Java thread left, BLOCKED (on object monitor): Monitors.take(Monitors.java:7) ← \
             Monitors.lambda$main$0(Monitors.java:12) (waiting to lock <0x01> (a java.lang.Object))"
        );
        assert!(lines[1].ends_with("java.lang.Object.wait(Native Method)"));
        assert_eq!(lines.len(), 2, "{lines:?}");
    }

    #[test]
    fn a_deadlock_is_told_as_a_circle() {
        let expected =
            "\"left\" waits for a lock of \"right\", \"right\" waits for a lock of \"left\"";
        assert_eq!(deadlocks(DUMP), [expected]);
        assert_eq!(deadlocks("Full thread dump"), [""; 0]);
    }
}
