//! The command of the next attempt.

use cogo_protocol::block::BlockPolicy;
use cogo_protocol::command::{CommandRequest, WorkspaceRequest};
use cogo_protocol::recovery::{AlternativeCommand, RecoveryRecord};
use cogo_protocol::task::TaskRequest;

/// Removes from a workspace what can be made again: what the project itself tells git to ignore, and
/// directories with the tag of the Cache Directory Tagging Specification. Untracked files stay: they
/// may be sources that are new. Then it becomes the command.
const CLEAN: &str = r#"
git -c safe.directory='*' -C "$1" clean -ffdXq -- . >/dev/null 2>&1
find "$1" -xdev -type f -name CACHEDIR.TAG \
    -exec grep -q '^Signature: 8a477f597d28d172789f06886806bc55' {} \; -print 2>/dev/null |
    while IFS= read -r tag; do rm -rf -- "${tag%/*}"; done
shift
exec "$@"
"#;

/// What a task's next attempt runs: what was asked, with what was decided since.
pub fn command(request: &TaskRequest, tried: &[RecoveryRecord]) -> CommandRequest {
    let mut command = changed(request, tried);
    if tried.iter().any(|record| record.change.clean_workspace) {
        wrap(&mut command);
    }
    command
}

/// As [`command`], without the one that cleans the workspace first.
pub(super) fn changed(request: &TaskRequest, tried: &[RecoveryRecord]) -> CommandRequest {
    let mut command = request.command.clone();
    if super::is_on(request) && command.block_policy.is_none() {
        command.block_policy = Some(policy(request));
    }
    for change in tried.iter().map(|record| &record.change) {
        command.limits.memory_bytes = change.memory_bytes.or(command.limits.memory_bytes);
        command.limits.cpus = change.cpus.or(command.limits.cpus);
        command.env.extend(change.env.clone());
        if let Some(stdin) = &change.stdin {
            command.stdin = stdin.clone();
        }
        match &change.command {
            Some(AlternativeCommand::Line(line)) => {
                command.argv = None;
                command.command = Some(line.clone());
            }
            Some(AlternativeCommand::Argv(argv)) => command.argv = Some(argv.clone()),
            None => {}
        }
    }
    command
}

/// A worker recovers what hangs by itself, and begins by ending the input of what waits for some.
/// Where there is an answer, the manager decides.
fn policy(request: &TaskRequest) -> BlockPolicy {
    let answers = (request.recovery.as_ref()).is_some_and(|recovery| recovery.answer.is_some());
    if answers {
        BlockPolicy::Warn
    } else {
        BlockPolicy::Recover
    }
}

fn wrap(command: &mut CommandRequest) {
    let Some((workspace, _)) = command.workspace.as_ref().map(WorkspaceRequest::parts) else {
        return;
    };
    let Ok(argv) = command.argv() else { return };
    let mut wrapped = ["/bin/sh", "-c", CLEAN, "sh", workspace]
        .map(str::to_owned)
        .to_vec();
    wrapped.extend(argv);
    command.argv = Some(wrapped);
}

/// A command as a person would type it.
pub(super) fn title(command: &AlternativeCommand) -> String {
    match command {
        AlternativeCommand::Line(line) => line.clone(),
        AlternativeCommand::Argv(argv) => argv.join(" "),
    }
}

/// A variable that holds options, with one more. Later ones win.
pub(super) fn appended(command: &CommandRequest, name: &str, option: &str) -> String {
    match command.env.get(name) {
        Some(value) if value.split_whitespace().any(|word| word == option) => value.clone(),
        Some(value) if value.ends_with(option) => value.clone(),
        Some(value) if !value.trim().is_empty() => format!("{value} {option}"),
        Some(_) | None => option.to_owned(),
    }
}
