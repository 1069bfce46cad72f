//! Where a task's workspace is, and what may be done in it.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use axum::http::StatusCode;
use cogo_protocol::exec::WorkspaceMode;
use cogo_protocol::task::TaskId;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::coordinator::{Answer, ClientRequest};
use crate::http::problem::Problem;
use crate::http::{Api, tasks};
use crate::tasks::unexpected;
use crate::tokens::Caller;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// The workspace of a task, if it is on this host and the caller may use it so.
pub(super) async fn root(
    api: &Api,
    caller: &Caller,
    task_id: &TaskId,
    access: Access,
) -> Result<PathBuf, Problem> {
    let task = match access {
        Access::Read => tasks::visible(api, caller, task_id).await?,
        Access::Write => tasks::changeable(api, caller, task_id).await?,
    };
    let away = |why: &str| {
        Problem::new(StatusCode::CONFLICT, "not_applicable", why)
            .hint("files are reached while a task is on a worker of the manager's own host")
    };
    let attempt = task.attempts.last();
    let (worker_id, exec_id) = attempt
        .and_then(|attempt| Some((&attempt.worker_id, attempt.exec_id?)))
        .ok_or_else(|| away("the task has not run yet"))?;
    let request = ClientRequest::Worker(worker_id.clone());
    let local = match api.handle.ask(request).await? {
        Answer::Worker(worker) => worker.local,
        Answer::Refused(_) => false,
        answer => unexpected(&answer),
    };
    if !local {
        return Err(away("the task is not on a worker of this host"));
    }
    let record = api.tasks.stored(task_id).await?;
    let record = record.ok_or_else(|| Problem::no_such_task(task_id))?;
    match &record.request.command.workspace {
        None => api
            .local_workers
            .workspace(worker_id, exec_id)
            .ok_or_else(|| away("the task's workspace is not known")),
        Some(workspace) => match workspace.parts() {
            (path, WorkspaceMode::Direct) => Ok(path.into()),
            (path, WorkspaceMode::Copy | WorkspaceMode::ReadOnly) if access == Access::Read => {
                Ok(path.into())
            }
            _ => Err(away("the task's workspace is not changed in place")),
        },
    }
}

/// Does something in a workspace, on a thread that may block.
pub(super) async fn on_disk<T: Send + 'static>(
    root: PathBuf,
    path: String,
    act: impl FnOnce(&OwnedFd, &Path) -> Result<T, Errno> + Send + 'static,
) -> Result<T, Problem> {
    let shown = path.clone();
    let acting = tokio::task::spawn_blocking(move || {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &root, flags, Mode::empty())?;
        act(&root, &relative(&path)?)
    });
    let result = acting
        .await
        .map_err(|error| Problem::internal("failed to use a file", &error))?;
    result.map_err(|errno| explain(errno, &shown))
}

/// The path without anything that could lead out; the kernel checks links.
pub(super) fn relative(path: &str) -> Result<PathBuf, Errno> {
    let mut clean = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Errno::XDEV);
            }
        }
    }
    if path.contains('\0') {
        return Err(Errno::INVAL);
    }
    if clean.as_os_str().is_empty() {
        clean.push(".");
    }
    Ok(clean)
}

pub(super) fn explain(errno: Errno, path: &str) -> Problem {
    match errno {
        Errno::NOENT => Problem::new(
            StatusCode::NOT_FOUND,
            "no_such_file",
            format!("there is no `{path}` in the workspace"),
        ),
        Errno::XDEV | Errno::LOOP => Problem::new(
            StatusCode::FORBIDDEN,
            "outside_workspace",
            format!("`{path}` leads out of the workspace"),
        )
        .hint("paths are relative to the workspace and stay in it"),
        Errno::FBIG => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "file_too_large",
            format!("`{path}` is larger than this door takes"),
        ),
        Errno::BADMSG => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "bad_archive",
            "the archive cannot be read, or holds something that is not taken",
        )
        .hint("files, directories and links that stay inside are taken; hard links, devices and pipes are not"),
        other => Problem::new(
            StatusCode::CONFLICT,
            "file_refused",
            format!("`{path}` cannot be used so: {other}"),
        ),
    }
}
