//! Gets a repository from where it lies: by URL into a cache of clones, at a commit into a tree of
//! files.
//!
//! ```text
//! <state directory>/clones/<name>-<hash>/
//!     lock                held while one process fetches or checks out
//!     origin              the URL, without a secret
//!     repository.partial  a first fetch that has not ended; removed by whoever comes next
//!     repository.git      a whole one; later fetches add to it
//!     tree/               the files of one commit
//!     tree.commit         which; absent while `tree` is being changed
//! ```
//!
//! A repository is untrusted input: it is read by `gix` without its configuration, so no hook and
//! no filter of it is run; symbolic links and submodules are not followed; sizes are bounded.

mod cache;
mod credentials;
mod error;
mod fetch;
mod progress;
mod transport;
mod tree;
mod url;

pub use cache::{Cloned, clone};
pub use credentials::{Credentials, Login, Password};
pub use error::CloneError;
pub use progress::{CloneProgress, OnCloneProgress};
pub use tree::TreeSummary;
pub use url::RemoteUrl;

use std::num::NonZeroU32;

/// What a clone may be asked for.
#[derive(Debug)]
pub struct CloneOptions {
    /// Branch, tag, full reference or full commit id. `None`: what the server's `HEAD` is.
    pub reference: Option<String>,
    /// Commits of history; `None` is all of it.
    pub depth: Option<NonZeroU32>,
    /// Bytes that are received, and bytes that the files of the commit may have.
    pub bytes_max: u64,
    /// Larger files are left out of the tree.
    pub file_bytes_max: u64,
    /// Who asks.
    pub credentials: Credentials,
}

impl Default for CloneOptions {
    fn default() -> Self {
        Self {
            reference: None,
            depth: None,
            bytes_max: 4 << 30,
            file_bytes_max: 64 << 20,
            credentials: Credentials::None,
        }
    }
}

/// Opens a repository of this machine for reading, whoever owns it, without the configuration of
/// this machine or of the user.
///
/// # Errors
///
/// [`CloneError::Damaged`] if it is no repository or cannot be read.
pub fn open(path: &std::path::Path) -> Result<gix::Repository, CloneError> {
    gix::open_opts(path, open_options()).map_err(|error| CloneError::damaged(path, &error))
}

fn open_options() -> gix::open::Options {
    gix::open::Options::isolated().config_overrides([
        "committer.name=cogo",
        "committer.email=cogo@localhost",
        // A password is asked for by reference, never on the terminal.
        "core.sshCommand=ssh -o BatchMode=yes",
    ])
}
