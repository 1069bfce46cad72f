//! Imports an OCI image layout or a tarball as the root file system of sandboxes.
//!
//! ```text
//! <state>/rootfs/
//!   alpine/rootfs.json    where it came from, the image's environment and working directory
//!   alpine/root/          the tree
//!   .import-0/            an import under way, locked by its importer; left by a killed one,
//!                         it is removed at the next import
//! ```
//!
//! A source is an OCI image layout or what `docker save` wrote (a directory, or a tarball of
//! one), or a tarball of the tree itself. Tarballs may be compressed with gzip or zstd.
//!
//! The archive is taken for hostile. Every name is resolved by the kernel beneath the new root
//! (`openat2` with `RESOLVE_IN_ROOT`), what exists at a name is unlinked and never written
//! through, and bytes and entries are bounded. Files belong to the importer; setuid bits,
//! extended attributes and owners are dropped; device nodes and other special files are left
//! out and counted.
//!
//! Deliberately absent: pulling from a registry, and knowing which sandboxes use a tree. Replacing
//! or removing one takes it away under those that run on it.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

mod archive;
mod bound;
mod compression;
mod digest;
mod error;
mod image;
pub(crate) mod removal;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;

pub use error::RootfsError;

use bound::{Bounded, Bounds};
use digest::Hashing;
use image::{Image, Layout};
use store::{Staging, Store};
use tree::Tree;
use unpack::{Unpacking, Whiteouts};

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Which image of several, by the name it has in the layout, such as `alpine:3.22`.
    pub reference: Option<String>,
    /// What to do when the name is taken.
    pub existing: Existing,
    /// Most bytes to unpack, counted after decompression. Default: 16 GiB. An archive of an image
    /// and the image's layers are counted apart.
    pub bytes_max: u64,
    /// Most files, directories and links to unpack, counted as bytes are. Default: 1,000,000.
    pub entries_max: u64,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            reference: None,
            existing: Existing::Keep,
            bytes_max: 16 << 30,
            entries_max: 1_000_000,
        }
    }
}

/// What to do with a root file system that has the wanted name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Keep it and fail.
    #[default]
    Keep,
    /// Replace it, in one step, once the new one is whole.
    Replace,
}

/// What an import is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The source archive is being unpacked.
    Archive,
    /// A layer of an image is being unpacked.
    Layer {
        /// Which one, from 1.
        number: usize,
        /// How many there are.
        count: usize,
        /// Its size as it is stored.
        bytes: u64,
    },
    /// So much of the archive, or of all layers, has been unpacked.
    Unpacked {
        /// Files, directories and links.
        entries: u64,
        /// Bytes after decompression.
        bytes: u64,
    },
}

/// A root file system that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rootfs {
    /// Its name.
    pub name: String,
    /// The tree.
    pub root: PathBuf,
    /// Where it came from.
    pub info: RootfsInfo,
}

/// Where a root file system came from: the content of `rootfs.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootfsInfo {
    /// The path that was imported.
    pub source: String,
    /// Digest of the image's manifest (of its configuration, for `docker save`), or of the
    /// tarball as it was read. `sha256:` and hex digits.
    pub digest: String,
    /// The image's environment variables, in order.
    pub env: Vec<(String, String)>,
    /// The image's working directory.
    pub working_dir: Option<String>,
    /// Unix time of the import, in milliseconds.
    pub imported_at_ms: u64,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The result.
    pub rootfs: Rootfs,
    /// Layers that were applied; 1 for a tarball of the tree.
    pub layers: usize,
    /// Files, directories and links unpacked.
    pub entries: u64,
    /// Bytes unpacked, counted after decompression.
    pub bytes: u64,
    /// Device nodes, pipes and other special files that were left out.
    pub skipped: u64,
}

/// Imports `source` as `dest_dir/name`. The name appears when everything is in place and on disk,
/// or not at all.
///
/// # Errors
///
/// Fails if the name is taken or not allowed, the source is not an image or tarball, is broken,
/// breaks its digests, names paths that leave the tree, or passes a bound.
pub fn import(
    source: &Path,
    dest_dir: &Path,
    name: &str,
    options: &ImportOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Imported, RootfsError> {
    let store = Store::open(dest_dir)?;
    store.check_free(name, options.existing)?;
    let staging = store.stage()?;
    let mut import = Import {
        options,
        staging: &staging,
        progress,
    };
    let unpacked = if source.is_dir() {
        import.directory(source)?
    } else {
        import.tarball(source)?
    };
    let info = RootfsInfo {
        source: source.to_string_lossy().into_owned(),
        digest: unpacked.digest,
        env: unpacked.env,
        working_dir: unpacked.working_dir,
        imported_at_ms: now_ms(),
    };
    let root = store.commit(&staging, name, &info, options.existing)?;
    Ok(Imported {
        rootfs: Rootfs {
            name: name.to_owned(),
            root,
            info,
        },
        layers: unpacked.layers,
        entries: unpacked.entries,
        bytes: unpacked.bytes,
        skipped: unpacked.skipped,
    })
}

/// All imported root file systems, by name.
///
/// # Errors
///
/// Fails if a `rootfs.json` cannot be read; its message names the file.
pub fn list(dest_dir: &Path) -> Result<Vec<Rootfs>, RootfsError> {
    store::list(dest_dir)
}

/// The root file system of this name.
///
/// # Errors
///
/// Fails if there is none, or its `rootfs.json` cannot be read.
pub fn find(dest_dir: &Path, name: &str) -> Result<Rootfs, RootfsError> {
    store::find(dest_dir, name)
}

/// Removes a root file system: its name at once, then its files.
///
/// # Errors
///
/// Fails if there is none, or a file cannot be removed; the next import tries again.
pub fn remove(dest_dir: &Path, name: &str) -> Result<(), RootfsError> {
    store::check_name(name)?;
    if !dest_dir.join(name).is_dir() {
        return Err(RootfsError::NotFound {
            name: name.to_owned(),
        });
    }
    Store::open(dest_dir)?.remove(name)
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    since.as_millis() as u64
}

/// An import under way.
struct Import<'a> {
    options: &'a ImportOptions,
    staging: &'a Staging,
    progress: &'a mut dyn FnMut(Progress),
}

/// What lies in the staged root.
struct Unpacked {
    digest: String,
    env: Vec<(String, String)>,
    working_dir: Option<String>,
    layers: usize,
    entries: u64,
    bytes: u64,
    skipped: u64,
}

impl Import<'_> {
    fn directory(&mut self, source: &Path) -> Result<Unpacked, RootfsError> {
        let image = Layout::open(source)?
            .image(self.options.reference.as_deref())?
            .ok_or_else(|| RootfsError::NotAnImage {
                path: source.to_owned(),
            })?;
        self.image(image)
    }

    /// Unpacks a tarball, and only then looks whether it holds the tree or an image. So what
    /// reads an image never has to read an archive at random.
    fn tarball(&mut self, source: &Path) -> Result<Unpacked, RootfsError> {
        let file = File::open(source)
            .map_err(|error| RootfsError::io(format!("open `{}`", source.display()), error))?;
        (self.progress)(Progress::Archive);
        let outer = self.staging.create("outer")?;
        let bounds = self.bounds();
        let mut unpacking = Unpacking::new(Tree::new(outer, &bounds), &bounds, self.progress);
        let mut hashing = Hashing::new(file);
        unpack_stream(&mut hashing, &mut unpacking, Whiteouts::Keep)
            .map_err(|error| error.in_archive(source))?;
        let skipped = unpacking.skipped();
        let digest = hashing.finish();
        if bounds.entries() == 0 {
            return Err(RootfsError::NotAnImage {
                path: source.to_owned(),
            });
        }
        let layout = Layout::open(&self.staging.path("outer"))?;
        if let Some(image) = layout.image(self.options.reference.as_deref())? {
            return self.image(image);
        }
        if let Some(reference) = &self.options.reference {
            return Err(RootfsError::NoMatch {
                wanted: format!("`{reference}`"),
                available: "a tree without a name".to_owned(),
            });
        }
        self.staging.take_as_root("outer")?;
        Ok(Unpacked {
            digest: digest.to_string(),
            env: Vec::new(),
            working_dir: None,
            layers: 1,
            entries: bounds.entries(),
            bytes: bounds.bytes(),
            skipped,
        })
    }

    fn image(&mut self, image: Image) -> Result<Unpacked, RootfsError> {
        let root = self.staging.create_root()?;
        let bounds = self.bounds();
        let mut unpacking = Unpacking::new(Tree::new(root, &bounds), &bounds, self.progress);
        let count = image.layers.len();
        for (index, layer) in image.layers.into_iter().enumerate() {
            let number = index + 1;
            unpacking.report(Progress::Layer {
                number,
                count,
                bytes: layer.size,
            });
            unpacking.begin_layer();
            unpack_layer(layer, &mut unpacking).map_err(|error| error.in_layer(number))?;
        }
        Ok(Unpacked {
            digest: image.digest.to_string(),
            env: image.env,
            working_dir: image.working_dir,
            layers: count,
            entries: bounds.entries(),
            bytes: bounds.bytes(),
            skipped: unpacking.skipped(),
        })
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            bytes_max: self.options.bytes_max,
            entries_max: self.options.entries_max,
            bytes: Cell::new(0),
            entries: Cell::new(0),
        }
    }
}

/// Unpacks one layer and checks that it was the one the image means.
fn unpack_layer(layer: image::Layer, unpacking: &mut Unpacking<'_>) -> Result<(), RootfsError> {
    let mut stored = Hashing::new(layer.file);
    let diff_id = unpack_stream(&mut stored, unpacking, Whiteouts::Apply)?;
    if let Some(expected) = layer.digest {
        expected.check("a layer", &stored.finish())?;
    }
    layer.diff_id.check("the content of a layer", &diff_id)
}

/// Unpacks a tarball and reads it to its end, of which its digest must know. Gives the digest of
/// what came out of the decompression.
fn unpack_stream<R: Read>(
    stored: &mut Hashing<R>,
    unpacking: &mut Unpacking<'_>,
    whiteouts: Whiteouts,
) -> Result<digest::Digest, RootfsError> {
    let decoded = compression::decode(&mut *stored)?;
    let mut content = Hashing::new(Bounded::new(decoded, unpacking.bounds()));
    unpacking.unpack(&mut content, whiteouts)?;
    let rest = |error| RootfsError::from_read("read to the end of the archive", error);
    io::copy(&mut content, &mut io::sink()).map_err(rest)?;
    let digest = content.finish();
    io::copy(stored, &mut io::sink()).map_err(rest)?;
    Ok(digest)
}
