//! Refused forks on cgroup v1, which counts them and tells nobody.
//!
//! Reading the counter of every exec all the time is most of what watching costs. The kernel also
//! counts the processes of all execs together, in the group above them. As long as that number
//! has not grown by what an exec has left to its limit, the exec has hardly got there; one read
//! then serves all execs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use cogo_sandbox::evidence::Observer;

/// The number of processes and threads of all execs beside each other.
#[derive(Debug)]
pub(super) struct Crowd {
    path: PathBuf,
    file: File,
    read: Mutex<Option<(Instant, u64)>>,
}

impl Crowd {
    pub(super) fn open(path: &Path) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            path: path.to_owned(),
            file: File::open(path).ok()?,
            read: Mutex::new(None),
        }))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The number, read once for each moment.
    fn count(&self, now: Instant) -> Option<u64> {
        let mut read = self.read.lock().ok()?;
        if let Some((at, count)) = *read
            && at == now
        {
            return Some(count);
        }
        let mut buffer = [0_u8; 32];
        let length = self.file.read_at(&mut buffer, 0).ok()?;
        let count = str::from_utf8(&buffer[..length])
            .ok()?
            .trim()
            .parse()
            .ok()?;
        *read = Some((now, count));
        Some(count)
    }
}

/// How far an exec is from its limit.
#[derive(Debug, Default)]
pub(super) struct Headroom {
    pub(super) crowd: Option<Arc<Crowd>>,
    /// What the exec had left when it was last looked at, and the number of the crowd then.
    seen: Option<(u64, u64)>,
}

impl Headroom {
    /// Without a crowd an exec is looked at each time.
    pub(super) fn new(crowd: Option<Arc<Crowd>>) -> Self {
        Self { crowd, seen: None }
    }

    /// Whether the exec may have come to its limit since it was last looked at.
    pub(super) fn may_be_used_up(&mut self, observer: &Observer, now: Instant) -> bool {
        let Some(count) = self.crowd.as_ref().and_then(|crowd| crowd.count(now)) else {
            return true;
        };
        if self.is_ample(count) {
            return false;
        }
        let pids = observer.pids_now();
        let left = pids
            .limit
            .map_or(0, |limit| limit.saturating_sub(pids.used));
        self.seen = Some((left, count));
        true
    }

    /// Half of it is a margin for others that ended meanwhile.
    fn is_ample(&self, count: u64) -> bool {
        let grown = |before: u64| count.saturating_sub(before);
        self.seen
            .is_some_and(|(left, before)| grown(before) < left / 2)
    }

    /// Has it looked at the next time, whatever the crowd does.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exec_is_near_its_limit_when_all_together_grew_by_half_of_what_it_has_left() {
        let mut headroom = Headroom::default();
        assert!(!headroom.is_ample(0), "it was not looked at yet");
        headroom.seen = Some((100, 30));
        assert!(headroom.is_ample(79));
        assert!(!headroom.is_ample(80));
        assert!(headroom.is_ample(7), "others ended");
        headroom.seen = Some((0, 30));
        assert!(!headroom.is_ample(30));
        headroom.forget();
        assert!(!headroom.is_ample(0));
    }

    #[test]
    fn the_number_is_read_once_for_a_moment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "7\n").unwrap();
        let crowd = Crowd::open(file.path()).unwrap();
        let now = Instant::now();
        assert_eq!(crowd.count(now), Some(7));
        std::fs::write(file.path(), "9\n").unwrap();
        assert_eq!(crowd.count(now), Some(7));
        assert_eq!(crowd.count(Instant::now()), Some(9));
    }
}
