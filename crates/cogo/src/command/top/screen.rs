//! What is on the screen, and what keys do to it. Nothing here talks or draws.

use std::collections::{HashMap, VecDeque};

use cogo_protocol::block::BlockInfo;
use cogo_protocol::manager_event::ManagerEvent;
use cogo_protocol::task::TaskId;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::snapshot::Snapshot;
use crate::remote::state_text;

/// Events and lines of output that are remembered.
const EVENTS_MAX: usize = 200;
const LINES_MAX: usize = 1000;
/// Bytes of a line that are remembered; programs may never end theirs.
const LINE_MAX: usize = 4096;

/// All that is shown.
#[derive(Debug)]
pub(super) struct Screen {
    pub(super) address: String,
    pub(super) snapshot: Snapshot,
    /// What happened, the latest last.
    pub(super) events: VecDeque<String>,
    /// Tasks that hang, as far as that was told.
    pub(super) blocks: HashMap<TaskId, BlockInfo>,
    chosen: usize,
    /// The task that is to be killed, if that is wanted.
    pub(super) asking: Option<TaskId>,
    /// The output that is followed.
    pub(super) output: Option<Output>,
    /// What went wrong last.
    pub(super) trouble: Option<String>,
}

/// The end of a task's output.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) task_id: TaskId,
    /// Complete lines, and the one that is being written.
    pub(super) lines: VecDeque<String>,
    /// Whether the task is over.
    pub(super) ended: bool,
    /// Bytes of a character that is not complete.
    torn: Vec<u8>,
}

/// What a key asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Leave,
    Kill(TaskId),
    /// Follow its output.
    Follow(TaskId),
    /// Follow no more.
    Return,
}

impl Screen {
    pub(super) fn new(address: String, snapshot: Snapshot) -> Self {
        Self {
            address,
            snapshot,
            events: VecDeque::new(),
            blocks: HashMap::new(),
            chosen: 0,
            asking: None,
            output: None,
            trouble: None,
        }
    }

    /// Takes a new look. The chosen task stays chosen wherever it is now.
    pub(super) fn update(&mut self, snapshot: Snapshot) {
        let chosen = self.chosen().cloned();
        self.snapshot = snapshot;
        let running = &self.snapshot.running;
        let place = running
            .iter()
            .position(|task| Some(&task.task_id) == chosen.as_ref());
        self.chosen = place
            .unwrap_or(self.chosen)
            .min(running.len().saturating_sub(1));
        self.blocks
            .retain(|id, _| running.iter().any(|task| task.task_id == *id));
        self.trouble = None;
    }

    /// The task that keys are about.
    pub(super) fn chosen(&self) -> Option<&TaskId> {
        self.snapshot
            .running
            .get(self.chosen)
            .map(|task| &task.task_id)
    }

    /// Its place among those that run.
    pub(super) const fn place(&self) -> usize {
        self.chosen
    }

    /// Takes in what happened.
    pub(super) fn hear(&mut self, event: ManagerEvent) {
        if let Some(line) = describe(&event) {
            if self.events.len() == EVENTS_MAX {
                self.events.pop_front();
            }
            self.events.push_back(line);
        }
        if let ManagerEvent::BlockDetected {
            task_id,
            block_info,
            ..
        } = event
        {
            self.blocks.insert(task_id, block_info);
        }
    }

    /// What a key does.
    pub(super) fn press(&mut self, key: KeyEvent) -> Wish {
        let interrupt =
            key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        if interrupt {
            return Wish::Leave;
        }
        if let Some(task_id) = self.asking.take() {
            return match key.code {
                KeyCode::Char('y') => Wish::Kill(task_id),
                _ => Wish::Nothing,
            };
        }
        if self.output.is_some() {
            return match key.code {
                KeyCode::Enter | KeyCode::Esc | KeyCode::Char('q') => {
                    self.output = None;
                    Wish::Return
                }
                _ => Wish::Nothing,
            };
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Wish::Leave,
            KeyCode::Up => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Down if self.chosen + 1 < self.snapshot.running.len() => self.chosen += 1,
            KeyCode::Char('k') => self.asking = self.chosen().cloned(),
            KeyCode::Enter => {
                if let Some(task_id) = self.chosen().cloned() {
                    self.output = Some(Output::new(task_id.clone()));
                    return Wish::Follow(task_id);
                }
            }
            _ => {}
        }
        Wish::Nothing
    }
}

impl Output {
    fn new(task_id: TaskId) -> Self {
        Self {
            task_id,
            lines: VecDeque::from([String::new()]),
            ended: false,
            torn: Vec::new(),
        }
    }

    /// Takes in what the task wrote.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.torn.extend_from_slice(bytes);
        let bytes = std::mem::take(&mut self.torn);
        let len = whole(&bytes);
        self.torn = bytes[len..].to_vec();
        for c in String::from_utf8_lossy(&bytes[..len]).chars() {
            if c == '\n' {
                if self.lines.len() == LINES_MAX {
                    self.lines.pop_front();
                }
                self.lines.push_back(String::new());
            } else if let Some(line) = self.lines.back_mut()
                && line.len() < LINE_MAX
            {
                match c {
                    '\t' => line.push_str("    "),
                    // A program must not draw on our screen.
                    c if c.is_control() => {}
                    c => line.push(c),
                }
            }
        }
    }
}

/// How much of it ends with a whole character. What is not text at all counts as whole.
fn whole(bytes: &[u8]) -> usize {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(3)..]) {
        Err(error) if error.error_len().is_none() => {
            bytes.len().saturating_sub(3) + error.valid_up_to()
        }
        Ok(_) | Err(_) => bytes.len(),
    }
}

/// An event in a line; `None` for what is shown elsewhere.
fn describe(event: &ManagerEvent) -> Option<String> {
    Some(match event {
        ManagerEvent::TaskQueued {
            task_id,
            priority,
            submitter,
        } => {
            format!(
                "{task_id} queued by {submitter} with priority {}",
                priority.level()
            )
        }
        ManagerEvent::TaskStarted {
            task_id,
            worker_id,
            attempt,
        } => {
            format!("{task_id} started on {worker_id}, attempt {attempt}")
        }
        ManagerEvent::TaskRequeued {
            task_id,
            worker_id,
            reason,
            ..
        } => {
            format!("{task_id} taken back from {worker_id}: {reason}")
        }
        ManagerEvent::TaskComplete {
            task_id,
            state,
            verdict,
            ..
        } => match verdict {
            Some(verdict) => format!(
                "{task_id} {}: {}",
                state_text(*state),
                verdict.outcome.describe()
            ),
            None => format!("{task_id} {}", state_text(*state)),
        },
        ManagerEvent::BlockDetected {
            task_id,
            block_info,
            ..
        } => {
            format!("{task_id} hangs: {}", block_info.evidence.join(", "))
        }
        ManagerEvent::WorkerCreated { worker_id, .. } => format!("{worker_id} is new"),
        ManagerEvent::WorkerConnected { worker_id } => format!("{worker_id} connected"),
        ManagerEvent::WorkerDisconnected { worker_id } => format!("{worker_id} disconnected"),
        ManagerEvent::WorkerLost { worker_id, .. } => format!("{worker_id} lost"),
        ManagerEvent::WorkerFailed {
            worker_id, reason, ..
        } => format!("{worker_id} failed: {reason}"),
        ManagerEvent::WorkerRemoved { worker_id, reason } => {
            format!("{worker_id} removed: {reason}")
        }
        ManagerEvent::TaskOutput(_) | ManagerEvent::TaskProgress { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(pieces: &[&[u8]]) -> Vec<String> {
        let mut output = Output::new("t".parse().unwrap());
        for piece in pieces {
            output.push(piece);
        }
        output.lines.into()
    }

    #[test]
    fn output_is_whole_lines_without_what_would_draw() {
        assert_eq!(
            output(&[b"gr\xc3", b"\xbcn\na\tb"]),
            ["gr\u{fc}n", "a    b"]
        );
        assert_eq!(output(&[b"x\x1b[2J\r\xff\n"]), ["x[2J\u{fffd}", ""]);
        assert_eq!(output(&["\u{1f980}".as_bytes()]), ["\u{1f980}"]);
        let long = output(&[&[b'x'; 10_000], b"\ny"]);
        assert_eq!((long[0].len(), long[1].as_str()), (LINE_MAX, "y"));
        assert_eq!(output(&[&[b'\n'; 5_000]]).len(), LINES_MAX);
    }
}
