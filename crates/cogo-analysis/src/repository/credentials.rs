//! Who asks for a repository. A password is given by reference and is in no message.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::CloneError;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// This user.
    Login(Login),
    /// Whom the user's `git credential` helpers name for the URL.
    Helper,
}

/// A user with a password or token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Password,
}

/// A secret that cannot be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a secret.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password(…)")
    }
}

impl Login {
    /// A user with a password.
    pub fn new(user: &str, password: String) -> Self {
        Self {
            user: user.to_owned(),
            password: Password(password),
        }
    }

    /// Reads `user:password`, or a token alone, for which hosts take any user.
    pub fn from_secret(secret: &str) -> Self {
        let secret = secret.trim_end_matches(['\n', '\r']);
        match secret.split_once(':') {
            Some((user, password)) => Self::new(user, password.to_owned()),
            None => Self::new("x-access-token", secret.to_owned()),
        }
    }
}

impl Credentials {
    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The login for a URL.
    pub(super) fn login(&self, url: &str) -> Result<Option<Login>, CloneError> {
        match self {
            Self::None => Ok(None),
            Self::Login(login) => Ok(Some(login.clone())),
            Self::Helper => ask_helper(url).map(Some),
        }
    }
}

fn ask_helper(url: &str) -> Result<Login, CloneError> {
    let failed = |reason: String| CloneError::Login { reason };
    let mut helper = Command::new("git")
        .args(["credential", "fill"])
        .env("GIT_TERMINAL_PROMPT", "0")
        .env_remove("GIT_ASKPASS")
        .env_remove("SSH_ASKPASS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("`git credential fill` does not start: {error}")))?;
    if let Some(mut input) = helper.stdin.take() {
        // One that does not read its input says why by its status.
        let _ = write!(input, "url={url}\n\n");
    }
    let output = helper
        .wait_with_output()
        .map_err(|error| failed(error.to_string()))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let value = |key: &str| answer.lines().find_map(|line| line.strip_prefix(key));
    match (
        output.status.success(),
        value("username="),
        value("password="),
    ) {
        (true, Some(user), Some(password)) => Ok(Login::new(user, password.to_owned())),
        _ => Err(failed(format!(
            "no credential helper knows `{url}`: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_login_or_a_token() {
        assert_eq!(
            Login::from_secret("me:a:b\n"),
            Login::new("me", "a:b".to_owned())
        );
        let token = Login::from_secret("t0ken\n");
        assert_eq!(token.password.expose(), "t0ken");
        assert!(!format!("{token:?}").contains("t0ken"));
    }
}
