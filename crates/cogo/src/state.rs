//! Where execs are kept, and how a user names one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cogo_protocol::id::ExecId;
use cogo_sandbox::exec_dir::{ExecDir, StateDir};

use crate::failure::Failure;

/// The last twelve characters of an id are random and enough to tell execs apart.
const SHORT_ID_LEN: usize = 12;

/// Opens the state directory: the one named by the option, else by `COGO_STATE_DIR`, else the
/// user's own.
pub(crate) fn open(option: Option<&Path>) -> Result<StateDir, Failure> {
    let path = location(
        option,
        |name| std::env::var_os(name),
        rustix::process::geteuid().is_root(),
    )
    .ok_or_else(|| {
        Failure::new("failed to find a place for state: neither HOME nor XDG_STATE_HOME is set")
            .hint("name a directory with --state-dir or COGO_STATE_DIR")
    })?;
    StateDir::open(&path).map_err(|error| {
        Failure::from(error).hint("name another directory with --state-dir or COGO_STATE_DIR")
    })
}

/// A name that nothing else has: the time, in milliseconds after 1970, with fresh random bytes.
pub(crate) fn fresh_id(unix_ms: u64) -> Result<String, Failure> {
    let mut randomness = [0; 10];
    rustix::rand::getrandom(&mut randomness, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Failure::caused("failed to make an id", &error))?;
    Ok(ExecId::from_parts(unix_ms, &randomness).to_string())
}

/// A variable of this process's environment that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn location(
    option: Option<&Path>,
    variable: impl Fn(&str) -> Option<OsString>,
    root: bool,
) -> Option<PathBuf> {
    let variable = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(path) = option
        .map(Path::to_owned)
        .or_else(|| variable("COGO_STATE_DIR"))
    {
        return Some(path);
    }
    if root {
        return Some(PathBuf::from("/var/lib/cogo"));
    }
    let base = variable("XDG_STATE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))?;
    Some(base.join("cogo"))
}

/// The exec a user means: by its id, by an unambiguous start or end of it, or `last`.
pub(crate) fn find(state: &StateDir, name: &str) -> Result<ExecDir, Failure> {
    if let Some(exec) = state.exec(name) {
        return Ok(exec);
    }
    let mut execs = state.execs()?;
    if name == "last" {
        return execs.pop().ok_or_else(|| {
            Failure::new("there is no exec yet").hint("start one with `cogo run -- COMMAND`")
        });
    }
    let name = name.to_ascii_lowercase();
    execs.retain(|exec| exec.id().starts_with(&name) || exec.id().ends_with(&name));
    match (execs.pop(), execs.len()) {
        (Some(exec), 0) if !name.is_empty() => Ok(exec),
        (None, _) => Err(Failure::new(format!("there is no exec `{name}`"))
            .hint("`cogo ps --all` lists the execs of this state directory")),
        (Some(_), more) => Err(Failure::new(format!("`{name}` means {} execs", more + 1))
            .hint("give more of the id's end; `cogo ps --all` lists them")),
    }
}

/// The part of an id that people see and type.
pub(crate) fn short_id(exec: &ExecDir) -> &str {
    let id = exec.id();
    id.get(id.len().saturating_sub(SHORT_ID_LEN)..)
        .unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locate(option: Option<&str>, variables: &[(&str, &str)], root: bool) -> Option<String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let path = location(option.map(Path::new), variable, root)?;
        path.to_str().map(str::to_owned)
    }

    #[test]
    fn the_nearest_wish_wins() {
        let set = [
            ("COGO_STATE_DIR", "/c"),
            ("XDG_STATE_HOME", "/x"),
            ("HOME", "/h"),
        ];
        assert_eq!(locate(Some("/o"), &set, false).as_deref(), Some("/o"));
        assert_eq!(locate(None, &set, true).as_deref(), Some("/c"));
        assert_eq!(
            locate(None, &set[1..], true).as_deref(),
            Some("/var/lib/cogo")
        );
        assert_eq!(locate(None, &set[1..], false).as_deref(), Some("/x/cogo"));
        assert_eq!(
            locate(None, &set[2..], false).as_deref(),
            Some("/h/.local/state/cogo")
        );
        assert_eq!(locate(None, &[], false), None);
    }

    #[test]
    fn empty_and_relative_variables_do_not_count() {
        let set = [
            ("COGO_STATE_DIR", ""),
            ("XDG_STATE_HOME", "x"),
            ("HOME", "/h"),
        ];
        assert_eq!(
            locate(None, &set, false).as_deref(),
            Some("/h/.local/state/cogo")
        );
    }

    #[test]
    fn execs_are_found_by_start_end_and_last() {
        let place = tempfile::tempdir().unwrap();
        let state = StateDir::open(place.path()).unwrap();
        let find = |name: &str| find(&state, name).map(|exec| exec.id().to_owned());
        assert!(find("last").is_err());
        for id in ["0189-aa-77", "0189-bb-78", "0190-cc-77"] {
            state.create_exec(id).unwrap();
        }
        assert_eq!(find("last").unwrap(), "0190-cc-77");
        assert_eq!(find("0190").unwrap(), "0190-cc-77");
        assert_eq!(find("78").unwrap(), "0189-bb-78");
        assert_eq!(find("AA-77").unwrap(), "0189-aa-77");
        for ambiguous_or_missing in ["0189", "77", "", "99", "../execs"] {
            assert!(
                find(ambiguous_or_missing).is_err(),
                "{ambiguous_or_missing}"
            );
        }
    }
}
