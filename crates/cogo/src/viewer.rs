//! Follows one exec: shows its output, forwards keys and signals, and waits for its verdict.
//!
//! One thread, one `poll` loop. The log on disk is where output comes from; the control socket
//! only says when to look again, and tells that the end has come. Nothing here can hold the
//! program up: a slow terminal makes this loop fall behind, not the supervisor.
//!
//! ```text
//! log ──reader──▶ renderer ──▶ outbox ──▶ stdout, stderr, copy
//! keys ──▶ input ──socket 1──▶ supervisor
//! signals ──▶ interrupts ──socket 2──▶ supervisor ──notices──▶ "look again", "ended"
//! ```
//!
//! Input has a connection of its own, because a program that does not read makes it fill up,
//! and Ctrl-C must still get through then.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use cogo_sandbox::control::{ControlClient, Notice, Request};
use cogo_sandbox::exec_dir::{ExecDir, ExecState};
use cogo_sandbox::log::{Entry, LogReader};
use cogo_sandbox::verdict::Verdict;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::{Failure, note};

mod blocks;
mod input;
mod interrupts;
mod json;
mod outbox;
mod render;
mod tail;
mod terminal;

pub(crate) use blocks::{BlockForm, BlockWatch};
pub(crate) use input::Input;
pub(crate) use interrupts::{InterruptPolicy, Interrupts};
pub(crate) use render::Renderer;
pub(crate) use tail::Tail;
pub(crate) use terminal::{RawMode, is_raw, size};

use input::Pressed;
use interrupts::Reaction;
use outbox::{Outbox, Written};

/// How long a missed notice can go unnoticed.
const SAFETY_NET: Duration = Duration::from_secs(1);
/// How often to look for the verdict when there is no supervisor to tell of it.
const WITHOUT_SUPERVISOR: Duration = Duration::from_millis(20);
/// Output is taken from the log until this much waits to be written.
const PENDING_MAX: usize = 256 * 1024;

/// What to follow and how.
pub(crate) struct View<'a> {
    /// The exec.
    pub(crate) exec: &'a ExecDir,
    /// The first record to show.
    pub(crate) from_seq: u64,
    /// When to stop.
    pub(crate) until: Until,
    /// How output is shown.
    pub(crate) renderer: Renderer,
    /// Where a copy of the output goes.
    pub(crate) copy: Option<File>,
    /// What is forwarded to the program's standard input.
    pub(crate) input: Option<Input>,
    /// What signals to this process mean.
    pub(crate) interrupts: Option<Interrupts>,
    /// Who looks whether it hangs.
    pub(crate) blocks: Option<BlockWatch>,
}

/// How long to follow an exec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until all output that there is now is shown.
    CaughtUp,
    /// Until it has ended and all its output is shown.
    Ended,
}

/// How following an exec ended.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one per process, and it is taken apart at once"
)]
pub(crate) enum ViewEnd {
    /// The exec ended and all its output is shown.
    Ended {
        /// How.
        verdict: Verdict,
        /// The signal through which this process was asked to cancel, if it was.
        cancelled_by: Option<i32>,
        /// The last of the output.
        tail: Tail,
    },
    /// All output that there was is shown.
    CaughtUp,
    /// The user left; the exec goes on.
    Detached,
    /// Nobody reads our output any more; the exec goes on.
    OutputClosed,
}

/// Follows the exec until it ends or the user leaves.
pub(crate) fn follow(view: View<'_>) -> Result<ViewEnd, Failure> {
    Viewer::new(view)?.run()
}

struct Viewer<'a> {
    view: View<'a>,
    log: Option<LogReader>,
    control: Option<ControlClient>,
    outbox: Outbox,
    tail: Tail,
    verdict: Option<Verdict>,
    /// Whether the renderer was told that nothing more comes.
    finished: bool,
}

/// What is ready, in the order of attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    Control,
    Output,
    InputRoom,
    Keys,
    Limit,
}

impl<'a> Viewer<'a> {
    fn new(mut view: View<'a>) -> Result<Self, Failure> {
        let outbox = Outbox::new(view.copy.take());
        // No supervisor, no socket: the verdict is then found by looking.
        let control = match view.until {
            Until::CaughtUp => None,
            Until::Ended => ControlClient::connect(view.exec).ok(),
        };
        let mut viewer = Self {
            view,
            log: None,
            control,
            outbox,
            tail: Tail::default(),
            verdict: None,
            finished: false,
        };
        if viewer.control.is_none() && viewer.view.until == Until::Ended {
            viewer.look_for_verdict()?;
        }
        Ok(viewer)
    }

    fn run(mut self) -> Result<ViewEnd, Failure> {
        loop {
            // The order matters: what was known to be over before the log was read to its end
            // has nothing more to come.
            let over = self.verdict.is_some();
            let caught_up = self.fill_outbox()?;
            if self.outbox.is_empty() && caught_up {
                match self.view.until {
                    Until::CaughtUp => return Ok(ViewEnd::CaughtUp),
                    Until::Ended if over && self.finished => return self.finish(),
                    Until::Ended if over => self.show_held_back(),
                    Until::Ended => {}
                }
            }
            let ready = self.wait(caught_up)?;
            let woken = ready.contains(&Source::Limit);
            for source in ready {
                if let Some(end) = self.handle(source)? {
                    return Ok(end);
                }
            }
            self.look_for_blocks(woken);
            if self.control.is_none() && self.view.until == Until::Ended {
                self.look_for_verdict()?;
            }
        }
    }

    fn open_log(&mut self) -> Result<(), Failure> {
        let directory = self.view.exec.log_dir();
        if self.log.is_none() && directory.is_dir() {
            self.log = Some(LogReader::open(&directory, self.view.from_seq)?);
        }
        Ok(())
    }

    /// Takes output from the log, up to a bound, once what was taken before is written. Says
    /// whether it reached the log's end.
    fn fill_outbox(&mut self) -> Result<bool, Failure> {
        if !self.outbox.is_empty() {
            return Ok(false);
        }
        self.open_log()?;
        let Some(log) = &mut self.log else {
            return Ok(true);
        };
        while self.outbox.len() < PENDING_MAX {
            match log.next()? {
                None => return Ok(true),
                Some(Entry::Record(record)) => {
                    self.tail.push(record.bytes);
                    self.outbox.copy(record.bytes);
                    self.view.renderer.record(&record, &mut self.outbox);
                }
                Some(Entry::Cut {
                    first_seq,
                    end_seq,
                    bytes,
                }) => {
                    self.view
                        .renderer
                        .cut(first_seq..end_seq, bytes, &mut self.outbox);
                }
            }
        }
        Ok(false)
    }

    /// Waits until something can be done.
    fn wait(&mut self, caught_up: bool) -> Result<Vec<Source>, Failure> {
        let mut sources = Vec::with_capacity(5);
        let mut fds = Vec::with_capacity(5);
        let mut watch = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        if let Some(interrupts) = &self.view.interrupts {
            watch(Source::Signals, interrupts.as_fd(), PollFlags::IN);
        }
        if let Some(control) = &self.control {
            watch(Source::Control, control.as_fd(), PollFlags::IN);
        }
        if let Some(fd) = self.outbox.waits_for() {
            watch(Source::Output, fd, PollFlags::OUT);
        }
        if let Some(input) = &self.view.input {
            if let Some(socket) = input.waits_for_room() {
                watch(Source::InputRoom, socket, PollFlags::OUT);
            } else if let Some(keys) = input.keys() {
                watch(Source::Keys, keys, PollFlags::IN);
            }
        }
        for (fd, flags) in self.view.blocks.iter().flat_map(BlockWatch::events) {
            watch(Source::Limit, fd, flags);
        }
        let timeout = self.timeout(caught_up);
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::caused("failed to wait for events", &error)),
        }
        let ready = fds
            .iter()
            .zip(sources)
            .filter(|(fd, _)| !fd.revents().is_empty());
        Ok(ready.map(|(_, source)| source).collect())
    }

    fn timeout(&self, caught_up: bool) -> Option<Timespec> {
        let more_to_do = self.outbox.is_empty() && (!caught_up || self.verdict.is_some());
        let looks = self.view.blocks.as_ref().map(BlockWatch::due);
        let duration = if more_to_do {
            Duration::ZERO
        } else if self.verdict.is_some() {
            // Only a slow reader of ours is left to wait for.
            return None;
        } else if self.control.is_some() {
            let look = looks.map(|due| due.saturating_duration_since(Instant::now()));
            look.map_or(SAFETY_NET, |look| look.min(SAFETY_NET))
        } else {
            WITHOUT_SUPERVISOR
        };
        Some(Timespec {
            tv_sec: duration.as_secs().cast_signed(),
            tv_nsec: i64::from(duration.subsec_nanos()),
        })
    }

    fn handle(&mut self, source: Source) -> Result<Option<ViewEnd>, Failure> {
        match source {
            Source::Signals => return Ok(self.handle_signals()),
            Source::Control => self.handle_notices()?,
            Source::Output => {
                if self.outbox.write()? == Written::ReaderGone {
                    return Ok(Some(ViewEnd::OutputClosed));
                }
            }
            Source::InputRoom => {
                if let Some(input) = &mut self.view.input
                    && input.send().is_err()
                {
                    self.view.input = None;
                }
            }
            Source::Keys => return Ok(self.handle_keys()),
            // What it tells of is looked for after all else.
            Source::Limit => {}
        }
        Ok(None)
    }

    fn handle_signals(&mut self) -> Option<ViewEnd> {
        let interrupts = self.view.interrupts.as_mut()?;
        for reaction in interrupts.take() {
            match reaction {
                Reaction::Send(request) => self.send(&request),
                Reaction::SendAndSay(request, text) => {
                    note(&text);
                    self.send(&request);
                }
                Reaction::Resized => {
                    if let Some(size) = size() {
                        self.send(&Request::Resize(size));
                    }
                }
                Reaction::Detach => return Some(ViewEnd::Detached),
            }
        }
        None
    }

    /// Sends to a supervisor that may be gone, in which case the end is about to be noticed.
    fn send(&self, request: &Request) {
        if let Some(control) = &self.control {
            let _ = control.send(request);
        }
    }

    fn handle_notices(&mut self) -> Result<(), Failure> {
        loop {
            let notice = match self.control.as_ref().map(ControlClient::try_receive) {
                Some(Ok(notice)) => notice,
                Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Ok(());
                }
                Some(Err(_)) | None => None,
            };
            match notice {
                // The log is looked at after every event anyway.
                Some(Notice::LogEnd(_) | Notice::Running) => {}
                Some(Notice::Ended) => return self.look_for_verdict(),
                None => {
                    self.control = None;
                    self.view.input = None;
                    return self.look_for_verdict();
                }
            }
        }
    }

    fn look_for_blocks(&mut self, woken: bool) {
        if self.verdict.is_some() {
            self.view.blocks = None;
        }
        let Some(blocks) = &mut self.view.blocks else {
            return;
        };
        if !woken && blocks.due() > Instant::now() {
            return;
        }
        for request in blocks.look(woken, &mut self.outbox) {
            if request == Request::Eof {
                self.view.input = None;
            }
            self.send(&request);
        }
    }

    fn handle_keys(&mut self) -> Option<ViewEnd> {
        let input = self.view.input.as_mut()?;
        match input.read() {
            Pressed::Bytes => {
                if let Some(blocks) = &mut self.view.blocks {
                    blocks.input_sent(input.has_ended());
                }
                None
            }
            Pressed::Detach => Some(ViewEnd::Detached),
        }
    }

    fn look_for_verdict(&mut self) -> Result<(), Failure> {
        if self.verdict.is_none()
            && let ExecState::Ended(verdict) = self.view.exec.state()?
        {
            self.verdict = Some(verdict);
            self.view.input = None;
        }
        Ok(())
    }

    fn show_held_back(&mut self) {
        let seq = self.log.as_ref().map_or(0, LogReader::next_seq);
        self.view.renderer.finish(seq, &mut self.outbox);
        self.finished = true;
    }

    fn finish(mut self) -> Result<ViewEnd, Failure> {
        let Some(verdict) = self.verdict.take() else {
            return Err(Failure::new("the exec ended without a verdict"));
        };
        self.outbox.close()?;
        if let Some(log) = &self.log
            && log.next_seq() < verdict.log_end
        {
            let (seen, end) = (log.next_seq(), verdict.log_end);
            note(&format!(
                "output is missing: the log ends at {seen}, the verdict says {end}"
            ));
        }
        let cancelled_by = self
            .view
            .interrupts
            .as_ref()
            .and_then(Interrupts::cancelled_by);
        Ok(ViewEnd::Ended {
            verdict,
            cancelled_by,
            tail: self.tail,
        })
    }
}
