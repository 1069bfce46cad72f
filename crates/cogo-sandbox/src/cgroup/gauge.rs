//! A group's counters at a fast pace: control files that stay open, so that a look costs one
//! `pread` of about a microsecond.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;

use super::{Controller, Version, file};

/// The open counters of one group.
#[derive(Debug, Default)]
pub struct Gauge {
    cpu: Option<(OwnedFd, Version)>,
    throttling: Option<OwnedFd>,
    memory: Option<MemoryFiles>,
    pids: Option<PidsFiles>,
}

#[derive(Debug)]
struct MemoryFiles {
    usage: OwnedFd,
    stat: OwnedFd,
    limit: OwnedFd,
    kills: OwnedFd,
    version: Version,
}

#[derive(Debug)]
struct PidsFiles {
    current: OwnedFd,
    limit: OwnedFd,
    events: OwnedFd,
}

/// Memory of a group, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryReading {
    /// Memory that cannot be dropped: without the page cache.
    pub held: u64,
    /// The group's limit.
    pub limit: Option<u64>,
    /// Page faults that had to read from disk.
    pub major_faults: u64,
}

/// v1 writes "no limit" as the largest multiple of a page.
const UNLIMITED_V1: u64 = 1 << 62;

impl Gauge {
    /// Opens what there is of a group's directories. What is missing reads as nothing.
    pub(super) fn open<'a>(
        directories: impl Iterator<Item = (Version, &'a Path, &'a [Controller])>,
    ) -> Self {
        let mut gauge = Self::default();
        for (version, path, controllers) in directories {
            let open = |name: &str| file::open(&path.join(name), OFlags::RDONLY).ok();
            if version == Version::V2 && gauge.cpu.is_none() {
                gauge.cpu = open("cpu.stat").map(|fd| (fd, version));
            }
            for controller in controllers {
                match controller {
                    Controller::Cpuacct => {
                        gauge.cpu = open("cpuacct.usage").map(|fd| (fd, version));
                    }
                    Controller::Cpu => gauge.throttling = open("cpu.stat"),
                    Controller::Memory => gauge.memory = MemoryFiles::open(version, open),
                    Controller::Pids => gauge.pids = PidsFiles::open(open),
                    Controller::Io | Controller::Freezer => {}
                }
            }
        }
        gauge
    }

    /// Processor time of the group so far.
    pub fn cpu(&self) -> Option<Duration> {
        let (fd, version) = self.cpu.as_ref()?;
        let text = read(fd)?;
        match version {
            Version::V1 => Some(Duration::from_nanos(text.trim().parse().ok()?)),
            Version::V2 => file::keyed_number(&text, "usage_usec").map(Duration::from_micros),
        }
    }

    /// Processes killed at the memory limit so far.
    pub fn oom_kills(&self) -> u64 {
        let text = self.memory.as_ref().and_then(|files| read(&files.kills));
        text.and_then(|text| file::keyed_number(&text, "oom_kill"))
            .unwrap_or(0)
    }

    /// Processes and threads refused at the pids limit so far.
    pub fn pids_refused(&self) -> u64 {
        let text = self.pids.as_ref().and_then(|files| read(&files.events));
        text.and_then(|text| file::keyed_number(&text, "max"))
            .unwrap_or(0)
    }

    /// Processes and threads now, and their limit.
    pub fn pids(&self) -> Option<(u64, Option<u64>)> {
        let files = self.pids.as_ref()?;
        let current = read(&files.current)?.trim().parse().ok()?;
        let limit = read(&files.limit)?.trim().parse().ok();
        Some((current, limit))
    }

    /// Whether more than that share of the limit is in use, page cache included. Reading this
    /// costs a fraction of [`Self::memory`], for which the kernel adds up statistics.
    pub fn memory_is_near(&self, share: f64) -> bool {
        let Some(files) = &self.memory else {
            return false;
        };
        let number = |fd| read(fd)?.trim().parse::<u64>().ok();
        let (usage, limit) = (number(&files.usage), number(&files.limit));
        match (usage, limit) {
            (Some(usage), Some(limit)) => usage as f64 > limit as f64 * share,
            // No number is no limit.
            (_, None) => false,
            (None, Some(_)) => true,
        }
    }

    /// Memory now.
    pub fn memory(&self) -> Option<MemoryReading> {
        let files = self.memory.as_ref()?;
        let stat = read(&files.stat)?;
        let number = |key| file::keyed_number(&stat, key).unwrap_or(0);
        let limit = read(&files.limit)?.trim().parse().ok();
        // v1 counts shared memory as cache, though it cannot be dropped either.
        Some(match files.version {
            Version::V1 => MemoryReading {
                held: number("total_rss") + number("total_shmem"),
                limit: limit.filter(|limit| *limit < UNLIMITED_V1),
                major_faults: number("total_pgmajfault"),
            },
            Version::V2 => MemoryReading {
                held: number("anon") + number("shmem") + number("kernel_stack"),
                limit,
                major_faults: number("pgmajfault"),
            },
        })
    }

    /// Periods of the cpu limit so far, and those in which it was reached.
    pub fn throttling(&self) -> Option<(u64, u64)> {
        let text = read(self.throttling.as_ref()?)?;
        let periods = file::keyed_number(&text, "nr_periods")?;
        Some((periods, file::keyed_number(&text, "nr_throttled")?))
    }
}

impl MemoryFiles {
    fn open(version: Version, open: impl Fn(&str) -> Option<OwnedFd>) -> Option<Self> {
        let (usage, limit, kills) = match version {
            Version::V1 => (
                "memory.usage_in_bytes",
                "memory.limit_in_bytes",
                "memory.oom_control",
            ),
            Version::V2 => ("memory.current", "memory.max", "memory.events"),
        };
        Some(Self {
            usage: open(usage)?,
            stat: open("memory.stat")?,
            limit: open(limit)?,
            kills: open(kills)?,
            version,
        })
    }
}

impl PidsFiles {
    fn open(open: impl Fn(&str) -> Option<OwnedFd>) -> Option<Self> {
        Some(Self {
            current: open("pids.current")?,
            limit: open("pids.max")?,
            events: open("pids.events")?,
        })
    }
}

/// Reads an open control file from its start.
fn read(fd: &OwnedFd) -> Option<String> {
    let mut buffer = [0_u8; 4096];
    let length = rustix::io::pread(fd, &mut buffer, 0).ok()?;
    let text = str::from_utf8(&buffer[..length]).ok()?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        put("cpu.stat", "usage_usec 17\nnr_periods 9\nnr_throttled 4\n");
        put(
            "memory.stat",
            "anon 100\nshmem 20\nkernel_stack 3\npgmajfault 7\n",
        );
        put("memory.max", "max\n");
        put("memory.current", "150\n");
        put("memory.events", "max 3\noom 2\noom_kill 1\n");
        put("pids.current", "5\n");
        put("pids.max", "10\n");
        put("pids.events", "max 6\n");
        let all = [Controller::Memory, Controller::Pids, Controller::Cpu];
        let gauge = Gauge::open([(Version::V2, dir.path(), &all[..])].into_iter());
        assert_eq!(gauge.cpu(), Some(Duration::from_micros(17)));
        assert_eq!(gauge.throttling(), Some((9, 4)));
        assert_eq!((gauge.oom_kills(), gauge.pids_refused()), (1, 6));
        assert_eq!(gauge.pids(), Some((5, Some(10))));
        let expected = MemoryReading {
            held: 123,
            limit: None,
            major_faults: 7,
        };
        assert_eq!(gauge.memory(), Some(expected));
        assert!(!gauge.memory_is_near(0.75));
        put("memory.max", "199\n");
        assert!(gauge.memory_is_near(0.75));
    }

    #[test]
    fn what_is_missing_reads_as_nothing() {
        let gauge = Gauge::default();
        assert_eq!(
            (gauge.cpu(), gauge.memory(), gauge.pids()),
            (None, None, None)
        );
        assert_eq!((gauge.oom_kills(), gauge.pids_refused()), (0, 0));
    }
}
