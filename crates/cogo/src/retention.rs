//! Which ended execs are kept. State must not grow for ever, and nobody runs a clean-up by hand.
//!
//! Ended execs are kept while they are among the newest [`COUNT_MAX`] and all newer logs
//! together take less than [`BYTES_MAX`]. `cogo run` sees to it now and then; `cogo prune` does
//! it at once and by age. Running execs are never touched.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use cogo_sandbox::exec_dir::{ExecDir, ExecState, StateDir};

/// Most ended execs that are kept.
pub(crate) const COUNT_MAX: usize = 1000;
/// Most bytes that the kept ones take.
pub(crate) const BYTES_MAX: u64 = 10 << 30;
/// How long tidying is left alone, so that short runs do not pay for it.
const INTERVAL: Duration = Duration::from_mins(10);

/// Removes what is beyond the bounds, unless that was done lately. A failure is left for the
/// next time: no run fails for lack of tidiness.
pub(crate) fn tidy(state: &StateDir) {
    let stamp = state.path().join("tidied");
    let lately = fs::metadata(&stamp)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|at| {
            SystemTime::now()
                .duration_since(at)
                .is_ok_and(|age| age < INTERVAL)
        });
    if lately || fs::write(&stamp, "").is_err() {
        return;
    }
    if let Ok(execs) = state.execs() {
        for exec in beyond(execs, COUNT_MAX, BYTES_MAX) {
            let _ = remove_ended(exec);
        }
    }
}

/// The execs beyond the bounds, of a list that is sorted from old to new.
fn beyond(mut execs: Vec<ExecDir>, count_max: usize, bytes_max: u64) -> Vec<ExecDir> {
    let mut bytes = 0;
    let mut kept = 0;
    for exec in execs.iter().rev().take(count_max) {
        bytes += size(exec.path());
        if bytes > bytes_max {
            break;
        }
        kept += 1;
    }
    // The newest is kept however large it is: it may be the one just started.
    execs.truncate(execs.len() - kept.max(1).min(execs.len()));
    execs
}

/// Removes an exec if it has ended. Says how many bytes that freed.
pub(crate) fn remove_ended(exec: ExecDir) -> Option<u64> {
    match exec.state() {
        Ok(ExecState::Ended(_)) => {
            let freed = size(exec.path());
            exec.remove().ok().map(|()| freed)
        }
        Ok(ExecState::Starting | ExecState::Running(_)) | Err(_) => None,
    }
}

/// Bytes of the files in a folder and its folders.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(execs: &[ExecDir]) -> Vec<&str> {
        execs.iter().map(ExecDir::id).collect()
    }

    #[test]
    fn the_newest_within_the_bounds_are_kept() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::open(place.path()).unwrap();
        for id in ["1", "2", "3", "4"] {
            let (exec, _lock) = state.create_exec(id).unwrap();
            fs::create_dir(exec.log_dir()).unwrap();
            fs::write(exec.log_dir().join("x"), [0; 100]).unwrap();
        }
        let beyond = |count, bytes| beyond(state.execs().unwrap(), count, bytes);
        assert_eq!(names(&beyond(10, 1000)), [""; 0]);
        assert_eq!(names(&beyond(3, 1000)), ["1"]);
        assert_eq!(names(&beyond(10, 250)), ["1", "2"]);
        assert_eq!(names(&beyond(10, 50)), ["1", "2", "3"]);
    }

    #[test]
    fn a_live_exec_stays() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::open(place.path()).unwrap();
        let (exec, lock) = state.create_exec("1").unwrap();
        assert_eq!(remove_ended(exec.clone()), None);
        assert!(exec.path().is_dir());
        drop(lock);
        assert!(remove_ended(exec.clone()).is_some());
        assert!(!exec.path().exists());
    }
}
