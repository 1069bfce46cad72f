//! Applies archives to a tree, one after the other.

use std::io::Read;

use super::Progress;
use super::archive::{Archive, Entry, EntryKind};
use super::bound::Bounds;
use super::error::RootfsError;
use super::tree::{EntryPath, Tree, TreeError};

/// Entries between two reports.
const REPORT_ENTRIES: u64 = 1024;

/// What names such as `.wh.gone` mean, with which a layer takes away what lower ones have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whiteouts {
    /// Nothing: they are files like others, as the archive is no layer.
    Keep,
    /// What lower layers have there goes away.
    Apply,
}

/// Applies archives to a tree.
pub(super) struct Unpacking<'a> {
    tree: Tree<'a>,
    bounds: &'a Bounds,
    progress: &'a mut dyn FnMut(Progress),
    layers: usize,
    skipped: u64,
}

impl<'a> Unpacking<'a> {
    pub(super) fn new(
        tree: Tree<'a>,
        bounds: &'a Bounds,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        Self {
            tree,
            bounds,
            progress,
            layers: 0,
            skipped: 0,
        }
    }

    pub(super) fn bounds(&self) -> &'a Bounds {
        self.bounds
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    pub(super) fn report(&mut self, progress: Progress) {
        (self.progress)(progress);
    }

    /// Starts a layer upon those before.
    pub(super) fn begin_layer(&mut self) {
        self.tree.begin_layer(self.layers > 0);
        self.layers += 1;
    }

    /// Applies all entries of an archive.
    pub(super) fn unpack(
        &mut self,
        input: impl Read,
        whiteouts: Whiteouts,
    ) -> Result<(), RootfsError> {
        let mut archive = Archive::new(input);
        while let Some(entry) = archive.next()? {
            self.bounds.count_entry()?;
            self.bounds.check_size(entry.size)?;
            self.entry(&entry, &mut archive, whiteouts)
                .map_err(|error| entry_error(&entry, error))?;
            if self.bounds.entries().is_multiple_of(REPORT_ENTRIES) {
                self.report_unpacked();
            }
        }
        self.report_unpacked();
        Ok(())
    }

    fn report_unpacked(&mut self) {
        let (entries, bytes) = (self.bounds.entries(), self.bounds.bytes());
        self.report(Progress::Unpacked { entries, bytes });
    }

    fn entry(
        &mut self,
        entry: &Entry,
        content: &mut impl Read,
        whiteouts: Whiteouts,
    ) -> Result<(), TreeError> {
        let path = EntryPath::new(&entry.path)?;
        if whiteouts == Whiteouts::Apply
            && let Some((directory, name)) = path.split()
            && let Some(gone) = name.strip_prefix(b".wh.")
        {
            return self.whiteout(directory, gone);
        }
        match &entry.kind {
            EntryKind::File => self.tree.file(&path, entry.mode, entry.mtime, content),
            EntryKind::Directory => self.tree.directory(&path, entry.mode),
            EntryKind::Symlink { target } => self.tree.symlink(&path, target, entry.mtime),
            EntryKind::HardLink { target } => self.tree.hard_link(&path, &EntryPath::new(target)?),
            EntryKind::Special => {
                self.skipped += 1;
                Ok(())
            }
        }
    }

    /// Applies the entry `.wh.` + `name`.
    fn whiteout(&mut self, directory: &[&[u8]], name: &[u8]) -> Result<(), TreeError> {
        match name {
            b".wh..opq" => self.tree.opaque(directory),
            // `.wh.` before `.` or `..` would take away the directory itself or the one above.
            b"" | b"." | b".." => Err(TreeError::Unsafe("it takes away no name")),
            // Notes of the old aufs storage.
            _ if name.starts_with(b".wh.") => Ok(()),
            _ => self.tree.whiteout(directory, name),
        }
    }
}

fn entry_error(entry: &Entry, error: TreeError) -> RootfsError {
    let name = || String::from_utf8_lossy(&entry.path).into_owned();
    match error {
        TreeError::Unsafe(reason) => RootfsError::UnsafeEntry {
            entry: name(),
            reason,
        },
        TreeError::Io(error) => match RootfsError::from_read("unpack an entry", error) {
            RootfsError::Io { source, .. } => RootfsError::Entry {
                entry: name(),
                source,
            },
            bound => bound,
        },
        TreeError::Rootfs(error) => error,
    }
}
