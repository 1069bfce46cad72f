//! Steps in sandboxes of this machine: what `cogo run` with the step's options would run.
//!
//! The exec is on its own from the start, so it and its output survive this process; its id is
//! the handle by which a later run finds it again.

use std::path::PathBuf;
use std::time::Duration;

use cogo_plan::dispatch::{Cancel, Dispatch, DispatchError, Progress, Work};
use cogo_plan::document::StepNetwork;
use cogo_protocol::record::Stream;
use cogo_protocol::verdict::Outcome;
use cogo_sandbox::control::{ControlClient, Notice, Request};
use cogo_sandbox::exec_dir::{ExecDir, ExecState, StateDir};
use cogo_sandbox::log::{Entry, LogReader};
use cogo_sandbox::start::{Start, Started};
use cogo_worker::convert;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::command::run::launch;
use crate::failure::Failure;
use crate::isolation::IsolationOption;

/// How soon a request to cancel is noticed.
const CANCEL_PACE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

/// Time between the polite signal and the kill.
const GRACE_PERIOD: Duration = Duration::from_secs(5);

pub(crate) struct Local {
    state: StateDir,
    workspace: PathBuf,
    isolation: IsolationOption,
}

impl Local {
    pub(crate) fn new(state: StateDir, workspace: PathBuf, isolation: IsolationOption) -> Self {
        Self {
            state,
            workspace,
            isolation,
        }
    }

    /// The exec of this attempt: the one that runs already, or a fresh one.
    fn exec(
        &self,
        work: &Work,
        tell: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(ExecDir, Option<Started>), Failure> {
        if let Some(exec) = work.handle.as_deref().and_then(|id| self.state.exec(id)) {
            return Ok((exec, None));
        }
        let (exec, started) = match launch(&self.arguments(work), &self.state)? {
            Start::Ended(exec) => (exec, None),
            Start::Running(started) => (started.exec.clone(), Some(started)),
        };
        tell(Progress::Handle(exec.id()));
        Ok((exec, started))
    }

    /// The step's options as `cogo run` takes them.
    fn arguments(&self, work: &Work) -> Vec<String> {
        let workspace = self.workspace.to_string_lossy();
        let mut arguments = vec![format!("--workspace={workspace}"), "--no-pty".to_owned()];
        let mut add = |name: &str, value: &str| arguments.push(format!("--{name}={value}"));
        add("isolation", self.isolation.name());
        add("stdin", "closed");
        add("cwd", &work.cwd.to_string_lossy());
        match &work.network {
            StepNetwork::None => {}
            StepNetwork::Host => add("net", "host"),
            StepNetwork::Allow(domains) => add("net-allow", &domains.join(",")),
        }
        for (name, value) in &work.env {
            add("env", &format!("{name}={value}"));
        }
        let limits = &work.limits;
        let values = [
            ("memory", limits.memory.map(|value| value.to_string())),
            ("cpus", limits.cpus.map(|value| value.to_string())),
            ("pids", limits.pids.map(|value| value.to_string())),
            ("disk", limits.disk.map(|value| value.to_string())),
            (
                "timeout",
                work.timeout.map(|time| format!("{}ms", time.as_millis())),
            ),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                add(name, &value);
            }
        }
        arguments.push("--".to_owned());
        arguments.extend(work.argv.iter().cloned());
        arguments
    }
}

impl Dispatch for Local {
    fn run(
        &self,
        work: &Work,
        tell: &mut dyn FnMut(Progress<'_>),
        cancel: &Cancel,
    ) -> Result<Outcome, DispatchError> {
        let (exec, started) = self.exec(work, tell).map_err(Failure::into_dispatch)?;
        let outcome = follow(&exec, tell, cancel);
        if let Some(mut started) = started {
            // It has ended; only a failure to reap what is reaped already is possible.
            let _ = started.reap();
        }
        outcome.map_err(Failure::into_dispatch)
    }
}

/// Follows an exec to its verdict. The log on disk is where output comes from.
fn follow(
    exec: &ExecDir,
    tell: &mut dyn FnMut(Progress<'_>),
    cancel: &Cancel,
) -> Result<Outcome, Failure> {
    let control = ControlClient::connect(exec).ok();
    let mut log = None;
    let mut stops = Stops::default();
    loop {
        // The order matters: what had ended before the log was read has nothing more to come.
        let state = exec.state()?;
        read_on(exec, &mut log, tell)?;
        if let ExecState::Ended(verdict) = state {
            return Ok(convert::outcome(&verdict.outcome));
        }
        if let Some(control) = &control {
            stops.send(control, cancel);
        }
        wait(control.as_ref())?;
    }
}

/// What was asked of the exec so far.
#[derive(Default)]
struct Stops {
    polite: bool,
    forced: bool,
}

impl Stops {
    /// A supervisor that is gone needs no telling.
    fn send(&mut self, control: &ControlClient, cancel: &Cancel) {
        if cancel.is_asked() && !self.polite {
            self.polite = true;
            let _ = control.send(&Request::Stop {
                grace_period: GRACE_PERIOD,
            });
        }
        if cancel.is_insisted() && !self.forced {
            self.forced = true;
            let _ = control.send(&Request::Stop {
                grace_period: Duration::ZERO,
            });
        }
    }
}

fn read_on(
    exec: &ExecDir,
    log: &mut Option<LogReader>,
    tell: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Failure> {
    let directory = exec.log_dir();
    if log.is_none() && directory.is_dir() {
        *log = Some(LogReader::open(&directory, 0)?);
    }
    let Some(log) = log else { return Ok(()) };
    while let Some(entry) = log.next()? {
        match entry {
            Entry::Record(record) => {
                tell(Progress::Output(
                    convert::stream(record.stream),
                    record.bytes,
                ));
            }
            Entry::Cut { bytes, .. } => {
                let text = format!("[{bytes} bytes of output were cut]\n");
                tell(Progress::Output(Stream::Stderr, text.as_bytes()));
            }
        }
    }
    Ok(())
}

/// Waits for news, or for the time to look whether to cancel.
fn wait(control: Option<&ControlClient>) -> Result<(), Failure> {
    let mut fds = Vec::new();
    if let Some(control) = control {
        fds.push(PollFd::new(control, PollFlags::IN));
    }
    match poll(&mut fds, Some(&CANCEL_PACE)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(Failure::caused("failed to wait for events", &error)),
    }
    while let Some(Ok(Some(Notice::LogEnd(_) | Notice::Running))) =
        control.map(ControlClient::try_receive)
    {}
    Ok(())
}
