//! What `cogo run --json` prints: one JSON object a line.
//!
//! The last line is `finished`, also when the command could not be started. A stream that ends
//! without it is an error for its reader.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::block::{BlockReason, ResourceUsage};
use crate::exec::Isolation;
use crate::id::ExecId;
use crate::record::OutputRecord;
use crate::verdict::{Usage, Verdict};

/// One line of `cogo run --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunEvent {
    /// The command was started.
    Started(Started),
    /// The command wrote something.
    Output(OutputRecord),
    /// Something that a reader should know; the exec goes on.
    Notice(Notice),
    /// The command hangs, or has hit a limit.
    BlockDetected(BlockDetected),
    /// The command hangs no more.
    BlockCleared(BlockCleared),
    /// The exec is over.
    Finished(Finished),
}

/// The command was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The exec.
    pub exec_id: ExecId,
    /// Unix time in milliseconds.
    pub timestamp_ms: u64,
    /// The command's process id on the host, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The isolation that is enforced.
    pub isolation: Isolation,
    /// The exec's directory on the host, which holds its log and verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec_dir: Option<String>,
}

/// Something that a reader should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Unix time in milliseconds.
    pub timestamp_ms: u64,
    /// A stable name for programs, such as `network_blocked`.
    pub code: String,
    /// The fact.
    pub message: String,
    /// What can be done about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The command hangs, or has hit a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockDetected {
    /// Unix time in milliseconds.
    pub timestamp_ms: u64,
    /// Why it hangs.
    pub reason: BlockReason,
    /// For how long, in milliseconds; 0 for a limit that was hit.
    pub duration_ms: u64,
    /// What it uses meanwhile.
    pub resource_usage: ResourceUsage,
    /// Whether there is a strategy that may help.
    pub recoverable: bool,
    /// What the kernel shows of it, for a reader; one fact each.
    pub evidence: Vec<String>,
}

/// The command hangs no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockCleared {
    /// Unix time in milliseconds.
    pub timestamp_ms: u64,
}

/// The exec is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finished {
    /// The exec.
    pub exec_id: ExecId,
    /// Unix time in milliseconds at which the exec ended.
    pub timestamp_ms: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// What it used.
    pub usage: Usage,
    /// The code that `cogo run` exits with.
    pub exit_code: i32,
    /// Sequence number after the last log record.
    pub log_end: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Chunk, Stream};
    use crate::verdict::{Incident, Outcome};

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn id() -> ExecId {
        ID.parse().unwrap()
    }

    fn check(event: &RunEvent, text: &str) {
        let json = serde_json::to_string(event).unwrap();
        assert_eq!(json, text);
        assert!(!json.contains('\n'));
        assert_eq!(&serde_json::from_str::<RunEvent>(text).unwrap(), event);
    }

    #[test]
    fn started_has_its_text() {
        check(
            &RunEvent::Started(Started {
                exec_id: id(),
                timestamp_ms: 5,
                pid: Some(42),
                isolation: Isolation::Strict,
                exec_dir: Some("/var/lib/cogo/execs/1".into()),
            }),
            r#"{"type":"started","execId":"01890a5d-ac96-774b-bcce-b302099a8057","timestampMs":5,"pid":42,"isolation":"strict","execDir":"/var/lib/cogo/execs/1"}"#,
        );
    }

    #[test]
    fn output_has_its_text() {
        check(
            &RunEvent::Output(OutputRecord {
                seq: 3,
                stream: Stream::Stdout,
                timestamp_ms: 6,
                chunk: Chunk::from_bytes(b"one\ntwo\n".to_vec()),
            }),
            r#"{"type":"output","seq":3,"stream":"stdout","timestampMs":6,"output":"one\ntwo\n","encoding":"utf8"}"#,
        );
    }

    #[test]
    fn notice_has_its_text() {
        check(
            &RunEvent::Notice(Notice {
                timestamp_ms: 7,
                code: "network_blocked".into(),
                message: "a connection to `crates.io` was refused".into(),
                hint: Some("run with `--allow crates.io`".into()),
            }),
            r#"{"type":"notice","timestampMs":7,"code":"network_blocked","message":"a connection to `crates.io` was refused","hint":"run with `--allow crates.io`"}"#,
        );
    }

    #[test]
    fn blocks_have_their_text() {
        check(
            &RunEvent::BlockDetected(BlockDetected {
                timestamp_ms: 7,
                reason: BlockReason::Deadlock,
                duration_ms: 800,
                resource_usage: ResourceUsage::default(),
                recoverable: true,
                evidence: vec!["no thread runs".into()],
            }),
            r#"{"type":"block_detected","timestampMs":7,"reason":"deadlock","durationMs":800,"resourceUsage":{"cpu":0.0,"memory":0.0,"disk":0.0},"recoverable":true,"evidence":["no thread runs"]}"#,
        );
        check(
            &RunEvent::BlockCleared(BlockCleared { timestamp_ms: 8 }),
            r#"{"type":"block_cleared","timestampMs":8}"#,
        );
    }

    #[test]
    fn finished_has_its_text() {
        check(
            &RunEvent::Finished(Finished {
                exec_id: id(),
                timestamp_ms: 8,
                verdict: Verdict {
                    outcome: Outcome::Signaled {
                        signal: 9,
                        core_dumped: false,
                    },
                    incidents: vec![Incident::LogCut { bytes: 4 }],
                    survivors: 0,
                },
                usage: Usage::default(),
                exit_code: 137,
                log_end: 4,
            }),
            r#"{"type":"finished","execId":"01890a5d-ac96-774b-bcce-b302099a8057","timestampMs":8,"verdict":{"kind":"signaled","signal":9,"coreDumped":false,"incidents":[{"kind":"log_cut","bytes":4}],"survivors":0},"usage":{"wallMs":0,"cpuUserMs":0,"cpuSystemMs":0,"memoryPeakBytes":0,"ioReadBytes":0,"ioWriteBytes":0,"source":"rusage"},"exitCode":137,"logEnd":4}"#,
        );
    }

    #[test]
    fn the_schema_tells_the_types_apart() {
        let schema = serde_json::to_string(&schemars::schema_for!(RunEvent)).unwrap();
        for kind in [
            "started",
            "output",
            "notice",
            "block_detected",
            "block_cleared",
            "finished",
        ] {
            assert!(schema.contains(&format!(r#""const":"{kind}""#)), "{schema}");
        }
    }
}
