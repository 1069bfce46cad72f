//! What a run has done so far, on the disk before it counts: a later run takes it up from there.
//!
//! A file of JSON lines. A last line without an end was being written when its writer died; what
//! it tells had not happened for anyone.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use cogo_protocol::verdict::Outcome;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;
use crate::progress::PlanOutcome;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// The run began. Always the first.
    Began {
        /// The plan's text, by its SHA-256.
        plan: String,
    },
    /// An attempt began.
    Started {
        /// The instance.
        node: String,
        /// The attempt, from 1.
        attempt: u32,
    },
    /// What finds a running attempt again.
    Handle {
        /// The instance.
        node: String,
        /// The dispatch's word for it.
        handle: String,
    },
    /// An attempt ended.
    Ended {
        /// The instance.
        node: String,
        /// How; nothing when it could not be started or its end is not known.
        outcome: Option<Outcome>,
        /// What it told.
        outputs: BTreeMap<String, String>,
    },
    /// The run ended.
    Finished {
        /// How.
        outcome: PlanOutcome,
    },
}

/// The journal of one run, open for more.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be read or written.
    #[error("failed to use the journal `{path}`")]
    Io {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another process works on the run.
    #[error("another process is at work on this run")]
    InUse,
    /// The run was of another plan.
    #[error("the run began with another plan")]
    OtherPlan,
    /// A line in the middle is no entry.
    #[error("line {line} of the journal cannot be read")]
    Damaged {
        /// Counted from 1.
        line: usize,
    },
}

impl Journal {
    /// Opens a run's journal and tells what is in it. A new one begins with this plan; an old one
    /// must be of it.
    ///
    /// # Errors
    ///
    /// See [`JournalError`].
    pub fn open(path: &Path, plan: &str) -> Result<(Self, Vec<Entry>), JournalError> {
        let failed = |source| JournalError::Io {
            path: path.display().to_string(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(failed)?;
        let whole = text
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let entries = parse(&text[..whole])?;
        let mut journal = Self { file };
        let plan = digest(plan);
        match entries.first() {
            None => journal.append(&Entry::Began { plan }).map_err(failed)?,
            Some(Entry::Began { plan: old }) if *old == plan => {}
            Some(_) => return Err(JournalError::OtherPlan),
        }
        Ok((journal, entries))
    }

    /// Writes an entry; it is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// When the disk refuses.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()
    }
}

fn parse(text: &[u8]) -> Result<Vec<Entry>, JournalError> {
    let lines = text.split(|byte| *byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.is_empty())
        .map(|(index, line)| {
            serde_json::from_slice(line).map_err(|_| JournalError::Damaged { line: index + 1 })
        })
        .collect()
}

fn digest(plan: &str) -> String {
    hex(&Sha256::digest(plan.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_torn_line_is_not() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("journal");
        let started = Entry::Started {
            node: "a".to_owned(),
            attempt: 1,
        };
        {
            let (mut journal, old) = Journal::open(&path, "plan").expect("a journal");
            assert_eq!(old, []);
            journal.append(&started).expect("a line");
        }
        let mut torn = OpenOptions::new().append(true).open(&path).expect("a file");
        torn.write_all(b"{\"event\":\"sta").expect("half a line");
        let (mut journal, old) = Journal::open(&path, "plan").expect("a journal");
        assert_eq!(old.len(), 2);
        assert_eq!(old[1], started);
        let finished = Entry::Finished {
            outcome: PlanOutcome::Failed,
        };
        journal.append(&finished).expect("a line");
        assert!(matches!(
            Journal::open(&path, "plan"),
            Err(JournalError::InUse)
        ));
        drop(journal);
        let (_, old) = Journal::open(&path, "plan").expect("a journal");
        assert_eq!(old[2], finished);
    }

    #[test]
    fn another_plan_and_damage_are_refused() {
        let place = tempfile::tempdir().expect("a folder");
        let path = place.path().join("journal");
        drop(Journal::open(&path, "plan").expect("a journal"));
        assert!(matches!(
            Journal::open(&path, "other"),
            Err(JournalError::OtherPlan)
        ));
        let mut file = OpenOptions::new().append(true).open(&path).expect("a file");
        file.write_all(b"nonsense\n").expect("a line");
        let found = Journal::open(&path, "plan");
        assert!(
            matches!(found, Err(JournalError::Damaged { line: 2 })),
            "{found:?}"
        );
    }
}
