//! Makes execs, and finds those of a worker that died. Everything here blocks its thread.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cogo_protocol::command::CommandRequest;
use cogo_protocol::message::error_code;
use cogo_sandbox::exec_dir::{ExecDir, ExecState, Running, StateDir};
use cogo_sandbox::start::{Launcher, Start, StartError};
use cogo_sandbox::verdict::{Outcome, Verdict};
use cogo_sandbox::zygote::{Zygote, ZygoteOptions};
use tracing::{info, warn};

use crate::block::Thresholds;
use crate::plan::Planner;
use crate::refusal::{Refusal, chain};
use crate::task::{Begun, End};
use crate::task_record::{PhaseRecord, TaskRecord, TaskRecords, remove_tree, remove_workspace};

/// Starts execs through one zygote.
#[derive(Debug)]
pub(crate) struct Starter {
    state: StateDir,
    records: TaskRecords,
    planner: Planner,
    zygote: Mutex<Arc<Zygote>>,
    slots: u32,
}

/// How long a used sandbox is kept for a command of the same kind.
const UNUSED_MAX: Duration = Duration::from_mins(2);

/// Starts a zygote for so many commands at once.
pub(crate) fn start_zygote(slots: u32) -> Result<Zygote, StartError> {
    let options = ZygoteOptions {
        used: slots as usize,
        ..ZygoteOptions::default()
    };
    Zygote::start(&Launcher::default(), options)
}

/// What a start came to.
#[derive(Debug)]
pub(crate) enum Begin {
    /// The command runs.
    Running(Begun),
    /// It is over already.
    Ended(End),
}

impl Starter {
    pub(crate) fn new(
        state: StateDir,
        records: TaskRecords,
        planner: Planner,
        zygote: Zygote,
        slots: u32,
    ) -> Self {
        Self {
            state,
            records,
            planner,
            zygote: Mutex::new(Arc::new(zygote)),
            slots,
        }
    }

    /// Keeps sandboxes for requests that ask for nothing special.
    pub(crate) fn keep_warm(&self, count: usize) {
        let request = CommandRequest {
            command: Some("true".to_owned()),
            ..CommandRequest::default()
        };
        // The sandbox's design depends on who owns the workspace, not on which one it is.
        let kept = self
            .planner
            .spec(&request, self.state.path())
            .map_err(|refusal| refusal.error)
            .and_then(|spec| {
                let kept = self.zygote().keep_warm(&spec, count);
                kept.map_err(|error| chain(&error))
            });
        if let Err(reason) = kept {
            info!(%reason, "no sandbox is kept ready");
        }
    }

    /// Ends the sandboxes that nobody has used for a while.
    pub(crate) fn let_go_of_unused(&self) {
        self.zygote().let_go_of_unused(UNUSED_MAX);
    }

    /// Writes the task down, then starts its exec.
    pub(crate) fn start(&self, record: &TaskRecord, request: &CommandRequest) -> Begin {
        match self.try_start(record, request) {
            Ok(begin) => begin,
            Err(refusal) => {
                self.note(record, PhaseRecord::Refused(refusal.clone()));
                remove_workspace(record);
                Begin::Ended(End::Refused(refusal))
            }
        }
    }

    fn try_start(&self, record: &TaskRecord, request: &CommandRequest) -> Result<Begin, Refusal> {
        let failed = |error: std::io::Error| Refusal::caused(error_code::SANDBOX_FAILED, &error);
        Thresholds::with(&record.block.after)
            .map_err(|error| Refusal::caused(error_code::INVALID_REQUEST, &error))?;
        self.records.write(record).map_err(failed)?;
        let workspace = self.records.workspace(record.exec_id);
        if record.workspace.is_some() {
            let mut builder = fs::DirBuilder::new();
            builder.mode(0o700).create(&workspace).map_err(failed)?;
        }
        let spec = self.planner.spec(request, &workspace)?;
        let start = self.start_exec(&record.exec_id.to_string(), &spec)?;
        self.note(record, PhaseRecord::Started);
        Ok(match start {
            Start::Running(started) => Begin::Running(begun(&started.running)),
            Start::Ended(exec) => Begin::Ended(verdict_of(&exec)),
        })
    }

    fn start_exec(
        &self,
        id: &str,
        spec: &cogo_sandbox::spec::ExecSpec,
    ) -> Result<Start, StartError> {
        let zygote = self.zygote();
        match zygote.start_exec(&self.state, id, spec, &[]) {
            // Nothing was started and no folder is left, so that it can be tried again.
            Err(StartError::Spawn(error)) => {
                warn!(%error, "the zygote is gone; starting another");
                self.replace(&zygote)?;
                self.zygote().start_exec(&self.state, id, spec, &[])
            }
            other => other,
        }
    }

    fn zygote(&self) -> Arc<Zygote> {
        self.zygote
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts a fresh zygote in the place of a dead one, unless someone else did.
    fn replace(&self, dead: &Arc<Zygote>) -> Result<(), StartError> {
        let mut zygote = self.zygote.lock().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&zygote, dead) {
            *zygote = Arc::new(start_zygote(self.slots)?);
        }
        Ok(())
    }

    /// Writes down how far a task is. It is known without, only less well.
    pub(crate) fn note(&self, record: &TaskRecord, phase: PhaseRecord) {
        let noted = match self.records.note(record.exec_id, &phase) {
            // It was refused before it was written down.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let record = TaskRecord {
                    phase,
                    ..record.clone()
                };
                self.records.write(&record)
            }
            other => other,
        };
        if let Err(error) = noted {
            warn!(task_id = %record.task_id, %error, "failed to write the task down");
        }
    }

    /// Writes a record that has changed.
    pub(crate) fn write(&self, record: &TaskRecord) {
        if let Err(error) = self.records.write(record) {
            warn!(task_id = %record.task_id, %error, "failed to write the task down");
        }
    }

    /// Removes all that is left of a task that has ended.
    pub(crate) fn forget(&self, record: &TaskRecord) {
        remove_workspace(record);
        // The record first: an exec directory without one is cleared away by the next worker,
        // while a record without an exec would be told as a lost task.
        if let Err(error) = self.records.remove(record.exec_id) {
            warn!(task_id = %record.task_id, %error, "failed to remove the record");
            return;
        }
        if let Some(exec) = self.state.exec(&record.exec_id.to_string())
            && let Err(error) = self.state.retire(exec)
        {
            warn!(task_id = %record.task_id, error = chain(&error), "failed to remove the exec");
        }
    }

    /// Finds out what became of a task that an earlier worker wrote down. `None`: it runs.
    pub(crate) fn recover(&self, record: &TaskRecord) -> Option<(Option<Begun>, End)> {
        if let PhaseRecord::Refused(refusal) = &record.phase {
            return Some((None, End::Refused(refusal.clone())));
        }
        let Some(exec) = self.state.exec(&record.exec_id.to_string()) else {
            return Some((None, missing(&record.phase)));
        };
        let begun = exec.running().ok().flatten().map(|running| begun(&running));
        match exec.state() {
            Ok(ExecState::Starting | ExecState::Running(_)) => None,
            // The log is made before the command is started, and whoever could make it is gone.
            Ok(ExecState::Ended(verdict)) if is_unknown(&verdict) && !exec.log_dir().is_dir() => {
                Some((None, missing(&PhaseRecord::Starting)))
            }
            Ok(ExecState::Ended(verdict)) => Some((begun, End::Verdict(Box::new(verdict)))),
            Err(error) => Some((begun, unreadable(&error))),
        }
    }

    /// Removes what an earlier worker had forgotten but not removed.
    pub(crate) fn sweep(&self, known: &[TaskRecord]) {
        let is_known = |exec: &ExecDir| {
            known
                .iter()
                .any(|record| record.exec_id.to_string() == exec.id())
        };
        for exec in self.state.execs().unwrap_or_default() {
            if !is_known(&exec) && matches!(exec.state(), Ok(ExecState::Ended(_))) {
                let _ = exec.remove();
            }
        }
        for path in self.records.stray_workspaces(known).unwrap_or_default() {
            let _ = remove_tree(&path);
        }
    }

    pub(crate) fn records(&self) -> &TaskRecords {
        &self.records
    }
}

/// The start of a command that runs or ran.
pub(crate) fn begun(running: &Running) -> Begun {
    Begun {
        at_ms: running.started_at_ms,
        pid: running.command_pid.and_then(|pid| u32::try_from(pid).ok()),
    }
}

/// How an exec that is over ended.
fn verdict_of(exec: &ExecDir) -> End {
    match exec.state() {
        Ok(ExecState::Ended(verdict)) => End::Verdict(Box::new(verdict)),
        Ok(ExecState::Starting | ExecState::Running(_)) => End::Refused(Refusal::new(
            error_code::OUTCOME_UNKNOWN,
            "the exec ended before it ran, and has no verdict",
        )),
        Err(error) => unreadable(&error),
    }
}

fn is_unknown(verdict: &Verdict) -> bool {
    matches!(verdict.outcome, Outcome::Unknown { .. })
}

/// The end of a task whose verdict cannot be read.
pub(crate) fn unreadable(error: &dyn std::error::Error) -> End {
    End::Refused(Refusal::caused(error_code::OUTCOME_UNKNOWN, error))
}

fn missing(phase: &PhaseRecord) -> End {
    End::Refused(match phase {
        PhaseRecord::Starting => Refusal::new(
            error_code::NOT_STARTED,
            "the worker died before it could start the command",
        )
        .hint("nothing ran; start the task again"),
        PhaseRecord::Started => Refusal::new(
            error_code::OUTCOME_UNKNOWN,
            "the directory of the exec was removed",
        ),
        PhaseRecord::Refused(refusal) => refusal.clone(),
    })
}
