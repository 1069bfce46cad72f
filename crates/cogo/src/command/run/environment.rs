//! Which variables the command gets, and which of them are secret.

use std::ffi::OsString;
use std::path::Path;

use cogo_sandbox::start::Secret;
use cogo_worker::environment::Caller;

use crate::failure::Failure;

/// The variables of this process.
pub(crate) struct OwnEnvironment;

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

    const CALLER: Variables = Variables(&[("GITHUB_TOKEN", "x"), ("TZ", "UTC")]);

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
