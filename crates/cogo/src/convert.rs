//! The JSON lines that `--json` prints.

use std::ops::Range;

use cogo_protocol::event::{BlockCleared, BlockDetected, Finished, Notice, RunEvent, Started};
use cogo_protocol::id::ExecId;
use cogo_protocol::record::{Chunk, OutputRecord};
use cogo_sandbox::exec_dir::{ExecDir, Running};
use cogo_sandbox::log;
use cogo_worker::block::Block;
pub(crate) use cogo_worker::convert::verdict;
use cogo_worker::convert::{isolation, ms, stream, usage};

use crate::failure::Failure;
use crate::instant;

/// The line that says that the command runs.
pub(crate) fn started(exec: &ExecDir, running: &Running) -> Result<String, Failure> {
    Ok(line(&RunEvent::Started(Started {
        exec_id: id(exec)?,
        timestamp_ms: running.started_at_ms,
        pid: running.command_pid.and_then(|pid| u32::try_from(pid).ok()),
        isolation: isolation(running.enforced.isolation),
        exec_dir: exec.path().to_str().map(str::to_owned),
    })))
}

/// The line of a piece of output, written so many milliseconds after 1970.
pub(crate) fn output(seq: u64, from: log::Stream, timestamp_ms: u64, chunk: Chunk) -> String {
    line(&RunEvent::Output(OutputRecord {
        seq,
        stream: stream(from),
        timestamp_ms,
        chunk,
    }))
}

/// The line that says that output is missing.
pub(crate) fn cut(missing: &Range<u64>, bytes: u64) -> String {
    line(&RunEvent::Notice(Notice {
        timestamp_ms: instant::now_ms(),
        code: "log_cut".to_owned(),
        message: format!(
            "records {} to {} with {bytes} bytes were cut to keep the log in its bound",
            missing.start,
            missing.end.saturating_sub(1)
        ),
        hint: Some("give the log more room with --log-size".to_owned()),
    }))
}

/// The line of a hint.
pub(crate) fn hint(code: &str, message: &str, hint: &str) -> String {
    line(&RunEvent::Notice(Notice {
        timestamp_ms: instant::now_ms(),
        code: code.to_owned(),
        message: message.to_owned(),
        hint: Some(hint.to_owned()),
    }))
}

/// The line that says that the command hangs, or has hit a limit.
pub(crate) fn block(block: &Block) -> String {
    line(&RunEvent::BlockDetected(BlockDetected {
        timestamp_ms: instant::now_ms(),
        reason: block.reason,
        duration_ms: ms(block.duration),
        resource_usage: block.usage,
        recoverable: block.recoverable,
        evidence: block.evidence.clone(),
    }))
}

/// The line that says that it hangs no more.
pub(crate) fn block_cleared() -> String {
    line(&RunEvent::BlockCleared(BlockCleared {
        timestamp_ms: instant::now_ms(),
    }))
}

/// The last line.
pub(crate) fn finished(
    exec: &ExecDir,
    verdict: &cogo_sandbox::verdict::Verdict,
    exit_code: u8,
) -> Result<String, Failure> {
    Ok(line(&RunEvent::Finished(Finished {
        exec_id: id(exec)?,
        timestamp_ms: verdict.ended_at_ms,
        verdict: self::verdict(verdict),
        usage: usage(&verdict.usage),
        exit_code: i32::from(exit_code),
        log_end: verdict.log_end,
    })))
}

fn line(event: &RunEvent) -> String {
    let mut line = serde_json::to_string(event).expect("events have string keys only");
    line.push('\n');
    line
}

fn id(exec: &ExecDir) -> Result<ExecId, Failure> {
    Ok(exec.id().parse()?)
}
