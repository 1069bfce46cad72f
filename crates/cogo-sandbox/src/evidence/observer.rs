//! Looks at one exec.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::call::{self, Arguments};
use super::descriptor::{Descriptors, Surroundings};
use super::socket::{Listeners, Reach, Sockets};
use super::thread::{self, Place, Schedule, Stat};
use super::{
    Bounded, Call, Glance, Memory, Output, Process, Sample, Target, Thread, Throttling, Wait,
    proc_file,
};
use crate::cgroup::{Cgroup, Gauge, LimitEvent};
use crate::exec_dir::{ExecDir, Running};
use crate::log::log_tail;
use crate::sandbox::PROXY_PORT;
use crate::spec::{ExecSpec, Isolation, Network};

/// Most threads that are looked at. A tree that is larger is not judged by its waits.
const THREADS_MAX: usize = 1024;

/// Below this share of its limit, memory is not looked at closely.
const MEMORY_NOTABLE: f64 = 0.75;

/// With fewer open descriptors than this, no limit worth the name is near.
const DESCRIPTORS_NOTABLE: u64 = 16;

/// How much is read of each thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What a judgement needs.
    Waits,
    /// Also the kernel functions they sleep in, and how many clients wait, for a reader.
    WithPlaces,
}

/// Looks at one running exec. Holds a few descriptors of its control group.
#[derive(Debug)]
pub struct Observer {
    command: i32,
    init: i32,
    supervisor: i32,
    /// The terminal the exec was given, as a device number; 0 without one.
    terminal: u64,
    reach: Reach,
    has_scratch: bool,
    has_cpu_limit: bool,
    cgroup: Option<Cgroup>,
    gauge: Gauge,
    log_dir: PathBuf,
    listeners: Listeners,
}

impl Observer {
    /// Prepares to look at an exec.
    ///
    /// # Errors
    ///
    /// Fails when the command has ended.
    pub fn open(exec: &ExecDir, running: &Running, spec: &ExecSpec) -> io::Result<Self> {
        let command = running.command_pid.ok_or(io::ErrorKind::NotFound)?;
        let stat = Stat::read(command, command).ok_or(io::ErrorKind::NotFound)?;
        let record = running.cgroup.as_ref();
        let cgroup = record.and_then(|record| Cgroup::reopen(record).ok());
        Ok(Self {
            command,
            init: stat.parent,
            supervisor: running.supervisor_pid,
            terminal: spec.pty.map_or(0, |_| device(stat.terminal)),
            reach: reach(spec),
            has_cpu_limit: spec.limits.cpus.is_some(),
            has_scratch: spec.isolation != Isolation::None,
            gauge: cgroup.as_ref().map_or_else(Gauge::default, Cgroup::gauge),
            cgroup,
            log_dir: exec.log_dir(),
            listeners: Listeners::default(),
        })
    }

    /// Descriptors that wake when a limit may have been hit. Where the kernel has no such event,
    /// [`Self::glance`] tells of it.
    pub fn limit_events(&self) -> Vec<LimitEvent> {
        let events = |cgroup: &Cgroup| [cgroup.oom_event(), cgroup.pids_event()];
        let events = self.cgroup.as_ref().map(events);
        events.into_iter().flatten().flatten().collect()
    }

    /// Tells whether anything ran, and whether a limit was hit.
    pub fn glance(&self) -> Glance {
        Glance {
            cpu: self.gauge.cpu(),
            oom_kills: self.gauge.oom_kills(),
            pids_refused: self.gauge.pids_refused(),
        }
    }

    /// Processor time of the whole tree, where it is counted.
    pub fn cpu(&self) -> Option<Duration> {
        self.gauge.cpu()
    }

    /// Processes or threads refused at the pids limit, so far.
    pub fn pids_refused(&self) -> u64 {
        self.gauge.pids_refused()
    }

    /// Processes and threads of the whole tree, and their limit.
    pub fn pids_now(&self) -> Bounded {
        self.pids_in_use()
    }

    /// The file that counts the processes and threads of this exec and all beside it.
    pub fn crowd_file(&self) -> Option<PathBuf> {
        self.cgroup.as_ref().and_then(Cgroup::crowd_file)
    }

    /// Looks at the tree as a whole: what of its limits is near.
    pub fn survey(&self) -> Sample {
        let glance = self.glance();
        let has_news = glance.oom_kills + glance.pids_refused > 0;
        Sample {
            command: self.command,
            init: self.init,
            disk: self.disk(),
            memory: (has_news || self.gauge.memory_is_near(MEMORY_NOTABLE))
                .then(|| self.memory())
                .flatten(),
            pids: if has_news {
                self.pids_in_use()
            } else {
                Bounded::default()
            },
            throttling: self.throttling(),
            glance,
            ..Sample::default()
        }
    }

    /// Looks at every process and thread, as closely as asked.
    pub fn examine(&mut self, detail: Detail) -> Sample {
        let mut sample = Sample {
            command: self.command,
            init: self.init,
            glance: self.glance(),
            disk: self.disk(),
            memory: self.memory(),
            pids: self.pids_in_use(),
            throttling: self.throttling(),
            output: Some(self.output()),
            complete: true,
            ..Sample::default()
        };
        let pids = self.pids();
        let mut listeners = std::mem::take(&mut self.listeners);
        listeners.suffice = detail == Detail::Waits;
        let sockets = Sockets::new(self.reach, listeners);
        let mut surroundings =
            Surroundings::new(self.supervisor, self.terminal, sockets, pids.clone());
        let mut room = THREADS_MAX;
        for pid in pids {
            match self.process(pid, room, detail, &mut surroundings) {
                Some(process) => {
                    room -= process.threads.len();
                    sample.processes.push(process);
                }
                // It ended between the two looks.
                None if room > 0 => {}
                None => {
                    sample.complete = false;
                    break;
                }
            }
        }
        self.listeners = surroundings.sockets.into_listeners();
        sample
    }

    fn memory(&self) -> Option<Memory> {
        self.gauge.memory().map(|memory| Memory {
            held: memory.held,
            limit: memory.limit,
            major_faults: memory.major_faults,
        })
    }

    fn pids_in_use(&self) -> Bounded {
        let found = self.gauge.pids();
        found.map_or_else(Bounded::default, |(used, limit)| Bounded { used, limit })
    }

    fn throttling(&self) -> Option<Throttling> {
        let found = self.has_cpu_limit.then(|| self.gauge.throttling());
        found
            .flatten()
            .map(|(periods, throttled)| Throttling { periods, throttled })
    }

    /// Processes of the exec, without the sandbox's process 1.
    fn pids(&self) -> Vec<i32> {
        let found = self.cgroup.as_ref().and_then(|cgroup| cgroup.pids().ok());
        let mut pids = found.unwrap_or_else(|| descendants(self.init));
        pids.retain(|pid| *pid != self.init);
        pids
    }

    fn process(
        &self,
        pid: i32,
        room: usize,
        detail: Detail,
        surroundings: &mut Surroundings,
    ) -> Option<Process> {
        let mut tids = proc_file::numbers_in(&format!("/proc/{pid}/task")).ok()?;
        tids.sort_unstable();
        if tids.len() > room {
            return None;
        }
        let mut process = Process {
            pid,
            ..Process::default()
        };
        let mut parent = None;
        for tid in tids {
            let Some(stat) = Stat::read(pid, tid) else {
                continue;
            };
            process.faults += stat.minor_faults + stat.major_faults;
            if tid == pid {
                parent = Some(stat.parent);
                process.name.clone_from(&stat.name);
            }
            let mut thread = self.thread(pid, tid, &stat, surroundings);
            let sleeps = !matches!(thread.wait.call, Call::Running | Call::Zombie);
            if detail == Detail::WithPlaces && sleeps {
                thread.kernel_function = thread::kernel_function(pid, tid);
            }
            process.threads.push(thread);
        }
        process.parent = parent?;
        name_owners(&mut process);
        read_traffic(&mut process);
        process.descriptors = descriptors(pid);
        Some(process)
    }

    fn thread(&self, pid: i32, tid: i32, stat: &Stat, surroundings: &mut Surroundings) -> Thread {
        // A kernel without scheduler statistics counts in ticks.
        let schedule = thread::schedule(pid, tid).unwrap_or(Schedule {
            cpu: Duration::from_millis(stat.ticks * 10),
            queued: Duration::ZERO,
            turns: 0,
        });
        let is_inside = {
            let pids = surroundings.pids.clone();
            move |pid: i32| pids.contains(&pid)
        };
        let mut descriptors = Descriptors {
            pid,
            terminal: device(stat.terminal),
            is_inside: &is_inside,
            surroundings,
        };
        let wait = match stat.state {
            'R' => Wait::default(),
            'Z' | 'X' => alone(Call::Zombie),
            'T' | 't' => self.stopped(stat),
            state => asleep(pid, tid, state, &mut descriptors),
        };
        Thread {
            tid,
            cpu: schedule.cpu,
            queued: schedule.queued,
            turns: schedule.turns,
            wait,
            kernel_function: String::new(),
        }
    }

    /// A terminal stops who reads from it in the background.
    fn stopped(&self, stat: &Stat) -> Wait {
        let on_terminal = self.terminal != 0 && device(stat.terminal) == self.terminal;
        let in_background = stat.group != stat.terminal_group;
        let input = Target::Input {
            descriptor: 0,
            terminal: true,
        };
        Wait {
            on: if on_terminal && in_background {
                vec![input]
            } else {
                Vec::new()
            },
            ..alone(Call::Stopped)
        }
    }

    /// The private disk: every private place of the sandbox is a part of it.
    fn disk(&self) -> Option<Bounded> {
        if !self.has_scratch {
            return None;
        }
        let found = rustix::fs::statfs(format!("/proc/{}/root/tmp", self.init)).ok()?;
        let block = found.f_bsize as u64;
        let free = if found.f_ffree == 0 {
            0
        } else {
            found.f_bavail
        };
        Some(Bounded {
            used: found.f_blocks.saturating_sub(free) * block,
            limit: Some(found.f_blocks * block),
        })
    }

    fn output(&self) -> Output {
        log_tail(&self.log_dir).map_or_else(
            |_| Output::default(),
            |tail| Output {
                position: tail.position,
                mid_line: tail.mid_line,
            },
        )
    }
}

fn reach(spec: &ExecSpec) -> Reach {
    match (&spec.network, spec.isolation) {
        (_, Isolation::None) | (Network::Host, _) => Reach::Host,
        (Network::Allow(_), _) => Reach::OwnWithProxy(PROXY_PORT),
        (Network::None, _) => Reach::Own,
    }
}

/// `stat` writes device numbers in the kernel's own order.
fn device(number: u64) -> u64 {
    let major = (number >> 8) & 0xfff;
    let minor = (number & 0xff) | ((number >> 12) & 0xf_ff00);
    libc::makedev(major as u32, minor as u32)
}

fn alone(call: Call) -> Wait {
    Wait {
        call,
        ..Wait::default()
    }
}

fn asleep(pid: i32, tid: i32, state: char, descriptors: &mut Descriptors<'_>) -> Wait {
    match (thread::place(pid, tid), state) {
        (Place::Running, _) => Wait::default(),
        // A fork that waits for its child cannot be interrupted either.
        (Place::In(arguments), 'D') if !makes_process(arguments) => alone(Call::Disk),
        (Place::In(arguments), _) => call::wait(arguments, tid, descriptors),
        (Place::Outside, _) | (Place::Hidden, 'D') => alone(Call::Disk),
        (Place::Hidden, _) => alone(Call::Hidden),
    }
}

fn makes_process(arguments: Arguments) -> bool {
    #[cfg(target_arch = "x86_64")]
    if arguments.number == libc::SYS_vfork {
        return true;
    }
    matches!(arguments.number, libc::SYS_clone | libc::SYS_clone3)
}

/// A mutex knows its owner by the thread id inside the sandbox; here ids are the host's.
fn name_owners(process: &mut Process) {
    let has_owner =
        |thread: &Thread| matches!(thread.wait.call, Call::Futex { owner: Some(_), .. });
    if !process.threads.iter().any(has_owner) {
        return;
    }
    let ids: Vec<(i32, i32)> = process
        .threads
        .iter()
        .filter_map(|thread| Some((thread::id_inside(process.pid, thread.tid)?, thread.tid)))
        .collect();
    for thread in &mut process.threads {
        if let Call::Futex { owner, .. } = &mut thread.wait.call {
            let found = ids.iter().find(|(inside, _)| Some(*inside) == *owner);
            *owner = found.map(|(_, outside)| *outside);
        }
    }
}

fn read_traffic(process: &mut Process) {
    let Ok(text) = proc_file::read(&format!("/proc/{}/io", process.pid)) else {
        return;
    };
    let number = |key| {
        let value = proc_file::value(&text, key);
        value.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    process.bytes_read = number("rchar");
    process.bytes_written = number("wchar");
    process.read_calls = number("syscr");
    process.write_calls = number("syscw");
}

/// Since Linux 6.2 the size of the directory is the number of descriptors.
fn descriptors(pid: i32) -> Bounded {
    let used = std::fs::metadata(format!("/proc/{pid}/fd")).map_or(0, |found| found.len());
    if used < DESCRIPTORS_NOTABLE {
        return Bounded { used, limit: None };
    }
    let limits = proc_file::read(&format!("/proc/{pid}/limits")).unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let limit = line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok());
    Bounded { used, limit }
}

fn descendants(root: i32) -> Vec<i32> {
    let mut all = Vec::new();
    let mut unvisited = vec![root];
    while let Some(pid) = unvisited.pop() {
        let tids = proc_file::numbers_in(&format!("/proc/{pid}/task")).unwrap_or_default();
        for tid in tids {
            let list = proc_file::read(&format!("/proc/{pid}/task/{tid}/children"));
            let list = list.unwrap_or_default();
            let children = list.split_whitespace().filter_map(|pid| pid.parse().ok());
            let children: Vec<i32> = children.collect();
            all.extend_from_slice(&children);
            unvisited.extend(children);
        }
    }
    all
}
