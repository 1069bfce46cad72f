//! Which variables the command gets, and which of them are secret.

use std::ffi::OsString;
use std::path::Path;

use cogo_sandbox::start::Secret;
use cogo_sandbox::toolchains;

use crate::failure::Failure;

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
pub(super) enum Root {
    Host,
    Other,
}

/// The caller's variables.
pub(super) trait Caller {
    /// The value of one.
    fn get(&self, name: &str) -> Option<OsString>;
    /// The names of all.
    fn names(&self) -> Vec<String>;
}

/// The variables of this process.
pub(super) struct OwnEnvironment;

impl Caller for OwnEnvironment {
    fn get(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .collect()
    }
}

/// The variables that are passed on without being asked for.
pub(super) fn inherited(
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

/// Reads `--env`: `NAME=VALUE`, or `NAME` for the caller's value.
pub(super) fn variable(text: &str, caller: &dyn Caller) -> Result<(String, String), Failure> {
    match text.split_once('=') {
        Some((name, value)) => Ok((checked_name(name, "--env")?, value.to_owned())),
        None => Ok((checked_name(text, "--env")?, callers_value(text, caller)?)),
    }
}

/// Reads `--secret`: `NAME` for the caller's value, `NAME=@FILE` for a file's content.
pub(super) fn secret(text: &str, caller: &dyn Caller) -> Result<Secret, Failure> {
    let (name, value) = match text.split_once('=') {
        None => (text, callers_value(text, caller)?),
        Some((name, source)) => match source.strip_prefix('@') {
            Some(file) => (name, file_value(name, Path::new(file))?),
            // The value is not repeated here, and should not have been given here.
            None => {
                return Err(Failure::new(format!(
                    "the value of secret `{name}` is on the command line, where everyone can read it"
                ))
                .hint(format!(
                    "use --secret {name} to take it from the environment, or --secret {name}=@FILE"
                )));
            }
        },
    };
    let name = checked_name(name, "--secret")?;
    if value.is_empty() {
        return Err(Failure::new(format!("secret `{name}` is empty")));
    }
    Ok(Secret { name, value })
}

fn file_value(name: &str, path: &Path) -> Result<String, Failure> {
    let mut value = std::fs::read_to_string(path).map_err(|error| {
        Failure::caused(
            format!("failed to read secret `{name}` from `{}`", path.display()),
            &error,
        )
    })?;
    // The newline that ends a text file is not part of the secret.
    if value.ends_with('\n') {
        value.truncate(value.trim_end_matches(['\r', '\n']).len());
    }
    Ok(value)
}

fn callers_value(name: &str, caller: &dyn Caller) -> Result<String, Failure> {
    let value = caller.get(name).ok_or_else(|| {
        Failure::new(format!(
            "variable `{name}` is not set here, so there is no value to pass on"
        ))
        .hint(format!("set it first: export {name}=…"))
    })?;
    value
        .into_string()
        .map_err(|_| Failure::new(format!("variable `{name}` is not valid UTF-8")))
}

fn checked_name(name: &str, option: &str) -> Result<String, Failure> {
    if name.is_empty() || name.contains('\0') {
        return Err(Failure::new(format!(
            "{option} needs the name of a variable before the `=`"
        )));
    }
    Ok(name.to_owned())
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

    #[test]
    fn variables_are_given_or_taken_over() {
        let read = |text: &str| variable(text, &CALLER).map_err(drop);
        assert_eq!(read("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(read("A="), Ok(("A".to_owned(), String::new())));
        assert_eq!(read("TZ"), Ok(("TZ".to_owned(), "UTC".to_owned())));
        assert_eq!(read("MISSING"), Err(()));
        assert_eq!(read("=x"), Err(()));
    }

    #[test]
    fn secrets_come_from_the_environment_or_a_file() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("token");
        std::fs::write(&file, "s3cret\n").unwrap();
        let read = |text: &str| {
            secret(text, &CALLER)
                .map(|secret| secret.value)
                .map_err(drop)
        };
        assert_eq!(read("GITHUB_TOKEN"), Ok("x".to_owned()));
        assert_eq!(
            read(&format!("T=@{}", file.display())),
            Ok("s3cret".to_owned())
        );
        assert_eq!(read("T=@/nonexistent"), Err(()));
        assert_eq!(read("T=plain"), Err(()));
        std::fs::write(&file, "\n").unwrap();
        assert_eq!(read(&format!("T=@{}", file.display())), Err(()));
    }
}
