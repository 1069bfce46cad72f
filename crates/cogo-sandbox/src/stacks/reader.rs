//! The process that looks: as one of the exec's own.

use rustix::process::{DumpableBehavior, Gid, Pid, PidfdFlags, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets, ThreadNameSpaceType};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use super::runtime::{self, ANSWER_MAX, Target};
use super::{Question, java};
use crate::sys::{Cloned, clone_process, wait_child};

/// After this long the reader is of no use to anybody.
const SECONDS_MAX: u32 = 2;
/// Memory it may use: the symbols of a large program, not more.
const MEMORY_MAX: u64 = 2 << 30;

/// Longest request.
const REQUEST_MAX: u64 = 1024;

/// Runs the reader. Its input is `QUESTION COMMAND PID…`, with process ids of the host.
pub(crate) fn main() -> ! {
    let code = match run() {
        Ok(()) => 0,
        Err(error) => {
            say('s', &format!("all programs cannot be taken: {error}"));
            1
        }
    };
    std::process::exit(code)
}

fn run() -> io::Result<()> {
    let mut request = String::new();
    io::stdin().take(REQUEST_MAX).read_to_string(&mut request)?;
    let arguments: Vec<&str> = request.split_whitespace().collect();
    let [question, command, pids @ ..] = arguments.as_slice() else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let question = match *question {
        "deadlocks" => Question::Deadlocks,
        _ => Question::Stacks,
    };
    let number = |text: &&str| text.parse::<i32>().map_err(io::Error::other);
    let command = number(command)?;
    let pids: Vec<i32> = pids.iter().map(number).collect::<io::Result<_>>()?;
    let targets = targets(command, &pids);
    bound()?;
    if !join(command)? {
        look(&targets, question);
        return Ok(());
    }
    // A process enters a namespace of process ids by its children.
    // SAFETY: this process has one thread.
    match unsafe { clone_process(0, None)? } {
        Cloned::Parent(child) => {
            wait_child(child.pid)?;
        }
        Cloned::Child => {
            // The clock of a process does not go on in its children.
            end_in_time();
            match become_one_of_them(&targets) {
                Ok(()) => look(&targets, question),
                Err(error) => say('s', &format!("all programs cannot be taken: {error}")),
            }
            std::process::exit(0);
        }
    }
    Ok(())
}

/// The processes with their ids as the command's namespace knows them.
fn targets(command: i32, pids: &[i32]) -> Vec<Target> {
    let depth = ids_inside(command).len();
    let target = |pid: &i32| {
        let inside = *ids_inside(*pid).get(depth.checked_sub(1)?)?;
        Some(Target {
            pid: inside,
            shown: *pid,
        })
    };
    pids.iter().filter_map(target).collect()
}

/// The ids of a process, from the outermost namespace to its own.
fn ids_inside(pid: i32) -> Vec<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ids = runtime::value(&status, "NSpid").unwrap_or_default();
    ids.split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}

/// Bounds what a hostile program can make us use.
fn bound() -> io::Result<()> {
    let limit = |most| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    rustix::process::setrlimit(Resource::Cpu, limit(u64::from(SECONDS_MAX)))?;
    rustix::process::setrlimit(Resource::As, limit(MEMORY_MAX))?;
    rustix::process::setrlimit(Resource::Core, limit(0))?;
    // What it makes is empty: a file that a JVM looks for.
    rustix::process::setrlimit(Resource::Fsize, limit(0))?;
    end_in_time();
    Ok(())
}

fn end_in_time() {
    // SAFETY: sets a clock of this process, whose signal ends it.
    unsafe {
        libc::alarm(SECONDS_MAX);
    }
}

/// Enters the namespaces of the command that are not ours. Whether there are any.
fn join(command: i32) -> io::Result<bool> {
    let kinds = [
        ("user", ThreadNameSpaceType::USER),
        ("mnt", ThreadNameSpaceType::MOUNT),
        ("pid", ThreadNameSpaceType::PROCESS_ID),
        ("net", ThreadNameSpaceType::NETWORK),
    ];
    let mut own = ThreadNameSpaceType::empty();
    for (name, kind) in kinds {
        let theirs = fs::read_link(format!("/proc/{command}/ns/{name}"))?;
        if theirs != fs::read_link(format!("/proc/self/ns/{name}"))? {
            own |= kind;
        }
    }
    if own.is_empty() {
        return Ok(false);
    }
    let pid = Pid::from_raw(command).ok_or(io::ErrorKind::InvalidInput)?;
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
    rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), own)?;
    Ok(true)
}

/// Takes on the user of the exec, and keeps one right over it: to look at its processes.
fn become_one_of_them(targets: &[Target]) -> io::Result<()> {
    let first = targets.first().ok_or(io::ErrorKind::NotFound)?;
    let status = fs::read_to_string(format!("/proc/{}/status", first.pid))?;
    let id = |key| {
        let ids = runtime::value(&status, key)?;
        ids.split_whitespace().next()?.parse::<u32>().ok()
    };
    let (Some(user), Some(group)) = (id("Uid"), id("Gid")) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    // Refused where the exec's user could not drop them either.
    let _ = rustix::thread::set_thread_groups(&[]);
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::SYS_PTRACE,
            permitted: CapabilitySet::SYS_PTRACE,
            inheritable: CapabilitySet::empty(),
        },
    )?;
    rustix::thread::set_no_new_privs(true)?;
    // They may not look at us in turn.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

fn look(targets: &[Target], question: Question) {
    for target in targets {
        match question {
            Question::Stacks => runtime::tell(*target, say),
            Question::Deadlocks => tell_deadlocks(*target),
        }
    }
}

fn tell_deadlocks(target: Target) {
    if !runtime::is_jvm(target.pid) {
        return;
    }
    let Ok(dump) = java::dump(target.pid, ANSWER_MAX) else {
        return;
    };
    for line in java::deadlocks(&dump) {
        say('d', &line);
    }
    for line in java::stacks(&dump) {
        say('s', &format!("java ({}), {line}", target.shown));
    }
}

/// Passes a line on at once: what is said stays said if the time is over.
fn say(kind: char, line: &str) {
    let line = line.replace('\n', " ");
    // Whoever asked may have gone.
    let _ = io::stdout().write_all(format!("{kind}{line}\n").as_bytes());
    let _ = io::stdout().flush();
}
