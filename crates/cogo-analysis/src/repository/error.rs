//! Why a clone failed.

use std::path::{Path, PathBuf};

/// Why there is no clone. URLs in it hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// The text is no URL that can be cloned.
    #[error("`{url}` is no URL of a repository: {reason}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The server cannot be reached, or broke off.
    #[error("failed to reach `{url}`: {reason}")]
    Unreachable {
        /// The URL.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The server wants a login.
    #[error("`{url}` asks for a login, and none was given")]
    LoginMissing {
        /// The URL.
        url: String,
    },
    /// The server refused the login.
    #[error("`{url}` refused the login")]
    LoginRefused {
        /// The URL.
        url: String,
    },
    /// There is no repository.
    #[error("`{url}` has no repository, or hides it without a login")]
    NotFound {
        /// The URL.
        url: String,
    },
    /// The server sends elsewhere.
    #[error("`{url}` has moved to another server, `{target}`")]
    Moved {
        /// The URL.
        url: String,
        /// Where to.
        target: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("`{url}` has no `{reference}`")]
    NoSuchReference {
        /// The URL.
        url: String,
        /// What was asked for.
        reference: String,
    },
    /// The repository has no commit at all.
    #[error("`{url}` is empty")]
    Empty {
        /// The URL.
        url: String,
    },
    /// A limit was reached.
    #[error("`{url}` is larger than the limit of {bytes_max} bytes")]
    TooLarge {
        /// The URL.
        url: String,
        /// The limit.
        bytes_max: u64,
    },
    /// The login cannot be had from where it was said to be.
    #[error("failed to get the login: {reason}")]
    Login {
        /// What happened.
        reason: String,
    },
    /// The caller ended it. The next clone goes on or begins anew.
    #[error("cloning `{url}` was cancelled")]
    Cancelled {
        /// The URL.
        url: String,
    },
    /// Another process clones the same.
    #[error("`{url}` is being cloned by another process")]
    Busy {
        /// The URL.
        url: String,
    },
    /// What was received, or lies there, is no sound repository.
    #[error("the repository `{path}` is damaged: {reason}")]
    Damaged {
        /// Where it lies.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The server and we do not understand each other.
    #[error("failed to fetch `{url}`: {reason}")]
    Protocol {
        /// The URL.
        url: String,
        /// What happened.
        reason: String,
    },
    /// A file of the cache cannot be written.
    #[error("failed to write `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl CloneError {
    /// Whether the same may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Busy { .. } | Self::Cancelled { .. } => true,
            Self::Url { .. }
            | Self::LoginMissing { .. }
            | Self::LoginRefused { .. }
            | Self::NotFound { .. }
            | Self::Moved { .. }
            | Self::NoSuchReference { .. }
            | Self::Empty { .. }
            | Self::TooLarge { .. }
            | Self::Login { .. }
            | Self::Damaged { .. }
            | Self::Protocol { .. }
            | Self::Write { .. } => false,
        }
    }

    pub(super) fn damaged(path: &Path, error: &dyn std::error::Error) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            reason: chain(error),
        }
    }

    pub(super) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Write { path, source }
    }
}

/// An error and its causes in one line, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.contains(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}
