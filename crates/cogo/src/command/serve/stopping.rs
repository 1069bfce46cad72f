//! The end of a server: asked for once, it drains; asked for again, it ends.

use std::time::Duration;

use cogo_manager::Manager;
use cogo_protocol::units::TimeSpan;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::failure::{Failure, note};

/// How often to look whether tasks still run.
const LOOK: Duration = Duration::from_millis(200);
/// How often to tell.
const TELL: Duration = Duration::from_secs(5);

/// The signals that ask for the end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

/// What is left after draining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// Nothing runs.
    Empty,
    /// Tasks run on.
    Left,
}

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| Failure::caused("failed to listen for signals", &error))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits until someone asks for the end, or until the manager fails.
pub(super) async fn until_told(
    manager: &mut Manager,
    signals: &mut Signals,
) -> Result<(), Failure> {
    tokio::select! {
        () = signals.asked() => Ok(()),
        result = manager.failed() => match result {
            Ok(()) => Err(Failure::new("the manager stopped by itself")),
            Err(error) => Err(Failure::from(error)
                .hint("nothing that was confirmed is lost; start it again when the disk is fine")),
        },
    }
}

/// Lets running tasks finish. Those that wait stay in the store.
pub(super) async fn drain(
    manager: &Manager,
    signals: &mut Signals,
    limit: Option<TimeSpan>,
) -> Result<Drained, Failure> {
    manager.drain().await?;
    let until = limit.and_then(|limit| Instant::now().checked_add(limit.into()));
    let mut told_at: Option<Instant> = None;
    loop {
        let running = manager.health().await?.running;
        if running == 0 {
            return Ok(Drained::Empty);
        }
        if told_at.is_none_or(|at| at.elapsed() >= TELL) {
            note(&format!(
                "waiting for {running} running task{}; once more ends at once",
                if running == 1 { "" } else { "s" }
            ));
            told_at = Some(Instant::now());
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Drained::Left);
        }
        tokio::select! {
            () = signals.asked() => return Ok(Drained::Left),
            () = sleep(LOOK) => {}
        }
    }
}
