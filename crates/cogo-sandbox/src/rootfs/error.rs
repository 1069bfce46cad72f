//! Why a root file system was not imported, found or removed.

use std::io;
use std::path::{Path, PathBuf};

use super::bound::BoundPassed;

/// Why a root file system was not imported, found or removed.
#[derive(Debug, thiserror::Error)]
pub enum RootfsError {
    /// The name cannot name a directory of ours.
    #[error(
        "`{name}` cannot name a root file system: use up to 64 letters, digits, `.`, `_` and `-`, \
         with a letter or digit first"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The name is taken.
    #[error("a root file system `{name}` exists")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is no such root file system.
    #[error("there is no root file system `{name}`")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The source is neither an image nor a tarball.
    #[error("`{path}` is neither an OCI image layout, nor from `docker save`, nor a tarball")]
    NotAnImage {
        /// The source.
        path: PathBuf,
    },
    /// The layout has no image that fits.
    #[error("no image fits {wanted}; there is {available}")]
    NoMatch {
        /// Reference and platform that were looked for.
        wanted: String,
        /// What the layout has.
        available: String,
    },
    /// The layout has more than one image that fits.
    #[error("more than one image fits {wanted}; there is {available}")]
    Ambiguous {
        /// Reference and platform that were looked for.
        wanted: String,
        /// What the layout has.
        available: String,
    },
    /// An image or archive breaks its format.
    #[error("{what} is malformed: {reason}")]
    Malformed {
        /// The document, blob or archive.
        what: String,
        /// How.
        reason: String,
    },
    /// A form that is valid but not known here.
    #[error("{what} is not supported")]
    Unsupported {
        /// The form.
        what: String,
    },
    /// Content is not what its digest says.
    #[error("{what} has digest {actual} where {expected} was promised")]
    WrongDigest {
        /// The content.
        what: String,
        /// The digest it must have.
        expected: String,
        /// The digest it has.
        actual: String,
    },
    /// Content has another size than promised.
    #[error("{what} has {actual} bytes where {expected} were promised")]
    WrongSize {
        /// The content.
        what: String,
        /// The size it must have.
        expected: u64,
        /// The size it has.
        actual: u64,
    },
    /// An entry names a place outside the tree, or one that can only be a trick.
    #[error("archive entry `{entry}` is refused: {reason}")]
    UnsafeEntry {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry could not be put in place.
    #[error("failed to unpack `{entry}`")]
    Entry {
        /// The entry's name.
        entry: String,
        /// The cause.
        source: io::Error,
    },
    /// The archive holds more bytes than allowed.
    #[error("the archive holds more than {bytes_max} bytes after decompression")]
    TooManyBytes {
        /// The bound.
        bytes_max: u64,
    },
    /// The archive holds more entries than allowed.
    #[error("the archive holds more than {entries_max} files, directories and links")]
    TooManyEntries {
        /// The bound.
        entries_max: u64,
    },
    /// A part of the source is at fault.
    #[error("failed to import {part}")]
    Part {
        /// The part, such as a layer.
        part: String,
        /// The cause.
        source: Box<RootfsError>,
    },
    /// The system refused an operation.
    #[error("failed to {action}")]
    Io {
        /// What was attempted.
        action: String,
        /// The cause.
        source: io::Error,
    },
}

impl RootfsError {
    pub(super) fn io(action: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            action: action.into(),
            source: source.into(),
        }
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers pass literals, texts and errors alike"
    )]
    pub(super) fn malformed(what: impl Into<String>, reason: impl ToString) -> Self {
        Self::Malformed {
            what: what.into(),
            reason: reason.to_string(),
        }
    }

    /// For a failed read of an archive, which may be a bound in disguise.
    pub(super) fn from_read(action: &str, error: io::Error) -> Self {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<BoundPassed>())
        {
            Some(BoundPassed { bytes_max }) => Self::TooManyBytes {
                bytes_max: *bytes_max,
            },
            None => Self::io(action, error),
        }
    }

    pub(super) fn in_layer(self, number: usize) -> Self {
        Self::Part {
            part: format!("layer {number}"),
            source: Box::new(self),
        }
    }

    pub(super) fn in_archive(self, path: &Path) -> Self {
        Self::Part {
            part: format!("`{}`", path.display()),
            source: Box::new(self),
        }
    }
}
