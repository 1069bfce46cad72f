//! Finds an image in a directory that holds an OCI layout or what `docker save` wrote.
//!
//! The documents are few and small, so plain structs read them: unknown fields are ignored, and
//! `null` is taken for nothing, which builders write.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::digest::Digest;
use super::error::RootfsError;

mod docker;
mod oci;

/// The largest JSON document that is read. Registries allow manifests of 4 MiB.
const DOCUMENT_MAX: u64 = 4 << 20;

/// An image that was found.
pub(super) struct Image {
    pub digest: Digest,
    pub env: Vec<(String, String)>,
    pub working_dir: Option<String>,
    /// From the lowest.
    pub layers: Vec<Layer>,
}

/// A layer as it is stored.
pub(super) struct Layer {
    pub file: File,
    pub size: u64,
    /// Of the stored bytes, where the layout names it.
    pub digest: Option<Digest>,
    /// Of the decompressed bytes.
    pub diff_id: Digest,
}

/// A directory that may hold an image.
pub(super) struct Layout {
    directory: OwnedFd,
}

impl Layout {
    pub(super) fn open(path: &Path) -> Result<Self, RootfsError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty())
            .map_err(|error| RootfsError::io(format!("open `{}`", path.display()), error))?;
        Ok(Self { directory })
    }

    /// The image of this reference, or the only one. `None` if this is no layout.
    pub(super) fn image(&self, reference: Option<&str>) -> Result<Option<Image>, RootfsError> {
        // New versions of `docker save` write both forms; only OCI's has digests for all.
        if let Some(image) = oci::image(self, reference)? {
            return Ok(Some(image));
        }
        docker::image(self, reference)
    }

    /// Opens a regular file below the directory, through links that stay there. `None` if there
    /// is none.
    fn file(&self, path: &str) -> Result<Option<File>, RootfsError> {
        let failed = |error: Errno| RootfsError::io(format!("open `{path}` of the image"), error);
        // Not blocking, or opening a pipe would wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = match openat2(&self.directory, path, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            result => File::from(result.map_err(failed)?),
        };
        let metadata = file
            .metadata()
            .map_err(|error| RootfsError::io(format!("look at `{path}` of the image"), error))?;
        if !metadata.is_file() {
            return Err(RootfsError::malformed(
                format!("`{path}` of the image"),
                "no file",
            ));
        }
        Ok(Some(file))
    }

    /// The bytes of a document. `None` if there is none.
    fn document(&self, path: &str) -> Result<Option<Vec<u8>>, RootfsError> {
        let Some(file) = self.file(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(DOCUMENT_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| RootfsError::io(format!("read `{path}` of the image"), error))?;
        if bytes.len() as u64 > DOCUMENT_MAX {
            return Err(RootfsError::malformed(
                format!("`{path}`"),
                "it is larger than 4 MiB",
            ));
        }
        Ok(Some(bytes))
    }
}

/// An image's configuration, as far as it matters to a root file system.
#[derive(Deserialize)]
struct ImageConfig {
    os: Option<String>,
    architecture: Option<String>,
    config: Option<RunConfig>,
    rootfs: DiffIds,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RunConfig {
    env: Option<Vec<String>>,
    working_dir: Option<String>,
}

#[derive(Deserialize)]
struct DiffIds {
    diff_ids: Option<Vec<String>>,
}

impl ImageConfig {
    fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
        }
    }

    /// The layers' digests, which must be as many as the layers.
    fn diff_ids(&self, layers: usize) -> Result<Vec<Digest>, RootfsError> {
        let texts = self.rootfs.diff_ids.as_deref().unwrap_or_default();
        if texts.len() != layers {
            let reason = format!("it names {} layers where there are {layers}", texts.len());
            return Err(RootfsError::malformed("the image's configuration", reason));
        }
        texts.iter().map(|text| text.parse()).collect()
    }

    fn env(&self) -> Result<Vec<(String, String)>, RootfsError> {
        let texts = self.config.as_ref().and_then(|config| config.env.as_ref());
        texts
            .into_iter()
            .flatten()
            .map(|text| match text.split_once('=') {
                Some((name, value)) if !name.is_empty() && !text.contains('\0') => {
                    Ok((name.to_owned(), value.to_owned()))
                }
                _ => Err(RootfsError::malformed(
                    "the image's configuration",
                    format!("`{}` is no environment variable", text.escape_debug()),
                )),
            })
            .collect()
    }

    fn working_dir(&self) -> Result<Option<String>, RootfsError> {
        let directory = self
            .config
            .as_ref()
            .and_then(|config| config.working_dir.as_deref());
        match directory {
            None | Some("") => Ok(None),
            Some(path) if path.starts_with('/') && !path.contains('\0') => {
                Ok(Some(path.to_owned()))
            }
            Some(path) => Err(RootfsError::malformed(
                "the image's configuration",
                format!(
                    "its working directory `{}` is not absolute",
                    path.escape_debug()
                ),
            )),
        }
    }
}

/// What an image runs on.
#[derive(Clone, Debug, Default, Deserialize)]
struct Platform {
    os: Option<String>,
    architecture: Option<String>,
}

impl Platform {
    /// Whether it may run here. What is not said may.
    fn fits(&self) -> bool {
        self.os.as_deref().is_none_or(|os| os == "linux")
            && self
                .architecture
                .as_deref()
                .is_none_or(|name| name == architecture())
    }

    fn text(&self) -> String {
        let part = |text: &Option<String>| text.clone().unwrap_or_else(|| "?".to_owned());
        format!("{}/{}", part(&self.os), part(&self.architecture))
    }
}

/// This machine's architecture, by the name that images use.
pub(super) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        "powerpc64" => "ppc64",
        "loongarch64" => "loong64",
        same => same,
    }
}

/// Reference and platform, for a message.
fn wanted(reference: Option<&str>) -> String {
    let platform = format!("linux/{}", architecture());
    reference.map_or_else(
        || platform.clone(),
        |name| format!("`{name}` on {platform}"),
    )
}

/// A list for a message, of at most ten.
fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    let more = names.len().saturating_sub(10);
    names.truncate(10);
    match (names.is_empty(), more) {
        (true, _) => "none".to_owned(),
        (false, 0) => names.join(", "),
        (false, more) => format!("{} and {more} more", names.join(", ")),
    }
}

fn parse<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, RootfsError> {
    serde_json::from_slice(bytes).map_err(|error| RootfsError::malformed(what, error))
}
