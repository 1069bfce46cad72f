//! A run without what tools remember of earlier runs.
//!
//! Nothing is deleted. The sandbox's home and `/tmp` are empty at each start, so that caches live
//! where the task's variables or the tools' defaults put them into the workspace. Tools are told to
//! keep them in a fresh place, or to do without.

use std::collections::BTreeMap;

use cogo_protocol::command::CommandRequest;
use cogo_protocol::exec::Isolation;
use cogo_protocol::recovery::Adjustment;

use super::command::appended;

/// A private directory that is not there at the start.
const FRESH: &str = "/tmp/cogo-fresh-cache";

/// Variables that name a directory for things that can be made again, with the folder for each.
const PLACES: [(&str, &str); 10] = [
    ("CARGO_BUILD_BUILD_DIR", "cargo"),
    ("GOCACHE", "go"),
    ("MYPY_CACHE_DIR", "mypy"),
    ("PYTHONPYCACHEPREFIX", "python"),
    ("RUFF_CACHE_DIR", "ruff"),
    ("TS_NODE_CACHE_DIRECTORY", "ts-node"),
    ("XDG_CACHE_HOME", "xdg"),
    ("YARN_CACHE_FOLDER", "yarn"),
    ("npm_config_cache", "npm"),
    ("PIP_CACHE_DIR", "pip"),
];

/// Variables that make a tool do without what it remembers.
const SWITCHES: [(&str, &str); 7] = [
    ("BABEL_DISABLE_CACHE", "1"),
    ("CARGO_INCREMENTAL", "0"),
    ("CCACHE_RECACHE", "1"),
    ("NODE_DISABLE_COMPILE_CACHE", "1"),
    ("NX_SKIP_NX_CACHE", "true"),
    ("SCCACHE_RECACHE", "1"),
    ("TURBO_FORCE", "true"),
];

/// Variables that hold options, with the option to add.
const OPTIONS: [(&str, &str); 2] = [
    ("GRADLE_OPTS", "-Dorg.gradle.caching=false"),
    ("PYTEST_ADDOPTS", "-p no:cacheprovider"),
];

pub(super) fn plan(failed: &CommandRequest) -> Option<(Adjustment, String)> {
    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in SWITCHES {
        env.insert(name.to_owned(), value.to_owned());
    }
    for (name, option) in OPTIONS {
        env.insert(name.to_owned(), appended(failed, name, option));
    }
    // Without a sandbox there is no private place.
    if failed.isolation != Isolation::None {
        for (name, folder) in PLACES {
            env.insert(name.to_owned(), format!("{FRESH}/{folder}"));
        }
        for name in failed.env.iter().filter(names_a_cache).map(|it| it.0) {
            let folder = name.to_ascii_lowercase();
            env.entry(name.clone())
                .or_insert_with(|| format!("{FRESH}/{folder}"));
        }
    }
    let unchanged = env
        .iter()
        .all(|(name, value)| failed.env.get(name) == Some(value));
    let change = Adjustment {
        env,
        ..Adjustment::default()
    };
    let note = "with fresh caches in a private place".to_owned();
    (!unchanged).then_some((change, note))
}

/// Whether a variable of the task says itself that it names the directory of a cache.
fn names_a_cache((name, value): &(&String, &String)) -> bool {
    const ENDINGS: [&str; 6] = [
        "_CACHE",
        "_CACHE_DIR",
        "_CACHE_DIRECTORY",
        "_CACHE_FOLDER",
        "_CACHE_HOME",
        "_CACHE_PATH",
    ];
    let name = name.to_ascii_uppercase();
    value.starts_with('/') && ENDINGS.iter().any(|ending| name.ends_with(ending))
}
