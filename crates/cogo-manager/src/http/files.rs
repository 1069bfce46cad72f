//! Files in the workspace of a task, while the task is there and runs on this host.
//!
//! Every path is resolved by the kernel beneath the workspace (`openat2` with `RESOLVE_BENEATH`),
//! so that neither `..` nor a link that the task made leads out of it, whatever changes meanwhile.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cogo_protocol::exec::WorkspaceMode;
use cogo_protocol::record::Encoding;
use cogo_protocol::task::TaskId;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::extract::{Body, Path, Query};
use super::problem::Problem;
use super::routes::{Operation, READ_OR_OWN, Routes, SUBMIT};
use super::tasks;
use crate::coordinator::{Answer, ClientRequest};
use crate::tasks::unexpected;
use crate::tokens::Caller;

/// Entries of a directory that are listed at most.
const LISTED_MAX: usize = 10_000;
/// Bytes of a file that is shown at most.
const SHOWN_MAX: u64 = 64 << 20;

/// A file to write.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CreateFile {
    /// The task in whose workspace it goes.
    task_id: TaskId,
    /// Its path there.
    path: String,
    /// What goes into it.
    #[serde(default)]
    content: String,
    /// How bytes became `content`. Default: `utf8`.
    #[serde(default)]
    encoding: Encoding,
}

/// Whose file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct FileQuery {
    /// The task in whose workspace it is.
    task_id: TaskId,
}

/// A directory.
#[derive(Debug, Serialize, JsonSchema)]
struct Listing {
    /// What is in it, by name.
    entries: Vec<Entry>,
    /// Whether there is more than is listed.
    truncated: bool,
}

/// Something in a directory.
#[derive(Debug, Serialize, JsonSchema)]
struct Entry {
    /// Its name.
    name: String,
    /// `file`, `directory`, `link` or `other`.
    kind: &'static str,
    /// Bytes in a file.
    size: u64,
}

pub(super) fn add(routes: Routes, file_max: usize) -> Routes {
    let large = DefaultBodyLimit::max(file_max);
    routes
        .add(
            Operation::new(
                Method::POST,
                "/files/create",
                SUBMIT,
                "Write a file into a task's workspace",
            )
            .body::<CreateFile>()
            .answer_empty(StatusCode::CREATED, "it is written"),
            create,
        )
        .add(
            Operation::new(
                Method::PUT,
                "/files/{*path}",
                SUBMIT,
                "Write a file into a task's workspace, as bytes",
            )
            .query::<FileQuery>()
            .bytes("application/octet-stream")
            .answer_empty(StatusCode::CREATED, "it is written"),
            put.layer(large),
        )
        .add(
            Operation::new(
                Method::GET,
                "/files/{*path}",
                READ_OR_OWN,
                "Read a file of a task's workspace, or list a directory (`.` is the workspace)",
            )
            .query::<FileQuery>()
            .problem(StatusCode::PAYLOAD_TOO_LARGE)
            .answer::<Listing>(StatusCode::OK, "a directory; a file comes as it is")
            .answer_as(&["application/octet-stream"], "a file"),
            read,
        )
        .add(
            Operation::new(
                Method::DELETE,
                "/files/{*path}",
                SUBMIT,
                "Delete a file or an empty directory of a task's workspace",
            )
            .query::<FileQuery>()
            .answer_empty(StatusCode::NO_CONTENT, "it is gone"),
            delete,
        )
}

async fn create(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Body(file): Body<CreateFile>,
) -> Result<StatusCode, Problem> {
    let bytes = match file.encoding {
        Encoding::Utf8 => file.content.into_bytes(),
        Encoding::Base64 => STANDARD
            .decode(&file.content)
            .map_err(|error| Problem::invalid(format!("`content` is no base64: {error}")))?,
    };
    let root = root(&api, &caller, &file.task_id, Access::Write).await?;
    on_disk(root, file.path, move |root, path| {
        write_file(root, path, &bytes)
    })
    .await?;
    Ok(StatusCode::CREATED)
}

async fn put(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<String>,
    Query(FileQuery { task_id }): Query<FileQuery>,
    bytes: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<StatusCode, Problem> {
    let bytes = bytes.map_err(|_| super::extract::too_large())?;
    let root = root(&api, &caller, &task_id, Access::Write).await?;
    on_disk(root, path, move |root, path| write_file(root, path, &bytes)).await?;
    Ok(StatusCode::CREATED)
}

/// What is there.
enum Found {
    File(Vec<u8>),
    Directory(Listing),
}

async fn read(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<String>,
    Query(FileQuery { task_id }): Query<FileQuery>,
) -> Result<Response, Problem> {
    let root = root(&api, &caller, &task_id, Access::Read).await?;
    Ok(match on_disk(root, path, look).await? {
        Found::File(bytes) => Bytes::from(bytes).into_response(),
        Found::Directory(listing) => Json(listing).into_response(),
    })
}

async fn delete(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<String>,
    Query(FileQuery { task_id }): Query<FileQuery>,
) -> Result<StatusCode, Problem> {
    let root = root(&api, &caller, &task_id, Access::Write).await?;
    on_disk(root, path, remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// The workspace of a task, if it is on this host and the caller may use it so.
async fn root(
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
async fn on_disk<T: Send + 'static>(
    root: PathBuf,
    path: String,
    act: impl FnOnce(&OwnedFd, &FsPath) -> Result<T, Errno> + Send + 'static,
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
fn relative(path: &str) -> Result<PathBuf, Errno> {
    let mut clean = PathBuf::new();
    for component in FsPath::new(path).components() {
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

fn explain(errno: Errno, path: &str) -> Problem {
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
            format!("`{path}` has more than {SHOWN_MAX} bytes"),
        ),
        other => Problem::new(
            StatusCode::CONFLICT,
            "file_refused",
            format!("`{path}` cannot be used so: {other}"),
        ),
    }
}

fn open(root: &OwnedFd, path: &FsPath, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    // `openat2` refuses flags that mean nothing for a mere path.
    let careful = if flags.contains(OFlags::PATH) {
        OFlags::CLOEXEC
    } else {
        OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY
    };
    let flags = flags | careful;
    rustix::io::retry_on_intr(|| rustix::fs::openat2(root, path, flags, mode, resolve))
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn write_file(root: &OwnedFd, path: &FsPath, bytes: &[u8]) -> Result<(), Errno> {
    if let Some(parent) = path.parent() {
        make_directories(root, parent)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
    let file = open(root, path, flags, Mode::from_raw_mode(0o644))?;
    // A pipe or a device would not be one of the workspace's own files.
    if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(Errno::ACCESS);
    }
    File::from(file)
        .write_all(bytes)
        .map_err(|error| errno(&error))
}

fn make_directories(root: &OwnedFd, path: &FsPath) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let mut made = PathBuf::from(".");
    for component in path.components() {
        let parent = open(root, &made, flags, Mode::empty())?;
        match rustix::fs::mkdirat(&parent, component.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        made.push(component);
    }
    Ok(())
}

fn look(root: &OwnedFd, path: &FsPath) -> Result<Found, Errno> {
    let file = open(root, path, OFlags::RDONLY, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => list(&file).map(Found::Directory),
        FileType::RegularFile => {
            let mut bytes = Vec::new();
            let mut file = File::from(file).take(SHOWN_MAX + 1);
            file.read_to_end(&mut bytes)
                .map_err(|error| errno(&error))?;
            if bytes.len() as u64 > SHOWN_MAX {
                return Err(Errno::FBIG);
            }
            Ok(Found::File(bytes))
        }
        _ => Err(Errno::ACCESS),
    }
}

fn list(directory: &OwnedFd) -> Result<Listing, Errno> {
    let mut listing = Listing {
        entries: Vec::new(),
        truncated: false,
    };
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if listing.entries.len() == LISTED_MAX {
            listing.truncated = true;
            break;
        }
        // One that is gone meanwhile was not there.
        let Ok(stat) = rustix::fs::statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW)
        else {
            continue;
        };
        listing.entries.push(Entry {
            name: name.to_string_lossy().into_owned(),
            kind: match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => "file",
                FileType::Directory => "directory",
                FileType::Symlink => "link",
                _ => "other",
            },
            size: u64::try_from(stat.st_size).unwrap_or(0),
        });
    }
    listing.entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listing)
}

fn remove(root: &OwnedFd, path: &FsPath) -> Result<(), Errno> {
    let name = path.file_name().ok_or(Errno::ACCESS)?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => FsPath::new("."),
    };
    let parent = open(
        root,
        parent,
        OFlags::PATH | OFlags::DIRECTORY,
        Mode::empty(),
    )?;
    // A link itself goes, never what it points to.
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(place: &FsPath) -> OwnedFd {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        rustix::fs::openat(CWD, place, flags, Mode::empty()).unwrap()
    }

    #[test]
    fn files_come_and_go() {
        let place = tempfile::tempdir().unwrap();
        let root = root(place.path());
        write_file(&root, FsPath::new("a/b/c"), b"text").unwrap();
        match look(&root, FsPath::new("a/b/c")).unwrap() {
            Found::File(bytes) => assert_eq!(bytes, b"text"),
            Found::Directory(_) => panic!("it is a file"),
        }
        match look(&root, FsPath::new("a")).unwrap() {
            Found::Directory(listing) => assert_eq!(listing.entries[0].name, "b"),
            Found::File(_) => panic!("it is a directory"),
        }
        remove(&root, FsPath::new("a/b/c")).unwrap();
        remove(&root, FsPath::new("a/b")).unwrap();
        assert!(!place.path().join("a/b").exists());
    }

    #[test]
    fn nothing_leads_out() {
        let place = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        symlink(outside.path(), place.path().join("link")).unwrap();
        symlink("../../../../etc/passwd", place.path().join("up")).unwrap();
        symlink("/proc/self/root/etc/passwd", place.path().join("magic")).unwrap();
        let root = root(place.path());
        for path in ["link/secret", "link", "up", "magic"] {
            assert!(look(&root, FsPath::new(path)).is_err(), "{path}");
            assert!(
                write_file(&root, FsPath::new(path), b"x").is_err(),
                "{path}"
            );
        }
        assert!(write_file(&root, FsPath::new("link/new"), b"x").is_err());
        assert!(remove(&root, FsPath::new("link/secret")).is_err());
        assert!(outside.path().join("secret").exists());
        for path in ["../x", "/etc/passwd", "a/../../x"] {
            assert!(relative(path).is_err(), "{path}");
        }
        remove(&root, FsPath::new("link")).unwrap();
        assert!(outside.path().join("secret").exists());
    }
}
