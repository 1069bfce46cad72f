//! Looks whether the exec that is followed hangs, and does what its user wants done then.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use cogo_protocol::block::BlockPolicy;
use cogo_sandbox::control::Request;
use cogo_sandbox::exec_dir::{ExecDir, Running};
use cogo_sandbox::spec::ExecSpec;
use cogo_sandbox::start::Launcher;
use cogo_worker::block::{
    BlockSettings, Deed, InputEnd, News, Responder, Thresholds, Watch, WatchOptions,
};
use rustix::event::PollFlags;

use super::outbox::Outbox;
use crate::failure::note;
use crate::{blocks, convert};

/// How a user hears of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockForm {
    /// In lines on stderr.
    Lines,
    /// In JSON events among the others.
    Json,
    /// Not at all.
    Silent,
}

/// Watches the exec, within the loop of the viewer.
#[derive(Debug)]
pub(crate) struct BlockWatch {
    watch: Watch,
    responder: Responder,
    form: BlockForm,
    spec: ExecSpec,
    /// Whether a hang was told of that has not been told to be over.
    told: bool,
}

impl BlockWatch {
    /// Watches a running exec; `None` if it has just ended, or cannot be seen.
    pub(crate) fn open(
        exec: &ExecDir,
        running: &Running,
        spec: &ExecSpec,
        settings: &BlockSettings,
        attended: bool,
        form: BlockForm,
    ) -> Option<Self> {
        let options = WatchOptions {
            thresholds: Thresholds::with(&settings.after).ok()?,
            input_expected: attended,
            stack_reader: Some(Launcher::default().program),
        };
        let watch = Watch::open(exec, running, spec, options, Instant::now()).ok()?;
        let input = match spec.stdin {
            cogo_sandbox::spec::Stdin::Open => InputEnd::Ahead,
            cogo_sandbox::spec::Stdin::Closed => InputEnd::Past,
        };
        let form = match settings.policy {
            BlockPolicy::Observe => BlockForm::Silent,
            BlockPolicy::Warn | BlockPolicy::Recover | BlockPolicy::Kill => form,
        };
        Some(Self {
            watch,
            responder: Responder::new(settings.policy, input),
            form,
            spec: spec.clone(),
            told: false,
        })
    }

    /// What to wait for beside the time.
    pub(super) fn events(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        self.watch.events()
    }

    /// When to call [`Self::look`] at the latest.
    pub(super) fn due(&self) -> Instant {
        let next = self.watch.next_due();
        self.responder.due().map_or(next, |due| due.min(next))
    }

    /// Notes that input is on its way to the program.
    pub(super) fn input_sent(&mut self, ended: bool) {
        self.watch.input_sent(Instant::now());
        if ended {
            self.responder.input_ended();
        }
    }

    /// Looks if it is time to, or if a limit may have been hit, and says what is to be sent.
    pub(super) fn look(&mut self, woken: bool, outbox: &mut Outbox) -> Vec<Request> {
        let now = Instant::now();
        let heard = woken.then(|| self.watch.wake(now)).flatten();
        let due = self.watch.next_due() <= now;
        let found = due.then(|| self.watch.tick(now)).flatten();
        let mut requests = Vec::new();
        for news in heard.into_iter().chain(found) {
            self.tell(&news, outbox);
            let deed = self.responder.hear(&news, now);
            requests.extend(deed.map(|deed| self.request(deed)));
        }
        let deed = self.responder.tick(now);
        requests.extend(deed.map(|deed| self.request(deed)));
        requests
    }

    fn tell(&mut self, news: &News, outbox: &mut Outbox) {
        match (self.form, news) {
            (BlockForm::Json, News::LimitHit(block) | News::Blocked(block)) => {
                outbox.event(&convert::block(block));
            }
            (BlockForm::Json, News::Cleared) => outbox.event(&convert::block_cleared()),
            (BlockForm::Lines, News::LimitHit(block) | News::Blocked(block)) => {
                self.told |= matches!(news, News::Blocked(_));
                note(&blocks::line(block.reason, block.duration, &block.evidence));
                blocks::stacks(&block.evidence).for_each(note);
            }
            (BlockForm::Lines, News::Cleared) if std::mem::take(&mut self.told) => {
                note("it goes on");
            }
            (BlockForm::Silent, _) | (BlockForm::Lines, News::Cleared) => {}
        }
    }

    fn request(&self, deed: Deed) -> Request {
        match deed {
            Deed::EndInput => {
                if self.form == BlockForm::Lines {
                    note("ending its input");
                }
                Request::Eof
            }
            Deed::End(block) => {
                if self.form == BlockForm::Lines {
                    note("stopping it");
                }
                Request::StopBlocked {
                    grace_period: self.spec.grace_period,
                    block: block.cause(),
                }
            }
        }
    }
}
