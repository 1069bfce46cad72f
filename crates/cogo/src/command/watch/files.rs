//! Edits of files that git does not ignore, by inotify.
//!
//! There is one watch for each directory; a new directory gets one, and what was in it by then counts as
//! edited. The kernel's own interface is used: it is all that is needed on Linux.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::{Message, below};
use crate::failure::Failure;

/// What may mean an edit. A write counts when its file is closed: before that it is not finished.
const EDITS: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR);

struct Files {
    root: PathBuf,
    inotify: OwnedFd,
    directories: HashMap<i32, PathBuf>,
    ignored: Gitignore,
}

/// Watches a directory and all below it, on a thread of its own, until nobody listens.
pub(super) fn watch(root: &Path, sender: Sender<Message>) -> Result<(), Failure> {
    let failed = |error: Errno| Failure::caused("failed to watch files", &error);
    let inotify = inotify::init(CreateFlags::CLOEXEC).map_err(failed)?;
    let mut files = Files {
        root: root.to_owned(),
        inotify,
        directories: HashMap::new(),
        ignored: Gitignore::empty(),
    };
    files.read_ignored();
    files.add(root)?;
    std::thread::Builder::new()
        .name("files".to_owned())
        .spawn(move || files.follow(&sender))?;
    Ok(())
}

impl Files {
    fn follow(mut self, sender: &Sender<Message>) {
        loop {
            let message = match self.edits() {
                Ok(edited) if edited.is_empty() => continue,
                Ok(edited) => Message::Edited(edited),
                Err(failure) => Message::Blind(failure),
            };
            let is_blind = matches!(message, Message::Blind(_));
            if sender.send(message).is_err() || is_blind {
                return;
            }
        }
    }

    /// Waits for events, and returns the files they are of.
    fn edits(&mut self) -> Result<Vec<PathBuf>, Failure> {
        let mut told = Vec::new();
        {
            let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
            let mut reader = Reader::new(&self.inotify, &mut buffer);
            loop {
                let event = match reader.next() {
                    Err(Errno::INTR) => continue,
                    event => {
                        event.map_err(|error| Failure::caused("failed to read edits", &error))?
                    }
                };
                let name = event.file_name().map(|name| name.to_bytes().to_vec());
                told.push((event.wd(), event.events(), name));
                if reader.is_buffer_empty() {
                    break;
                }
            }
        }
        let mut edited = Vec::new();
        for (directory, what, name) in told {
            self.event(directory, what, name.as_deref(), &mut edited)?;
        }
        edited.sort();
        edited.dedup();
        Ok(edited)
    }

    fn event(
        &mut self,
        directory: i32,
        what: ReadFlags,
        name: Option<&[u8]>,
        edited: &mut Vec<PathBuf>,
    ) -> Result<(), Failure> {
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            // Nobody knows what was missed: everything may have changed.
            edited.push(PathBuf::from("."));
            let root = self.root.clone();
            return self.add(&root).map(drop);
        }
        if what.contains(ReadFlags::IGNORED) {
            self.directories.remove(&directory);
            return Ok(());
        }
        let Some((folder, name)) = self.directories.get(&directory).zip(name) else {
            return Ok(());
        };
        let path = folder.join(std::ffi::OsStr::from_bytes(name));
        let is_directory = what.contains(ReadFlags::ISDIR);
        if name == b".gitignore" {
            self.read_ignored();
        }
        if self.is_ignored(&path, is_directory) {
            return Ok(());
        }
        if !is_directory {
            // A file that is made is closed, too; one that is linked is not.
            edited.push(below(&self.root, &path));
        } else if what.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            edited.extend(self.add(&path)?);
        }
        Ok(())
    }

    /// Watches a directory and those below it, and returns the files that are in them.
    fn add(&mut self, directory: &Path) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        let walk = WalkBuilder::new(directory)
            .hidden(false)
            .require_git(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        for entry in walk.flatten() {
            if !entry.file_type().is_some_and(|kind| kind.is_dir()) {
                files.push(below(&self.root, entry.path()));
                continue;
            }
            match inotify::add_watch(&self.inotify, entry.path(), EDITS) {
                Ok(watch) => drop(self.directories.insert(watch, entry.into_path())),
                // It is gone already.
                Err(Errno::NOENT | Errno::NOTDIR) => {}
                Err(error) => {
                    let text = format!("failed to watch `{}`", entry.path().display());
                    let failure = Failure::caused(text, &error);
                    return Err(match error {
                        Errno::NOSPC => failure.hint(
                            "there are more directories than watches: raise fs.inotify.max_user_watches, or let git ignore some",
                        ),
                        _ => failure,
                    });
                }
            }
        }
        Ok(files)
    }

    /// Reads all files that say what git ignores. One with a mistake counts as far as it goes.
    fn read_ignored(&mut self) {
        let mut builder = GitignoreBuilder::new(&self.root);
        let walk = WalkBuilder::new(&self.root)
            .hidden(false)
            .require_git(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        for entry in walk.flatten() {
            if entry.file_name() == ".gitignore" || entry.file_name() == ".ignore" {
                // Patterns of a folder's own file hold below that folder.
                let folder = entry.path().parent().unwrap_or(&self.root).to_owned();
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let prefix = below(&self.root, &folder);
                for line in text.lines() {
                    let _ = builder.add_line(None, &placed(&prefix, line));
                }
            }
        }
        let exclude = self.root.join(".git/info/exclude");
        if exclude.exists() {
            let _ = builder.add(exclude);
        }
        self.ignored = builder.build().unwrap_or_else(|_| Gitignore::empty());
    }

    fn is_ignored(&self, path: &Path, is_directory: bool) -> bool {
        let has_git = path.components().any(|part| part.as_os_str() == ".git");
        has_git || (self.ignored.matched_path_or_any_parents(path, is_directory)).is_ignore()
    }
}

/// A pattern of a folder's `.gitignore`, as one of the root's.
fn placed(prefix: &Path, line: &str) -> String {
    let line = line.trim_end();
    if prefix.as_os_str().is_empty() || line.is_empty() || line.starts_with('#') {
        return line.to_owned();
    }
    let (negation, pattern) = match line.strip_prefix('!') {
        Some(pattern) => ("!", pattern),
        None => ("", line),
    };
    let inner = pattern.trim_end_matches('/');
    let prefix = prefix.display();
    if inner.contains('/') {
        format!("{negation}/{prefix}/{}", pattern.trim_start_matches('/'))
    } else {
        format!("{negation}/{prefix}/**/{pattern}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_a_folder_hold_below_it() {
        let at = Path::new("web/app");
        assert_eq!(placed(at, "/dist/"), "/web/app/dist/");
        assert_eq!(placed(at, "*.log"), "/web/app/**/*.log");
        assert_eq!(placed(at, "!keep.log"), "!/web/app/**/keep.log");
        assert_eq!(placed(at, "# a/b"), "# a/b");
        assert_eq!(placed(Path::new(""), "target"), "target");
    }
}
