//! A repository that a user names: a directory, or a URL that is cloned.

use std::io::{IsTerminal as _, Write as _};
use std::num::NonZeroU32;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use cogo_analysis::repository::{
    CloneError, CloneOptions, CloneProgress, Cloned, Credentials, Login, RemoteUrl, clone,
};

use crate::failure::{Failure, note};

/// How a URL is cloned; a directory is taken as it is
#[derive(Args, Debug)]
pub(crate) struct OriginOptions {
    /// Branch, tag or full commit id to clone [default: what the server says]
    #[arg(long = "ref", value_name = "REF", help_heading = "Options for a URL")]
    reference: Option<String>,
    /// Commits of history to clone [default: all]
    #[arg(long, value_name = "COMMITS", help_heading = "Options for a URL")]
    depth: Option<NonZeroU32>,
    /// Who asks: `env:NAME` or `file:PATH` holds `user:password` or a token, `helper` is what
    /// `git credential` knows
    #[arg(long, value_name = "WHERE", help_heading = "Options for a URL")]
    credentials: Option<String>,
    /// Largest repository to clone, in MiB
    #[arg(
        long,
        value_name = "MIB",
        default_value_t = 4096,
        help_heading = "Options for a URL"
    )]
    clone_mib_max: u64,
}

/// A repository on this machine.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Its files.
    pub(crate) root: PathBuf,
    /// The commit that was cloned.
    pub(crate) commit: Option<String>,
    // Keeps others from changing the clone.
    cloned: Option<Cloned>,
}

impl Origin {
    /// Where its history is: what git keeps, or the directory that has a `.git`.
    pub(crate) fn history(&self) -> &Path {
        match &self.cloned {
            Some(cloned) => &cloned.repository,
            None => &self.root,
        }
    }
}

/// Finds the repository: a directory, the clone of a URL, or, if none is named, the one around the
/// current directory.
pub(crate) fn find(
    named: Option<&str>,
    options: &OriginOptions,
    state_dir: &Path,
) -> Result<Origin, Failure> {
    if let Some(url) = named.filter(|named| RemoteUrl::looks_like(named)) {
        return cloned(url, options, state_dir);
    }
    let path = named.unwrap_or(".");
    let mut root = std::fs::canonicalize(path)
        .map_err(|error| Failure::caused(format!("failed to find `{path}`"), &error))?;
    if named.is_none()
        && let Some(around) = root.ancestors().find(|folder| folder.join(".git").exists())
    {
        root = around.to_owned();
    }
    Ok(Origin {
        root,
        commit: None,
        cloned: None,
    })
}

fn cloned(url: &str, options: &OriginOptions, state_dir: &Path) -> Result<Origin, Failure> {
    let clone_options = CloneOptions {
        reference: options.reference.clone(),
        depth: options.depth,
        bytes_max: options.clone_mib_max.saturating_mul(1 << 20),
        credentials: credentials(options.credentials.as_deref())?,
        ..CloneOptions::default()
    };
    let is_shown = std::io::stderr().is_terminal();
    let on_progress = &mut |progress: CloneProgress| {
        if is_shown {
            show(&progress);
        }
        ControlFlow::Continue(())
    };
    let result = clone(url, state_dir, clone_options, on_progress);
    if is_shown {
        clear();
    }
    let cloned = result.map_err(failure)?;
    let left_out = cloned.summary.too_large + cloned.summary.links + cloned.summary.submodules;
    if left_out > 0 {
        note(&format!(
            "{left_out} entries were left out: {} too large, {} links, {} submodules",
            cloned.summary.too_large, cloned.summary.links, cloned.summary.submodules
        ));
    }
    Ok(Origin {
        root: cloned.tree.clone(),
        commit: Some(cloned.commit.clone()),
        cloned: Some(cloned),
    })
}

fn credentials(option: Option<&str>) -> Result<Credentials, Failure> {
    let Some(option) = option else {
        return Ok(Credentials::None);
    };
    let secret = match option.split_once(':') {
        None if option == "helper" => return Ok(Credentials::Helper),
        Some(("env", name)) => std::env::var(name).map_err(|error| {
            Failure::caused(format!("failed to read the variable `{name}`"), &error)
        })?,
        Some(("file", path)) => std::fs::read_to_string(path)
            .map_err(|error| Failure::caused(format!("failed to read `{path}`"), &error))?,
        _ => {
            return Err(
                Failure::new("the value of --credentials is none of its forms")
                    .hint("give env:NAME, file:PATH or helper; never the password itself")
                    .code(crate::exit_code::USAGE),
            );
        }
    };
    Ok(Credentials::Login(Login::from_secret(&secret)))
}

fn failure(error: CloneError) -> Failure {
    let hint = match &error {
        CloneError::LoginMissing { .. } => Some("name a login with --credentials env:NAME"),
        CloneError::LoginRefused { .. } | CloneError::Login { .. } => {
            Some("look at what --credentials names")
        }
        CloneError::NotFound { .. } => {
            Some("look at the URL; for a private repository name a login with --credentials")
        }
        CloneError::Moved { .. } => Some("give the new URL"),
        CloneError::NoSuchReference { .. } => {
            Some("--ref takes a branch, a tag or a full commit id")
        }
        CloneError::TooLarge { .. } => Some("clone less with --depth 1, or raise --clone-mib-max"),
        CloneError::Unreachable { .. } => Some("look at the URL and the network, then try again"),
        CloneError::Protocol { .. } => Some("is it a git repository that answers there?"),
        CloneError::Busy { .. } => Some("wait for the other process"),
        CloneError::Url { .. }
        | CloneError::Empty { .. }
        | CloneError::Cancelled { .. }
        | CloneError::Damaged { .. }
        | CloneError::Write { .. } => None,
    };
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn show(progress: &CloneProgress) {
    let mib = progress.bytes as f64 / f64::from(1 << 20);
    let of = progress
        .total
        .map_or_else(String::new, |total| format!(" of {total}"));
    // What is shown is what the server named its stages: without control characters.
    let stage: String = progress
        .stage
        .chars()
        .filter(|c| !c.is_control())
        .take(40)
        .collect();
    show_line(&format!(
        "cloning: {stage} {}{of}, {mib:.1} MiB",
        progress.done
    ));
}

/// Shows a line of progress in place of the last one.
pub(crate) fn show_line(text: &str) {
    let mut stderr = std::io::stderr().lock();
    // Nobody is harmed by progress that is not shown.
    let _ = write!(stderr, "\r\x1b[K{text}");
    let _ = stderr.flush();
}

/// Takes the line of progress away.
pub(crate) fn clear() {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "\r\x1b[K");
    let _ = stderr.flush();
}
