//! What signals to this process mean for the exec it follows.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cogo_sandbox::control::Request;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGWINCH};
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::failure::Failure;
use crate::measure;

/// How to take signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InterruptPolicy {
    /// They end the exec in stages: the interrupt itself, stop with grace, kill.
    Stages {
        /// Time between the polite signal and the kill.
        grace_period: Duration,
    },
    /// They end the view and leave the exec alone.
    Detach,
}

/// What the viewer has to do about a signal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Send(Request),
    SendAndSay(Request, String),
    Resized,
    Detach,
}

/// Takes the signals of this process from their default actions and turns them into reactions.
pub(crate) struct Interrupts {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    stages: Stages,
}

impl Interrupts {
    /// Starts taking signals.
    pub(crate) fn listen(policy: InterruptPolicy) -> Result<Self, Failure> {
        let register = || -> io::Result<_> {
            let (read, write) = UnixStream::pair()?;
            let signals = [SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGWINCH];
            SignalDelivery::with_pipe(read, write, SignalOnly, signals)
        };
        let delivery =
            register().map_err(|error| Failure::caused("failed to listen for signals", &error))?;
        Ok(Self {
            delivery,
            stages: Stages::new(policy),
        })
    }

    /// What to do about the signals that came since the last call.
    pub(super) fn take(&mut self) -> Vec<Reaction> {
        self.delivery
            .pending()
            .map(|signal| self.stages.react(signal))
            .collect()
    }

    /// The signal that made this process stop the exec.
    pub(super) fn cancelled_by(&self) -> Option<i32> {
        self.stages.cancelled_by
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}

/// How far the stages have gone.
///
/// ```text
/// running ──INT──▶ interrupted ──INT──▶ stopping ──INT──▶ killed
///    └───────────TERM, HUP───────────────▲  └──TERM, HUP───▲
/// ```
#[derive(Debug)]
struct Stages {
    policy: InterruptPolicy,
    interrupted: bool,
    cancelled_by: Option<i32>,
}

impl Stages {
    fn new(policy: InterruptPolicy) -> Self {
        Self {
            policy,
            interrupted: false,
            cancelled_by: None,
        }
    }

    fn react(&mut self, signal: i32) -> Reaction {
        match (signal, self.policy) {
            (SIGWINCH, _) => Reaction::Resized,
            (_, InterruptPolicy::Detach) => Reaction::Detach,
            // Asks for a state dump in some runtimes and is not ours to explain.
            (SIGQUIT, InterruptPolicy::Stages { .. }) => Reaction::Send(Request::Signal(SIGQUIT)),
            (_, InterruptPolicy::Stages { grace_period }) => self.advance(signal, grace_period),
        }
    }

    fn advance(&mut self, signal: i32, grace_period: Duration) -> Reaction {
        if self.cancelled_by.is_some() {
            let stop = Request::Stop {
                grace_period: Duration::ZERO,
            };
            return Reaction::SendAndSay(stop, "killing the command".to_owned());
        }
        if signal == SIGINT && !self.interrupted {
            self.interrupted = true;
            let text = "interrupt sent to the command; again to stop it".to_owned();
            return Reaction::SendAndSay(Request::Signal(SIGINT), text);
        }
        self.cancelled_by = Some(signal);
        let text = format!(
            "stopping the command, kill in {}; again to kill now",
            measure::time(grace_period)
        );
        Reaction::SendAndSay(Request::Stop { grace_period }, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn requests(signals: &[i32]) -> (Vec<Request>, Option<i32>) {
        let mut stages = Stages::new(InterruptPolicy::Stages {
            grace_period: GRACE,
        });
        let sent = signals.iter().map(|&signal| match stages.react(signal) {
            Reaction::Send(request) | Reaction::SendAndSay(request, _) => request,
            other => panic!("{other:?}"),
        });
        (sent.collect(), stages.cancelled_by)
    }

    #[test]
    fn interrupts_go_from_polite_to_final() {
        let stop = Request::Stop {
            grace_period: GRACE,
        };
        let kill = Request::Stop {
            grace_period: Duration::ZERO,
        };
        let interrupt = Request::Signal(SIGINT);
        let sent = requests(&[SIGINT]);
        assert_eq!(sent, (vec![interrupt.clone()], None));
        let sent = requests(&[SIGINT, SIGINT, SIGINT]);
        assert_eq!(
            sent,
            (vec![interrupt, stop.clone(), kill.clone()], Some(SIGINT))
        );
        let sent = requests(&[SIGTERM, SIGINT]);
        assert_eq!(sent, (vec![stop, kill], Some(SIGTERM)));
    }

    #[test]
    fn quit_is_passed_on_and_cancels_nothing() {
        let sent = requests(&[SIGQUIT, SIGQUIT]);
        let quit = Request::Signal(SIGQUIT);
        assert_eq!(sent, (vec![quit.clone(), quit], None));
    }

    #[test]
    fn an_onlooker_just_leaves() {
        let mut stages = Stages::new(InterruptPolicy::Detach);
        assert_eq!(stages.react(SIGWINCH), Reaction::Resized);
        assert_eq!(stages.react(SIGINT), Reaction::Detach);
        assert_eq!(stages.cancelled_by, None);
    }
}
