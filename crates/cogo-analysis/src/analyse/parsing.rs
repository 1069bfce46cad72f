//! Reads changed files on all cores and keeps what is in them, from one writer.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sha1::{Digest as _, Sha1};

use super::{AnalysisError, Event, Known, Observer, check};
use crate::facts::{Facts, Trouble};
use crate::language::Language;
use crate::parse::parse;
use crate::scan::{self, CODE_SIZE_MAX, DATA_SIZE_MAX, FoundFile, Origin};
use crate::store::write::{Affected, FileRecord, file_restamp, file_store};
use crate::store::{Store, StoreError};

/// At most so many files, or so long, in one transaction.
const BATCH_FILES: usize = 200;
const BATCH_TIME: Duration = Duration::from_millis(500);
/// Results that wait for the writer; then readers wait.
const QUEUE_MAX: usize = 256;

/// Contents that were parsed before, with their languages.
type Blobs = HashSet<([u8; 20], String)>;

/// A file that was read.
struct ReadFile<'a> {
    file: &'a FoundFile,
    language: Option<Language>,
    origin: Origin,
    skipped: Option<&'static str>,
    hash: Option<[u8; 20]>,
    content: Content,
}

enum Content {
    /// The same as the last time.
    Same,
    /// Parsed before, perhaps in another file.
    Kept,
    /// Parsed now, with its form in the store.
    Parsed(Box<Facts>, Vec<u8>),
    /// Nothing to parse.
    None,
}

/// Reads and keeps files; tells how many were read, and how many of those were parsed.
pub(super) fn store_changed(
    store: &mut Store,
    changed: &[&FoundFile],
    known: &HashMap<String, Known>,
    cancelled: &AtomicBool,
    observer: Observer<'_>,
) -> Result<(usize, usize), AnalysisError> {
    if changed.is_empty() {
        return Ok((0, 0));
    }
    let blobs = kept_blobs(store)?;
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(QUEUE_MAX);
        for _ in 0..threads.min(changed.len()) {
            let sender = sender.clone();
            let (next, stopped, blobs) = (&next, &stopped, &blobs);
            scope.spawn(move || {
                while let Some(file) = changed.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let is_over =
                        stopped.load(Ordering::Relaxed) || cancelled.load(Ordering::Relaxed);
                    let before = known.get(&file.path).and_then(|known| known.hash);
                    if is_over || sender.send(read(file, before, blobs)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let written = write(store, &receiver, changed.len(), observer);
        // Readers that wait to hand over see that nobody takes it any more.
        stopped.store(true, Ordering::Relaxed);
        drop(receiver);
        let parsed = written?;
        check(cancelled)?;
        Ok((changed.len(), parsed))
    })
}

fn kept_blobs(store: &Store) -> Result<Blobs, StoreError> {
    let mut read = store
        .connection()
        .prepare_cached("SELECT hash, language FROM blob")?;
    let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn write(
    store: &mut Store,
    receiver: &mpsc::Receiver<ReadFile<'_>>,
    total: usize,
    observer: Observer<'_>,
) -> Result<usize, AnalysisError> {
    let mut done = 0;
    let mut parsed = 0;
    let mut first = receiver.recv().ok();
    while let Some(file) = first {
        let started_at = Instant::now();
        let mut batch = vec![file];
        let transaction = store.connection_mut().transaction()?;
        let mut affected = Affected::default();
        let mut stored = 0;
        loop {
            for file in batch.drain(..) {
                parsed += usize::from(matches!(file.content, Content::Parsed(..)));
                keep(&transaction, &file, &mut affected)?;
                done += 1;
                stored += 1;
                observer(&Event::FileStored {
                    path: &file.file.path,
                    done,
                    total,
                });
            }
            if stored >= BATCH_FILES || started_at.elapsed() > BATCH_TIME {
                break;
            }
            match receiver.recv_timeout(BATCH_TIME) {
                Ok(file) => batch.push(file),
                Err(_) => break,
            }
        }
        affected.mark(&transaction)?;
        transaction.commit()?;
        first = receiver.recv().ok();
    }
    Ok(parsed)
}

fn keep(
    connection: &rusqlite::Connection,
    read: &ReadFile<'_>,
    affected: &mut Affected,
) -> Result<(), StoreError> {
    let nothing = Facts::default();
    let kept;
    let (facts, new_blob) = match &read.content {
        Content::Same => {
            return file_restamp(connection, &read.file.path, read.file.stamp);
        }
        Content::Kept => {
            kept = facts_of(connection, read.hash, read.language)?;
            (&kept, None)
        }
        Content::Parsed(facts, bytes) => (&**facts, Some(bytes.as_slice())),
        Content::None => (&nothing, None),
    };
    let skipped = read.skipped.or(match facts.trouble {
        Some(Trouble::TimeLimit) => Some("parsing took too long"),
        Some(Trouble::Failure) => Some("the parser failed"),
        Some(Trouble::Syntax) | None => None,
    });
    let record = FileRecord {
        path: &read.file.path,
        language: read.language.map(Language::name),
        origin: read.origin,
        skipped,
        hash: read.hash,
        stamp: read.file.stamp,
        is_test: scan::is_test_path(&read.file.path),
        facts,
        new_blob,
    };
    file_store(connection, &record, affected)?;
    Ok(())
}

fn facts_of(
    connection: &rusqlite::Connection,
    hash: Option<[u8; 20]>,
    language: Option<Language>,
) -> Result<Facts, StoreError> {
    let bytes: Vec<u8> = connection
        .prepare_cached("SELECT facts FROM blob WHERE hash = ? AND language = ?")?
        .query_row(
            rusqlite::params![hash, language.map(Language::name)],
            |row| row.get(0),
        )?;
    Ok(postcard::from_bytes(&bytes)?)
}

fn read<'a>(file: &'a FoundFile, before: Option<[u8; 20]>, blobs: &Blobs) -> ReadFile<'a> {
    let unread = |skipped| ReadFile {
        file,
        language: None,
        origin: Origin::Source,
        skipped: Some(skipped),
        hash: None,
        content: Content::None,
    };
    if let Some(refused) = file.refused {
        return unread(refused.name());
    }
    let Ok(text) = read_bounded(&file.location) else {
        return unread("it cannot be read");
    };
    let Some(text) = text else {
        return unread("larger than 4 MiB");
    };
    let hash = blob_id(&text);
    let origin = Origin::detect(&file.path, &text);
    let start = &text[..text.len().min(8192)];
    let language = match origin {
        Origin::Binary => None,
        _ => Language::detect(Path::new(&file.path), start),
    };
    let skipped = match (origin, language) {
        (Origin::Binary, _) => Some("binary"),
        (Origin::Vendored, Some(_)) => Some("vendored"),
        (_, Some(language)) if !language.is_code() && text.len() as u64 > DATA_SIZE_MAX => {
            Some("data larger than 1 MiB")
        }
        _ => None,
    };
    let content = match (skipped, language) {
        _ if before == Some(hash) => Content::Same,
        (None, Some(language)) if blobs.contains(&(hash, language.name().to_owned())) => {
            Content::Kept
        }
        (None, Some(language)) => {
            let facts = parse(language, &text);
            let bytes = postcard::to_stdvec(&facts).unwrap_or_default();
            Content::Parsed(Box::new(facts), bytes)
        }
        _ => Content::None,
    };
    ReadFile {
        file,
        language,
        origin,
        skipped,
        hash: Some(hash),
        content,
    }
}

/// The content of a file, or `None` if it has grown too large since it was found.
fn read_bounded(location: &Path) -> std::io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let file = std::fs::File::open(location)?;
    file.take(CODE_SIZE_MAX + 1).read_to_end(&mut text)?;
    Ok((text.len() as u64 <= CODE_SIZE_MAX).then_some(text))
}

/// The id that git gives a content.
fn blob_id(text: &[u8]) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(format!("blob {}\0", text.len()));
    hash.update(text);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_git() {
        let hex = |text: &[u8]| -> String {
            blob_id(text)
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect()
        };
        assert_eq!(hex(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(hex(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
