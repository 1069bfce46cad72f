//! Files in the workspace of a task, while the task is there and runs on this host.
//!
//! Every path is resolved by the kernel beneath the workspace (`openat2` with `RESOLVE_BENEATH`),
//! so that neither `..` nor a link that the task made leads out of it, whatever changes meanwhile.

mod archive;
mod beneath;
mod body;
mod watch;
mod workspace;

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body as RawBody, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cogo_protocol::record::Encoding;
use cogo_protocol::task::TaskId;
use futures_util::stream;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Api;
use super::extract::{Body, Path, Query};
use super::problem::Problem;
use super::routes::{Operation, READ_OR_OWN, Routes, SUBMIT};
use crate::tokens::Caller;

use beneath::{Found, Listing, look, remove, write_file};
use body::{BodyReader, BodyWriter, feed};
use watch::{AsyncWatch, FileChange, Watch};
use workspace::{Access, on_disk, root};

/// The form in which trees travel.
const TAR: &str = "application/x-tar";

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

pub(super) fn add(routes: Routes) -> Routes {
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
                "Write a file into a task's workspace, or unpack a tar archive there",
            )
            .query::<FileQuery>()
            .bytes(&["application/octet-stream", TAR])
            .problem(StatusCode::FORBIDDEN)
            .problem(StatusCode::UNPROCESSABLE_ENTITY)
            .answer_empty(StatusCode::CREATED, "it is written"),
            put,
        )
        .add(
            Operation::new(
                Method::GET,
                "/files/{*path}",
                READ_OR_OWN,
                "Read a file of a task's workspace, list a directory (`.` is the workspace), get \
                 a tree as a tar archive, or watch it",
            )
            .query::<FileQuery>()
            .problem(StatusCode::PAYLOAD_TOO_LARGE)
            .answer::<Listing>(
                StatusCode::OK,
                "as `Accept` asks: a file or a list; a tree; changes",
            )
            .answer_as(
                &["application/octet-stream", TAR],
                "a file as it is; a tree as an archive",
            )
            .answer_events::<FileChange>(),
            get,
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
        write_file(root, path, &mut bytes.as_slice())
    })
    .await?;
    Ok(StatusCode::CREATED)
}

async fn put(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<String>,
    Query(FileQuery { task_id }): Query<FileQuery>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<StatusCode, Problem> {
    let root = root(&api, &caller, &task_id, Access::Write).await?;
    let is_archive = speaks_of(&headers, &header::CONTENT_TYPE, TAR);
    let (pieces, mut content) = BodyReader::new(api.config.file_max);
    let writing = on_disk(root, path, move |root, path| {
        if is_archive {
            return archive::unpack(root, path, &mut content);
        }
        let written = write_file(root, path, &mut content);
        content.failure.map_or(written, Err)
    });
    let ((), written) = tokio::join!(feed(body, pieces), writing);
    written?;
    Ok(StatusCode::CREATED)
}

async fn get(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<String>,
    Query(FileQuery { task_id }): Query<FileQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let root = root(&api, &caller, &task_id, Access::Read).await?;
    if speaks_of(&headers, &header::ACCEPT, "text/event-stream") {
        let watch = on_disk(root, path.clone(), Watch::begin).await?;
        let watch = AsyncWatch::new(watch).map_err(|errno| workspace::explain(errno, &path))?;
        return Ok(as_events(api, watch));
    }
    if speaks_of(&headers, &header::ACCEPT, TAR) {
        return pack(&api, root, path).await;
    }
    Ok(match on_disk(root, path, look).await? {
        Found::File(bytes) => Bytes::from(bytes).into_response(),
        Found::Directory(listing) => Json(listing).into_response(),
    })
}

fn speaks_of(headers: &HeaderMap, name: &HeaderName, media: &str) -> bool {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains(media))
}

/// A tree on its way as an archive. One that cannot be told whole breaks off.
async fn pack(api: &Api, root: std::path::PathBuf, path: String) -> Result<Response, Problem> {
    // What is not there is said before anything is sent.
    on_disk(root.clone(), path.clone(), |root, path| {
        let (parent, name) = beneath::parent_of(root, path)?;
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(&parent, name, flags).map(drop)
    })
    .await?;
    let (writer, pieces) = BodyWriter::new();
    let bytes_max = api.config.file_max;
    tokio::spawn(on_disk(root, path, move |root, path| {
        archive::pack(root, path, bytes_max, writer);
        Ok(())
    }));
    let headers = [(header::CONTENT_TYPE, TAR)];
    Ok((headers, RawBody::from_stream(pieces)).into_response())
}

/// Changes as they happen, after a `ready` that says from when on.
fn as_events(api: Arc<Api>, watch: AsyncWatch) -> Response {
    let changes = stream::unfold((api, watch), |(api, mut watch)| async move {
        let change = tokio::select! {
            biased;
            () = api.stop.cancelled() => None,
            change = watch.next() => change,
        }?;
        let json = serde_json::to_string(&change).expect("changes have string keys only");
        Some((Event::default().event("change").data(json), (api, watch)))
    });
    let ready = Event::default().event("ready").data("{}");
    let events = stream::StreamExt::chain(stream::iter([ready]), changes);
    Sse::new(stream::StreamExt::map(events, Ok::<_, Infallible>))
        .keep_alive(KeepAlive::default())
        .into_response()
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
