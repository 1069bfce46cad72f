//! Imports of honest and hostile archives, built here byte by byte.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::digest::Digest;
use super::*;

mod hostile;
mod images;
mod names;
mod trees;

/// A place with a source, a store, and files outside that must stay as they are.
struct Fixture {
    temp: TempDir,
    outside_before: BTreeMap<PathBuf, String>,
}

impl Fixture {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        fs::create_dir_all(outside.join("etc")).unwrap();
        fs::write(outside.join("etc/passwd"), "keep").unwrap();
        fs::write(outside.join("victim"), "keep").unwrap();
        let outside_before = describe(&outside);
        Self {
            temp,
            outside_before,
        }
    }

    fn outside(&self) -> PathBuf {
        self.temp.path().join("outside")
    }

    fn store(&self) -> PathBuf {
        self.temp.path().join("store")
    }

    fn source(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.temp.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn import(&self, source: &Path, options: &ImportOptions) -> Result<Imported, RootfsError> {
        let result = import(source, &self.store(), "it", options, &mut |_| {});
        self.check_nothing_else_changed(result.is_ok());
        result
    }

    /// Imports a tarball of a tree that must be fine, and gives what is in it.
    fn tree(&self, tar: &[u8]) -> BTreeMap<PathBuf, String> {
        let source = self.source("tree.tar", tar);
        let imported = self
            .import(&source, &ImportOptions::default())
            .unwrap_or_else(|error| {
                panic!("{}", chain(&error));
            });
        describe(&imported.rootfs.root)
    }

    /// Imports a tarball of a tree that must be refused, and gives the whole message.
    fn refusal(&self, tar: &[u8]) -> String {
        let source = self.source("tree.tar", tar);
        chain(&self.import(&source, &ImportOptions::default()).unwrap_err())
    }

    fn check_nothing_else_changed(&self, imported: bool) {
        assert_eq!(
            describe(&self.outside()),
            self.outside_before,
            "a file outside changed"
        );
        let mut left = fs::read_dir(self.store())
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect::<Vec<_>>();
        left.retain(|name| !(imported && name == "it"));
        assert_eq!(
            left,
            Vec::<String>::new(),
            "the import left something behind"
        );
    }
}

/// An error with all its causes.
fn chain(error: &RootfsError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Everything below a directory, as text that shows kind, mode, links and content.
fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let mode = metadata.mode() & 0o7777;
            let text = if metadata.is_dir() {
                todo.push(path.clone());
                format!("dir {mode:o}")
            } else if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else {
                let content = fs::read(&path).unwrap();
                let links = metadata.nlink();
                format!("{mode:o} x{links} {}", String::from_utf8_lossy(&content))
            };
            all.insert(path.strip_prefix(root).unwrap().to_owned(), text);
        }
    }
    all
}

/// What is below a directory must be exactly this.
fn expect(actual: &BTreeMap<PathBuf, String>, expected: &[(&str, &str)]) {
    let expected: BTreeMap<PathBuf, String> = expected
        .iter()
        .map(|(path, text)| (path.into(), (*text).to_owned()))
        .collect();
    assert_eq!(*actual, expected);
}

/// A tarball in the making.
struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// An entry whose names are written as they are, without the checks of the `tar` crate.
    fn raw(mut self, path: &str, kind: EntryType, link: &str, mode: u32, data: &[u8]) -> Self {
        let mut header = raw_header(path, kind, link, mode);
        header.set_size(data.len() as u64);
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.raw(path, EntryType::Regular, "", 0o644, content.as_bytes())
    }

    fn mode(self, path: &str, mode: u32, content: &str) -> Self {
        self.raw(path, EntryType::Regular, "", mode, content.as_bytes())
    }

    fn dir(self, path: &str) -> Self {
        self.raw(path, EntryType::Directory, "", 0o755, b"")
    }

    fn symlink(self, path: &str, target: &str) -> Self {
        self.raw(path, EntryType::Symlink, target, 0o777, b"")
    }

    fn hard_link(self, path: &str, target: &str) -> Self {
        self.raw(path, EntryType::Link, target, 0o644, b"")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn raw_header(path: &str, kind: EntryType, link: &str, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_500_000_000);
    header.set_uid(4321);
    header.set_gid(4321);
    header
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// An image layout in the making, written as a directory.
struct LayoutBuilder {
    path: PathBuf,
}

impl LayoutBuilder {
    fn new(fixture: &Fixture) -> Self {
        let path = fixture.temp.path().join("layout");
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { path }
    }

    /// Stores a blob and gives its descriptor.
    fn blob(&self, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::write(self.blob_path(&digest.to_string()), bytes).unwrap();
        json!({ "digest": digest.to_string(), "size": bytes.len(), "mediaType": "any" })
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.path
            .join("blobs/sha256")
            .join(digest.strip_prefix("sha256:").unwrap())
    }

    fn config(layers: &[Vec<u8>]) -> Value {
        let diff_ids: Vec<String> = layers
            .iter()
            .map(|layer| Digest::of(layer).to_string())
            .collect();
        json!({
            "os": "linux",
            "architecture": image::architecture(),
            "config": { "Env": ["PATH=/bin", "EMPTY=", "EQ=a=b"], "WorkingDir": "/work" },
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        })
    }

    /// Stores an image of these layers, each compressed by `compress`, and gives its descriptor.
    fn image(&self, layers: &[Vec<u8>], compress: fn(&[u8]) -> Vec<u8>) -> Value {
        self.image_with(layers, compress, &Self::config(layers))
    }

    fn image_with(
        &self,
        layers: &[Vec<u8>],
        compress: fn(&[u8]) -> Vec<u8>,
        config: &Value,
    ) -> Value {
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| self.blob(&compress(layer)))
            .collect();
        let config = self.blob(config.to_string().as_bytes());
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        self.blob(manifest.to_string().as_bytes())
    }

    fn index(&self, manifests: &[Value]) {
        let index = json!({ "schemaVersion": 2, "manifests": manifests });
        fs::write(self.path.join("index.json"), index.to_string()).unwrap();
    }

    /// The layout as a tarball.
    fn tar(&self) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        builder.append_dir_all(".", &self.path).unwrap();
        builder.into_inner().unwrap()
    }
}

fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": name });
    descriptor
}

fn on_platform(mut descriptor: Value, os: &str, architecture: &str) -> Value {
    descriptor["platform"] = json!({ "os": os, "architecture": architecture });
    descriptor
}
