//! Options as a request.

use std::collections::BTreeMap;
use std::path::Path;

use cogo_protocol::command::{CommandRequest, StdinRequest, WorkspaceRequest};
use cogo_protocol::exec::{Isolation, Limits, Network, WorkspaceMode};
use cogo_protocol::task::{Requirements, TaskRequest};
use cogo_protocol::units::TimeSpan;

use super::options::{Options, StdinOption};
use crate::failure::Failure;

/// The request that these options stand for.
pub(super) fn request(options: &Options) -> Result<TaskRequest, Failure> {
    Ok(TaskRequest {
        task_id: options.id.clone(),
        command: CommandRequest {
            argv: Some(options.command.clone()),
            workspace: options
                .workspace
                .as_deref()
                .map(|path| workspace(options, path))
                .transpose()?,
            cwd: options.cwd.clone(),
            env: variables(&options.env)?,
            stdin: match options.stdin {
                StdinOption::Closed => StdinRequest::Closed,
                StdinOption::Forward | StdinOption::Open => StdinRequest::Open,
            },
            timeout: options.timeout.map(millis),
            limits: limits(options),
            network: network(options),
            isolation: options.isolation.into(),
            rootfs: options.rootfs.clone(),
            read_only_paths: options.expose.clone(),
            grace_ms: options.grace.map(millis),
            block_policy: options.blocks.policy(),
            block_after: options.blocks.after(),
            ..CommandRequest::default()
        },
        requirements: Requirements {
            worker: options.worker.clone(),
            kind: options.kind.clone(),
            labels: options.label.iter().cloned().collect(),
            ..Requirements::default()
        },
        priority: options.priority,
        attempts_max: options.attempts,
        queue_timeout: options.queue_timeout.map(millis),
        recovery: options.recovery.request(),
    })
}

fn network(options: &Options) -> Network {
    match (&options.net, Isolation::from(options.isolation)) {
        // There is no sandbox that could keep the network away.
        (Network::None, Isolation::None) => Network::Host,
        (net, _) => net.clone(),
    }
}

fn workspace(options: &Options, path: &Path) -> Result<WorkspaceRequest, Failure> {
    let absolute = std::path::absolute(path).map_err(|error| {
        Failure::caused(format!("`{}` is no workspace", path.display()), &error)
    })?;
    // Here it may be a link or relative; the worker gets what it stands for, if it is here.
    let absolute = absolute.canonicalize().unwrap_or(absolute);
    let path = absolute
        .to_str()
        .ok_or_else(|| Failure::new(format!("`{}` is not UTF-8", absolute.display())))?;
    Ok(WorkspaceRequest::Tree {
        path: path.to_owned(),
        mode: match (options.copy, options.read_only) {
            (true, _) => WorkspaceMode::Copy,
            (false, true) => WorkspaceMode::ReadOnly,
            (false, false) => WorkspaceMode::Direct,
        },
    })
}

fn limits(options: &Options) -> Limits {
    Limits {
        memory_bytes: options.memory.map(cogo_protocol::units::Bytes::get),
        cpus: options.cpus.map(cogo_protocol::units::Cpus::cores),
        pids: options.pids,
        disk_bytes: options.disk.map(cogo_protocol::units::Bytes::get),
        timeout_ms: None,
        silence_timeout_ms: options.silence_timeout.map(millis),
        log_bytes: options.log_size.map(cogo_protocol::units::Bytes::get),
    }
}

fn millis(time: TimeSpan) -> u64 {
    time.as_millis()
}

fn variables(texts: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    texts
        .iter()
        .map(|text| {
            if let Some((name, value)) = text.split_once('=') {
                return Ok((name.to_owned(), value.to_owned()));
            }
            let value = std::env::var(text).map_err(|error| {
                Failure::caused(format!("there is no value of `{text}` to pass on"), &error)
                    .hint(format!("set it first: export {text}=…"))
            })?;
            Ok((text.clone(), value))
        })
        .collect()
}
