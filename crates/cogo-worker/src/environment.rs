//! Which variables of the host a command gets without asking.

use std::ffi::OsString;
use std::path::Path;

use cogo_sandbox::toolchains;

/// Variables that are passed on because they change how output looks and reads.
const PRESENTATION: [&str; 13] = [
    "CARGO_TERM_COLOR",
    "CI",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "FORCE_COLOR",
    "LANG",
    "LANGUAGE",
    "NO_COLOR",
    "PYTHONUNBUFFERED",
    "RUST_BACKTRACE",
    "SOURCE_DATE_EPOCH",
    "TZ",
];

/// Variables that are passed on because they say where a toolchain is, or which one to use.
const TOOLCHAINS: [&str; 26] = [
    "ASDF_DATA_DIR",
    "ASDF_DIR",
    "BUN_INSTALL",
    "CARGO_HOME",
    "DENO_INSTALL",
    "DOTNET_ROOT",
    "FNM_DIR",
    "GHCUP_INSTALL_BASE_PREFIX",
    "GOMODCACHE",
    "GOPATH",
    "GOROOT",
    "GOTOOLCHAIN",
    "GRADLE_HOME",
    "JAVA_HOME",
    "MAVEN_HOME",
    "MISE_DATA_DIR",
    "NVM_DIR",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "RBENV_ROOT",
    "RBENV_VERSION",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "SDKMAN_DIR",
    "VIRTUAL_ENV",
    "VOLTA_HOME",
];

/// Whether the command sees the host's files or those of another root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The host's.
    Host,
    /// Those of a root file system that takes their place.
    Other,
}

/// The caller's variables.
pub trait Caller {
    /// The value of one.
    fn get(&self, name: &str) -> Option<OsString>;
    /// The names of all.
    fn names(&self) -> Vec<String>;
}

/// The variables that are passed on without being asked for.
pub fn inherited(
    caller: &dyn Caller,
    home: &Path,
    root: Root,
    terminal: bool,
) -> Vec<(String, String)> {
    let mut names: Vec<String> = PRESENTATION.map(str::to_owned).to_vec();
    names.extend(
        caller
            .names()
            .into_iter()
            .filter(|name| name.starts_with("LC_")),
    );
    if terminal {
        names.push("TERM".to_owned());
    }
    if root == Root::Host {
        names.extend(TOOLCHAINS.map(str::to_owned));
    }
    let mut variables: Vec<(String, String)> = names
        .into_iter()
        .filter_map(|name| Some((name.clone(), caller.get(&name)?.into_string().ok()?)))
        .collect();
    let path = match root {
        Root::Host => toolchains::path_entries(home, &caller.get("PATH").unwrap_or_default()),
        Root::Other => toolchains::USUAL_PATH.to_owned(),
    };
    variables.push(("PATH".to_owned(), path));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Variables(&'static [(&'static str, &'static str)]);

    impl Caller for Variables {
        fn get(&self, name: &str) -> Option<OsString> {
            self.0
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.into())
        }

        fn names(&self) -> Vec<String> {
            self.0.iter().map(|(name, _)| (*name).to_owned()).collect()
        }
    }

    const CALLER: Variables = Variables(&[
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("GITHUB_TOKEN", "x"),
        ("JAVA_HOME", "/usr/lib/jvm/x"),
        ("LC_ALL", "C.UTF-8"),
        ("PATH", "/usr/bin:/nonexistent"),
        ("SSH_AUTH_SOCK", "/tmp/x"),
        ("TERM", "xterm"),
        ("TZ", "UTC"),
    ]);

    fn names(root: Root, terminal: bool) -> Vec<String> {
        let variables = inherited(&CALLER, Path::new("/nonexistent"), root, terminal);
        variables.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn only_listed_variables_are_passed_on() {
        assert_eq!(
            names(Root::Host, true),
            ["TZ", "LC_ALL", "TERM", "JAVA_HOME", "PATH"]
        );
        assert_eq!(names(Root::Other, false), ["TZ", "LC_ALL", "PATH"]);
    }

    #[test]
    fn path_depends_on_the_root() {
        let path = |root| {
            inherited(&CALLER, Path::new("/nonexistent"), root, false)
                .pop()
                .unwrap()
                .1
        };
        assert_eq!(path(Root::Host), "/usr/bin");
        assert_eq!(path(Root::Other), toolchains::USUAL_PATH);
    }
}
