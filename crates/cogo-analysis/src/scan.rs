//! Which files a repository has, without reading them.
//!
//! What git ignores is left out. Symbolic links are not followed, so that cycles of them and links
//! that lead out of the repository do no harm.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::WalkBuilder;

/// Largest file of code that is parsed.
pub const CODE_SIZE_MAX: u64 = 4 << 20;
/// Largest file of data or text that is parsed.
pub const DATA_SIZE_MAX: u64 = 1 << 20;

/// What the file system says of a file. Equal stamps mean equal content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// In bytes.
    pub size: u64,
    /// When the content changed, in nanoseconds after 1970.
    pub modified_ns: i64,
    /// When content or attributes changed, in nanoseconds after 1970. No program can set it.
    pub changed_ns: i64,
    /// The number of the file in its file system.
    pub inode: u64,
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// From the root, with `/`. Bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Where it is.
    pub location: PathBuf,
    /// What the file system says.
    pub stamp: Stamp,
    /// Why it is not read at all.
    pub refused: Option<Refused>,
}

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Its name is not UTF-8, so that no result could name it.
    Name,
    /// It is larger than anything that is parsed.
    Size,
}

impl Refused {
    /// As it is recorded.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "its name is not UTF-8",
            Self::Size => "larger than 4 MiB",
        }
    }
}

/// All files of a repository, by path.
///
/// What cannot be listed is left out: a folder without permission does not end the scan.
pub fn scan(root: &Path, cancelled: &AtomicBool) -> Vec<FoundFile> {
    let walk = WalkBuilder::new(root)
        .hidden(false)
        .follow_links(false)
        .require_git(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build();
    let mut files: Vec<FoundFile> = walk
        .take_while(|_| !cancelled.load(Ordering::Relaxed))
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .filter_map(|entry| found(root, entry.path()))
        .collect();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    // Names that differ only in what is not UTF-8.
    files.dedup_by(|one, other| one.path == other.path);
    files
}

/// What a scan would say of one file; `None` if it is gone or not a regular file.
pub fn found(root: &Path, location: &Path) -> Option<FoundFile> {
    let metadata = std::fs::symlink_metadata(location).ok()?;
    if !metadata.is_file() {
        return None;
    }
    let relative = location.strip_prefix(root).ok()?;
    let refused = match relative.to_str() {
        None => Some(Refused::Name),
        Some(_) if metadata.len() > CODE_SIZE_MAX => Some(Refused::Size),
        Some(_) => None,
    };
    Some(FoundFile {
        path: relative.to_string_lossy().into_owned(),
        location: location.to_owned(),
        stamp: Stamp {
            size: metadata.len(),
            modified_ns: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
            changed_ns: metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec(),
            inode: metadata.ino(),
        },
        refused,
    })
}

/// Where the text of a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// People wrote it for this repository.
    Source,
    /// A program wrote it.
    Generated,
    /// It was taken from another project.
    Vendored,
    /// It is no text.
    Binary,
}

impl Origin {
    /// Its name in results and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Generated => "generated",
            Self::Vendored => "vendored",
            Self::Binary => "binary",
        }
    }

    /// Tells it from the path and the start of the content.
    pub fn detect(path: &str, start: &[u8]) -> Self {
        const FOLDERS: [&str; 6] = [
            "node_modules",
            "vendor",
            "third_party",
            "third-party",
            "bower_components",
            "site-packages",
        ];
        let start = &start[..start.len().min(8192)];
        if memchr::memchr(0, start).is_some() {
            return Self::Binary;
        }
        let mut folders = path.split('/').rev().skip(1);
        if folders.any(|folder| FOLDERS.contains(&folder)) {
            return Self::Vendored;
        }
        if is_generated(path, start) {
            return Self::Generated;
        }
        Self::Source
    }
}

fn is_generated(path: &str, start: &[u8]) -> bool {
    const ENDINGS: [&str; 10] = [
        ".min.js",
        ".min.css",
        ".pb.go",
        "_pb2.py",
        ".g.dart",
        ".freezed.dart",
        "package-lock.json",
        "Cargo.lock",
        "poetry.lock",
        "pnpm-lock.yaml",
    ];
    const MARKS: [&[u8]; 4] = [
        b"@generated",
        b"DO NOT EDIT",
        b"Do not edit this file",
        b"<auto-generated",
    ];
    if ENDINGS.iter().any(|ending| path.ends_with(ending)) {
        return true;
    }
    // The mark stands in a comment of the first lines, not in code that looks for it.
    let mut lines = start.split(|byte| *byte == b'\n').take(8);
    lines.any(|line| {
        let line = line.trim_ascii_start();
        let is_comment = [b"//".as_slice(), b"#", b"/*", b"*", b"--", b"<!--"];
        is_comment.iter().any(|sign| line.starts_with(sign))
            && MARKS
                .iter()
                .any(|mark| memchr::memmem::find(line, mark).is_some())
    })
}

/// Whether the files of this path hold tests.
pub fn is_test_path(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    let mut folders = path.split('/').rev().skip(1);
    folders.any(|folder| matches!(folder, "tests" | "test" | "__tests__" | "spec" | "specs"))
        || name.starts_with("test_")
        || stem.ends_with("_test")
        || stem.ends_with("_tests")
        || stem == "tests"
        || name.contains(".test.")
        || name.contains(".spec.")
        || stem.ends_with("Test")
        || stem.ends_with("Tests")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: &Path) -> Vec<String> {
        let files = scan(root, &AtomicBool::new(false));
        files.into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn ignored_files_links_and_git_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        std::fs::create_dir_all(at(".git")).unwrap();
        std::fs::create_dir_all(at("a/target")).unwrap();
        for file in ["a/b.rs", "a/target/c.rs", ".git/config", ".hidden"] {
            std::fs::write(at(file), "x").unwrap();
        }
        std::fs::write(at(".gitignore"), "target/\n").unwrap();
        std::os::unix::fs::symlink(root.path(), at("a/cycle")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", at("a/out.rs")).unwrap();
        assert_eq!(paths(root.path()), [".gitignore", ".hidden", "a/b.rs"]);
    }

    #[test]
    fn large_files_and_wild_names_are_refused() {
        use std::os::unix::ffi::OsStrExt as _;
        let root = tempfile::tempdir().unwrap();
        let large = std::fs::File::create(root.path().join("large.rs")).unwrap();
        large.set_len(1 << 30).unwrap();
        let wild = std::ffi::OsStr::from_bytes(b"wild\xff.rs");
        std::fs::write(root.path().join(wild), "fn f() {}").unwrap();
        let files = scan(root.path(), &AtomicBool::new(false));
        let refused: Vec<_> = files.iter().map(|file| file.refused).collect();
        assert_eq!(refused, [Some(Refused::Size), Some(Refused::Name)]);
    }

    #[test]
    fn origins_are_told_apart() {
        let detect = |path, text: &str| Origin::detect(path, text.as_bytes());
        assert_eq!(detect("a.rs", "fn f() {}"), Origin::Source);
        assert_eq!(detect("a.rs", "// @generated by x\n"), Origin::Generated);
        assert_eq!(detect("a.rs", "let x = \"@generated\";"), Origin::Source);
        assert_eq!(detect("vendor/a.go", ""), Origin::Vendored);
        assert_eq!(detect("a.js", "\0"), Origin::Binary);
    }
}
