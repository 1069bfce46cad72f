//! Names of folders and files, and what is found under them.
//!
//! A task's folder is named after the task, percent-encoded. A name that would be longer than a
//! file system takes goes on in a folder below: each part but the last ends with `+`.

use std::fmt::Write as _;
use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cogo_protocol::task::{Fence, TaskId};

use super::{KeptTask, TaskLogError, at};

/// Most bytes of one part of a name, without its `+`. File systems take 255.
const PART_MAX: usize = 200;
const CONTINUES: char = '+';
const EXTENSION: &str = ".log";

/// The path of a task's folder below the root.
pub(super) fn name(task_id: &TaskId) -> PathBuf {
    let encoded = encode(task_id.as_str());
    let mut path = PathBuf::new();
    let mut rest = &*encoded;
    while rest.len() > PART_MAX {
        let (part, after) = rest.split_at(PART_MAX);
        path.push(format!("{part}{CONTINUES}"));
        rest = after;
    }
    path.push(rest);
    path
}

pub(super) fn file_name(fence: Fence) -> String {
    // As long as the highest number, so that names sort.
    format!("{:020}{EXTENSION}", fence.0)
}

fn fence_of(file_name: &str) -> Option<Fence> {
    file_name.strip_suffix(EXTENSION)?.parse().ok().map(Fence)
}

/// Letters, digits, `-` and `_` stay, so that people recognize what they named. A dot does not:
/// a part must not become `..`.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes everything");
        }
    }
    encoded
}

/// The task of an encoded name; `None` if it is none of ours.
fn decode(encoded: &str) -> Option<TaskId> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (digits, after) = rest.split_first_chunk::<2>()?;
            rest = after;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    let task_id: TaskId = String::from_utf8(bytes).ok()?.parse().ok()?;
    // There may be other ways to write it, but only one is where it is looked for.
    (encode(task_id.as_str()) == encoded).then_some(task_id)
}

/// All tasks below the root.
pub(super) fn list(root: &Path) -> Result<Vec<KeptTask>, TaskLogError> {
    let mut found = Vec::new();
    let mut open = vec![(root.to_owned(), String::new())];
    while let Some((folder, before)) = open.pop() {
        for entry in entries(&folder)? {
            let Ok(part) = entry.file_name().into_string() else {
                continue;
            };
            if let Some(part) = part.strip_suffix(CONTINUES) {
                open.push((entry.path(), format!("{before}{part}")));
            } else if let Some(task_id) = decode(&format!("{before}{part}")) {
                found.extend(kept(&entry.path(), &task_id)?);
            }
        }
    }
    Ok(found)
}

/// What lies in a task's folder.
pub(super) fn kept(folder: &Path, task_id: &TaskId) -> Result<Option<KeptTask>, TaskLogError> {
    let mut kept = KeptTask {
        task_id: task_id.clone(),
        attempts: Vec::new(),
        bytes: 0,
        changed_at: SystemTime::UNIX_EPOCH,
    };
    for entry in entries(folder)? {
        let file_name = entry.file_name();
        let Some(fence) = file_name.to_str().and_then(fence_of) else {
            continue;
        };
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(at("look at", &entry.path())(error)),
        };
        let changed_at = metadata.modified().map_err(at("look at", &entry.path()))?;
        kept.attempts.push(fence);
        kept.bytes += metadata.len();
        kept.changed_at = kept.changed_at.max(changed_at);
    }
    kept.attempts.sort_unstable();
    Ok((!kept.attempts.is_empty()).then_some(kept))
}

/// The entries of a folder; none if it is gone, or is none.
fn entries(folder: &Path) -> Result<Vec<DirEntry>, TaskLogError> {
    use io::ErrorKind::{NotADirectory, NotFound};
    match fs::read_dir(folder).and_then(Iterator::collect) {
        Ok(entries) => Ok(entries),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(at("list", folder)(error)),
    }
}

/// Removes a task's folder, and the folders above it that this leaves empty.
pub(super) fn remove(root: &Path, folder: &Path) -> Result<(), TaskLogError> {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(at("remove", folder)(error)),
    }
    let above = folder.ancestors().skip(1);
    for folder in above.take_while(|above| *above != root) {
        if fs::remove_dir(folder).is_err() {
            // Another task is in it.
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_readable_where_they_can_be() {
        let name = |text: &str| name(&text.parse().unwrap());
        assert_eq!(name("build-7_x"), Path::new("build-7_x"));
        assert_eq!(name("../x y"), Path::new("%2E%2E%2Fx%20y"));
        let long = name(&"é".repeat(128));
        assert_eq!(long.components().count(), 4);
    }

    proptest! {
        #[test]
        fn every_task_has_a_folder_of_its_own(text in "[a.+%/é🦀 -]{1,64}") {
            let task_id: TaskId = text.parse().unwrap();
            let path = name(&task_id);
            let mut joined = String::new();
            let parts: Vec<_> = path.iter().map(|part| part.to_str().unwrap()).collect();
            let (last, before) = parts.split_last().unwrap();
            for part in before {
                joined.push_str(part.strip_suffix(CONTINUES).unwrap());
            }
            prop_assert!(!last.ends_with(CONTINUES));
            joined.push_str(last);
            prop_assert!(parts.iter().all(|part| part.len() <= PART_MAX + 1));
            prop_assert_eq!(decode(&joined), Some(task_id));
        }

        #[test]
        fn foreign_names_are_read_or_passed_over(text: String) {
            if let Some(task_id) = decode(&text) {
                prop_assert_eq!(encode(task_id.as_str()), text);
            }
        }
    }
}
