//! What a descriptor leads to, and who holds the other end.

use std::collections::HashMap;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::Duration;

use super::proc_file;
use super::socket::Sockets;
use super::{Channel, Target};

/// Most descriptors of one process that are searched for the other end of something.
const SEARCHED_MAX: usize = 4096;

/// `makedev(5, 0)`: whatever terminal controls the process that opened it.
const CONTROLLING_TERMINAL: u64 = 0x500;

/// What is known of an exec when its descriptors are resolved.
pub(super) struct Surroundings {
    supervisor: i32,
    /// Pipes between the command and its supervisor, read when a pipe is first met.
    supervised: Option<Vec<u64>>,
    /// The terminal the exec was given, as a device number; 0 without one.
    pub(super) terminal: u64,
    pub(super) sockets: Sockets,
    /// Processes of the exec.
    pub(super) pids: Vec<i32>,
    holders: Option<Holders>,
}

impl Surroundings {
    pub(super) fn new(supervisor: i32, terminal: u64, sockets: Sockets, pids: Vec<i32>) -> Self {
        Self {
            supervisor,
            supervised: None,
            terminal,
            sockets,
            pids,
            holders: None,
        }
    }

    fn is_supervised(&mut self, inode: u64) -> bool {
        let supervisor = self.supervisor;
        let pipes = self.supervised.get_or_insert_with(|| pipes_of(supervisor));
        pipes.contains(&inode)
    }

    /// The ends of something made inside. Looks through all descriptors once, when first asked.
    pub(super) fn channel(&mut self, inode: u64) -> Channel {
        let pids = &self.pids;
        let holders = self.holders.get_or_insert_with(|| Holders::find(pids));
        holders.channel(inode)
    }
}

/// Inodes of the pipes that a process holds.
fn pipes_of(pid: i32) -> Vec<u64> {
    let links = descriptors_of(pid).filter_map(|number| link(pid, number));
    links.filter_map(|link| numbered(&link, "pipe:[")).collect()
}

fn descriptors_of(pid: i32) -> impl Iterator<Item = i32> {
    proc_file::numbers_in(&format!("/proc/{pid}/fd"))
        .unwrap_or_default()
        .into_iter()
        .take(SEARCHED_MAX)
}

fn link(pid: i32, descriptor: i32) -> Option<String> {
    let path = std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).ok()?;
    Some(path.to_string_lossy().into_owned())
}

/// The number in `pipe:[123]`.
fn numbered(link: &str, prefix: &str) -> Option<u64> {
    link.strip_prefix(prefix)?.strip_suffix(']')?.parse().ok()
}

/// Who holds which end of every pipe and socket of the exec.
struct Holders(HashMap<u64, Channel>);

impl Holders {
    fn find(pids: &[i32]) -> Self {
        let mut found: HashMap<u64, Channel> = HashMap::new();
        for &pid in pids {
            for descriptor in descriptors_of(pid) {
                let Some(link) = link(pid, descriptor) else {
                    continue;
                };
                let inode = numbered(&link, "pipe:[").or_else(|| numbered(&link, "socket:["));
                let Some(inode) = inode else { continue };
                let (reads, writes) = directions(pid, descriptor);
                let channel = found.entry(inode).or_default();
                if reads && !channel.readers.contains(&pid) {
                    channel.readers.push(pid);
                }
                if writes && !channel.writers.contains(&pid) {
                    channel.writers.push(pid);
                }
            }
        }
        Self(found)
    }

    fn channel(&self, inode: u64) -> Channel {
        let found = self.0.get(&inode).cloned().unwrap_or_default();
        Channel { inode, ..found }
    }
}

/// The mode of a link in `/proc/<pid>/fd` tells what the descriptor was opened for.
fn directions(pid: i32, descriptor: i32) -> (bool, bool) {
    let found = std::fs::symlink_metadata(format!("/proc/{pid}/fd/{descriptor}"));
    found.map_or((true, true), |found| {
        (found.mode() & 0o400 != 0, found.mode() & 0o200 != 0)
    })
}

/// The descriptors of one process.
pub(super) struct Descriptors<'a> {
    pub(super) pid: i32,
    /// The terminal that controls the process.
    pub(super) terminal: u64,
    pub(super) is_inside: &'a dyn Fn(i32) -> bool,
    pub(super) surroundings: &'a mut Surroundings,
}

impl Descriptors<'_> {
    /// What a descriptor leads to.
    pub(super) fn target(&mut self, descriptor: i32) -> Target {
        let Some(link) = link(self.pid, descriptor) else {
            return Target::Other {
                name: format!("descriptor {descriptor}"),
            };
        };
        if let Some(inode) = numbered(&link, "pipe:[") {
            return self.pipe(descriptor, inode);
        }
        if let Some(inode) = numbered(&link, "socket:[") {
            return self.socket(descriptor, inode);
        }
        let kind = if link.starts_with("pidfd:") {
            "pidfd"
        } else {
            link.trim_start_matches("anon_inode:")
                .trim_matches(['[', ']'])
        };
        match kind {
            "eventfd" | "eventpoll" => Target::Event,
            "timerfd" => Target::Timer {
                left: self.timer(descriptor),
            },
            "signalfd" | "pidfd" => Target::Process,
            "inotify" | "fanotify" => Target::FileChanges,
            _ if link.starts_with('/') => self.file(descriptor, link),
            _ => Target::Other { name: link },
        }
    }

    /// All that an epoll descriptor watches, one level deep.
    pub(super) fn watched_by(&mut self, descriptor: i32) -> Vec<Target> {
        let Ok(text) = self.information(descriptor) else {
            return vec![Target::Other {
                name: "epoll set".to_owned(),
            }];
        };
        let watched: Vec<i32> = watched(&text).collect();
        let mut targets = Vec::with_capacity(watched.len());
        for number in watched {
            let is_set = link(self.pid, number).is_some_and(|link| link.contains("[eventpoll]"));
            if is_set && number != descriptor {
                targets.extend(self.watched_by(number));
            } else {
                targets.push(self.target(number));
            }
        }
        targets
    }

    fn information(&self, descriptor: i32) -> std::io::Result<String> {
        proc_file::read(&format!("/proc/{}/fdinfo/{descriptor}", self.pid))
    }

    fn pipe(&mut self, descriptor: i32, inode: u64) -> Target {
        if self.surroundings.is_supervised(inode) {
            return match directions(self.pid, descriptor) {
                (true, false) => Target::Input {
                    descriptor,
                    terminal: false,
                },
                _ => Target::Output,
            };
        }
        Target::Pipe(self.surroundings.channel(inode))
    }

    fn socket(&mut self, descriptor: i32, inode: u64) -> Target {
        let Self {
            pid, surroundings, ..
        } = self;
        let Surroundings {
            sockets,
            holders,
            pids,
            ..
        } = &mut **surroundings;
        // Only for connections, since it goes through all descriptors.
        sockets.target(*pid, descriptor, inode, |other| {
            let holders = holders.get_or_insert_with(|| Holders::find(pids));
            holders.channel(other)
        })
    }

    fn timer(&self, descriptor: i32) -> Option<Duration> {
        timer_left(&self.information(descriptor).ok()?)
    }

    fn file(&self, descriptor: i32, path: String) -> Target {
        let Ok(found) = std::fs::metadata(format!("/proc/{}/fd/{descriptor}", self.pid)) else {
            return Target::Other { name: path };
        };
        let kind = found.file_type();
        if kind.is_fifo() {
            return Target::NamedPipe { path };
        }
        if kind.is_char_device() {
            return self.device(descriptor, &path, found.rdev());
        }
        Target::File
    }

    fn device(&self, descriptor: i32, path: &str, device: u64) -> Target {
        let terminal = self.surroundings.terminal;
        let is_own = terminal != 0 && self.terminal == terminal;
        if is_own && (device == terminal || device == CONTROLLING_TERMINAL) {
            return Target::Input {
                descriptor,
                terminal: true,
            };
        }
        if path.starts_with("/dev/pts/") || path == "/dev/tty" || path.ends_with("/ptmx") {
            return Target::Terminal;
        }
        Target::File
    }
}

/// Descriptors in the `fdinfo` of an epoll descriptor.
fn watched(text: &str) -> impl Iterator<Item = i32> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("tfd:"));
    lines.filter_map(|rest| rest.split_ascii_whitespace().next()?.parse().ok())
}

/// Time left in the `fdinfo` of a timer; `None` if it is not set.
fn timer_left(text: &str) -> Option<Duration> {
    let value = proc_file::value(text, "it_value")?;
    let (seconds, nanoseconds) = value.trim_matches(['(', ')']).split_once(',')?;
    let left = Duration::new(
        seconds.trim().parse().ok()?,
        nanoseconds.trim().parse().ok()?,
    );
    (!left.is_zero()).then_some(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_links() {
        assert_eq!(numbered("pipe:[361420]", "pipe:["), Some(361_420));
        assert_eq!(numbered("socket:[1]", "pipe:["), None);
    }

    #[test]
    fn an_epoll_descriptor_lists_what_it_watches() {
        let text = "pos:\t0\nflags:\t02000002\nmnt_id:\t17\nino:\t26\n\
            tfd:        3 events:       19 data:                3  pos:0 ino:57fcf sdev:f\n\
            tfd:       11 events:       19 data:                b  pos:0 ino:1 sdev:f\n";
        assert_eq!(watched(text).collect::<Vec<_>>(), [3, 11]);
    }

    #[test]
    fn a_timer_that_is_not_set_has_no_time_left() {
        let text = |value: &str| format!("clockid: 1\nticks: 0\nit_value: {value}\n");
        let left = Some(Duration::new(1, 500));
        assert_eq!(timer_left(&text("(1, 500)")), left);
        assert_eq!(timer_left(&text("(0, 0)")), None);
    }
}
