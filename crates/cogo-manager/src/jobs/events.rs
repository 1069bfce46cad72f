//! What a job reports: a file with one event a line, that is written and followed at once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cogo_protocol::job::JobEvent;
use cogo_protocol::message::Progress;
use serde_json::Value;
use tokio::sync::watch;

use crate::clock;

/// Events of one job at most, and their bytes. Later ones are dropped, and the last one that is
/// kept says so.
const EVENTS_MAX: u64 = 100_000;
const BYTES_MAX: u64 = 64 << 20;

/// Events that are read at once.
const PAGE_LEN: usize = 256;

/// How much has been told of a job.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Told {
    /// The number of the last event.
    pub(crate) events: u64,
    /// How far it is.
    pub(crate) progress: Option<Progress>,
    /// Whether it tells nothing more.
    pub(crate) ended: bool,
}

/// Writes the events of one job.
#[derive(Debug)]
pub(super) struct EventLog {
    path: PathBuf,
    state: Mutex<State>,
    told: watch::Sender<Told>,
}

#[derive(Debug)]
struct State {
    file: File,
    count: u64,
    bytes: u64,
}

impl EventLog {
    /// Goes on after the last whole event of that folder.
    pub(super) fn open(directory: &Path) -> io::Result<Self> {
        let path = path(directory);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        // What follows the last line break was being written when the manager died.
        let whole = whole_lines(&text);
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        file.set_len(whole as u64)?;
        let count = BufRead::lines(&text[..whole]).count() as u64;
        let told = Told {
            events: count,
            ..Told::default()
        };
        Ok(Self {
            path,
            state: Mutex::new(State {
                file,
                count,
                bytes: whole as u64,
            }),
            told: watch::Sender::new(told),
        })
    }

    /// Adds an event. One that cannot be written is lost, which the log of the manager tells.
    pub(super) fn append(&self, event: Value) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.count >= EVENTS_MAX || state.bytes >= BYTES_MAX {
            return;
        }
        let event = if state.count + 1 == EVENTS_MAX {
            serde_json::json!({"type": "events_dropped", "eventsMax": EVENTS_MAX})
        } else {
            event
        };
        if let Err(error) = state.write(event) {
            let path = self.path.display();
            tracing::warn!(%error, %path, "failed to write an event of a job");
            return;
        }
        let count = state.count;
        drop(state);
        self.told.send_modify(|told| told.events = count);
    }

    pub(super) fn progress(&self, progress: Progress) {
        self.told.send_modify(|told| told.progress = Some(progress));
    }

    pub(super) fn end(&self) {
        self.told.send_modify(|told| told.ended = true);
    }

    pub(super) fn told(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }
}

impl State {
    fn write(&mut self, event: Value) -> io::Result<()> {
        let event = JobEvent {
            number: self.count + 1,
            timestamp: clock::unix_ms(),
            event,
        };
        let mut line = serde_json::to_vec(&event)?;
        line.push(b'\n');
        if let Err(error) = self.file.write_all(&line) {
            // Half a line would run into the next one.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.count += 1;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

fn path(directory: &Path) -> PathBuf {
    directory.join("events.jsonl")
}

/// How many bytes belong to whole lines.
fn whole_lines(text: &[u8]) -> usize {
    text.iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1)
}

/// Reads the events of one job in order.
pub(crate) struct EventReader {
    /// `None` when nothing was ever reported.
    lines: Option<BufReader<File>>,
    /// The last number that was passed.
    last: u64,
}

impl EventReader {
    /// Reads what was reported after a number.
    pub(crate) fn open(directory: &Path, after: u64) -> io::Result<Self> {
        let lines = match File::open(path(directory)) {
            Ok(file) => Some(BufReader::new(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut reader = Self { lines, last: 0 };
        while reader.last < after && reader.line(after)?.is_some() {}
        Ok(reader)
    }

    /// Some of the events up to that number, which are all in the file; empty if there are none.
    pub(crate) fn page(&mut self, up_to: u64) -> io::Result<Vec<(u64, String)>> {
        let mut page = Vec::new();
        while page.len() < PAGE_LEN
            && let Some(line) = self.line(up_to)?
        {
            page.push((self.last, line));
        }
        Ok(page)
    }

    fn line(&mut self, up_to: u64) -> io::Result<Option<String>> {
        let Some(lines) = self.lines.as_mut().filter(|_| self.last < up_to) else {
            return Ok(None);
        };
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Ok(None);
        }
        line.pop();
        self.last += 1;
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(directory: &Path, after: u64) -> Vec<(u64, Value)> {
        let mut reader = EventReader::open(directory, after).unwrap();
        let page = reader.page(u64::MAX).unwrap();
        page.into_iter()
            .map(|(number, line)| {
                let event: JobEvent = serde_json::from_str(&line).unwrap();
                assert_eq!(event.number, number);
                (number, event.event)
            })
            .collect()
    }

    #[test]
    fn events_are_numbered_across_openings_and_torn_ones_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path(), 0), []);
        EventLog::open(folder.path()).unwrap().append(json!("one"));
        let mut file = OpenOptions::new()
            .append(true)
            .open(path(folder.path()))
            .unwrap();
        file.write_all(br#"{"number":2,"times"#).unwrap();
        let log = EventLog::open(folder.path()).unwrap();
        log.append(json!("two\nlines"));
        assert_eq!(log.told().borrow().events, 2);
        let all = [(1, json!("one")), (2, json!("two\nlines"))];
        assert_eq!(read(folder.path(), 0), all);
        assert_eq!(read(folder.path(), 1), all[1..]);
        assert_eq!(read(folder.path(), 7), []);
    }

    #[test]
    fn a_reader_goes_on_with_what_came_since() {
        let folder = tempfile::tempdir().unwrap();
        let log = EventLog::open(folder.path()).unwrap();
        let mut reader = EventReader::open(folder.path(), 0).unwrap();
        for number in 1..=3 {
            log.append(json!(number));
            let page = reader.page(number).unwrap();
            assert_eq!(page.len(), 1, "{page:?}");
        }
    }
}
