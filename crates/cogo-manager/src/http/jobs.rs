//! Jobs: submitted, shown, followed and ended.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use cogo_protocol::job::{
    AnalysisRequest, FixRequest, JobEvent, JobId, JobKind, JobStatus, PlanRequest,
};
use cogo_store::JobFilter;
use futures_util::stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::Api;
use super::events::last_event_id;
use super::extract::{Body, Path, Query};
use super::problem::Problem;
use super::routes::{Operation, READ, READ_OR_OWN, Routes, SUBMIT};
use crate::jobs::{EventReader, Told};
use crate::tokens::Caller;

/// Jobs of a page when nothing is asked for, and at most.
const PAGE_LEN: usize = 100;
const PAGE_LEN_MAX: usize = 1000;

/// A page of jobs, the newest first.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobStatus>,
    /// What to give as `before` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<JobId>,
}

/// Which jobs to list.
#[derive(Debug, Deserialize, JsonSchema)]
struct ListQuery {
    /// Only jobs of this kind. Default: all.
    kind: Option<JobKind>,
    /// Only jobs submitted before this one: `nextBefore` of the last page.
    before: Option<JobId>,
    /// Jobs at most, up to 1000. Default: 100.
    limit: Option<usize>,
}

/// From where on to tell.
#[derive(Debug, Deserialize, JsonSchema)]
struct EventsQuery {
    /// Events after this number. Default: `Last-Event-ID`, else all.
    after: Option<u64>,
}

pub(super) fn add(routes: Routes) -> Routes {
    let routes = add_submissions(routes);
    let status = |path, summary| {
        Operation::new(Method::GET, path, READ_OR_OWN, summary)
            .answer::<JobStatus>(StatusCode::OK, "the job")
    };
    let result = |path, summary| {
        Operation::new(Method::GET, path, READ_OR_OWN, summary)
            .answer::<Value>(StatusCode::OK, "the result")
    };
    routes
        .add(
            Operation::new(Method::GET, "/jobs", READ, "List jobs, the newest first")
                .query::<ListQuery>()
                .answer::<JobPage>(StatusCode::OK, "a page"),
            list,
        )
        .add(status("/jobs/{id}", "Where a job stands"), show)
        .add(
            Operation::new(Method::DELETE, "/jobs/{id}", SUBMIT, "End a job")
                .answer::<JobStatus>(StatusCode::ACCEPTED, "the job, which ends soon")
                .answer::<JobStatus>(StatusCode::OK, "the job, which has ended"),
            cancel,
        )
        .add(
            result("/jobs/{id}/result", "What a job found or did"),
            show_result,
        )
        .add(
            Operation::new(
                Method::GET,
                "/jobs/{id}/events",
                READ_OR_OWN,
                "What happens in a job, from a number on",
            )
            .query::<EventsQuery>()
            .answer_events::<JobEvent>(),
            events,
        )
        .add(
            status("/analysis/{id}/status", "How far an analysis is"),
            show,
        )
        .add(
            result("/analysis/{id}/results", "What an analysis found"),
            show_result,
        )
}

fn add_submissions(routes: Routes) -> Routes {
    let submission = |path, summary| {
        Operation::new(Method::POST, path, SUBMIT, summary)
            .answer::<JobStatus>(StatusCode::ACCEPTED, "the job, which is new")
            .answer::<JobStatus>(StatusCode::OK, "the job, which was there")
            .problem(StatusCode::NOT_IMPLEMENTED)
    };
    routes
        .add(
            submission("/analyze/repository", "Analyse a repository").body::<AnalysisRequest>(),
            analyze,
        )
        .add(
            submission("/fix-compilation", "Repair a command that fails").body::<FixRequest>(),
            fix,
        )
        .add(
            submission("/plans", "Run a plan").body::<PlanRequest>(),
            run_plan,
        )
}

type Submitted = Result<(StatusCode, Json<JobStatus>), Problem>;

async fn analyze(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Body(mut request): Body<AnalysisRequest>,
) -> Submitted {
    let id = request.job_id.take();
    submit(&api, &caller, JobKind::Analysis, id, &request).await
}

async fn fix(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Body(mut request): Body<FixRequest>,
) -> Submitted {
    let id = request.job_id.take();
    submit(&api, &caller, JobKind::Fix, id, &request).await
}

async fn run_plan(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Body(mut request): Body<PlanRequest>,
) -> Submitted {
    let id = request.job_id.take();
    submit(&api, &caller, JobKind::Plan, id, &request).await
}

/// Takes a job. Without its name a request says only what is to be done, so that the same wish
/// under the same name is told from another one.
async fn submit(
    api: &Api,
    caller: &Caller,
    kind: JobKind,
    id: Option<JobId>,
    request: &(impl Serialize + Sync),
) -> Submitted {
    let request = serde_json::to_value(request)
        .map_err(|error| Problem::internal("failed to keep a request", &error))?;
    let (job, new) = api.jobs.submit(kind, id, request, &caller.name).await?;
    let status = if new {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(job)))
}

async fn list(
    State(api): State<Arc<Api>>,
    Query(query): Query<ListQuery>,
) -> Result<Json<JobPage>, Problem> {
    let limit = query.limit.unwrap_or(PAGE_LEN).clamp(1, PAGE_LEN_MAX);
    let filter = JobFilter {
        kind: query.kind,
        before: query.before,
        limit: Some(limit),
    };
    let jobs = api.jobs.list(filter).await?;
    let next_before = (jobs.len() == limit)
        .then(|| jobs.last().map(|job| job.job_id.clone()))
        .flatten();
    Ok(Json(JobPage { jobs, next_before }))
}

/// A job that the caller may see. Another one does not exist for the caller.
async fn visible(api: &Api, caller: &Caller, id: &JobId) -> Result<JobStatus, Problem> {
    match api.jobs.status(id).await? {
        Some(job) if caller.may_see(&job.submitter) => Ok(job),
        Some(_) | None => Err(Problem::no_such_job(id)),
    }
}

async fn show(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<JobId>,
) -> Result<Json<JobStatus>, Problem> {
    Ok(Json(visible(&api, &caller, &id).await?))
}

async fn cancel(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<JobId>,
) -> Submitted {
    let job = visible(&api, &caller, &id).await?;
    if !caller.may_change(&job.submitter) {
        return Err(Problem::not_yours(&format!("job `{id}`"), &job.submitter));
    }
    let job = api.jobs.cancel(&id).await?;
    let job = job.ok_or_else(|| Problem::no_such_job(&id))?;
    let status = if job.state.is_final() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok((status, Json(job)))
}

async fn show_result(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<JobId>,
) -> Result<Json<Value>, Problem> {
    let job = visible(&api, &caller, &id).await?;
    let record = api.jobs.find(&id).await?;
    match record.and_then(|record| record.result) {
        Some(result) => Ok(Json(result)),
        None if job.state.is_final() => {
            let why = job.error.unwrap_or_default();
            Err(Problem::new(
                StatusCode::CONFLICT,
                "no_result",
                format!("job `{id}` ended without a result: {why}"),
            ))
        }
        None => Err(Problem::new(
            StatusCode::CONFLICT,
            "not_ended",
            format!("job `{id}` has not ended yet"),
        )
        .hint("`GET /api/sandbox/jobs/{id}/events` tells when it has")),
    }
}

async fn events(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<JobId>,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    visible(&api, &caller, &id).await?;
    let after = query.after.or_else(|| last_event_id(&headers)).unwrap_or(0);
    // First who tells of new ones, so that none falls between.
    let told = api.jobs.told(&id);
    let directory = api.jobs.directory(&id);
    let opening = tokio::task::spawn_blocking(move || EventReader::open(&directory, after));
    let reader = opening
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()))
        .map_err(|error| Problem::internal("failed to read the events of a job", &error))?;
    let feed = Feed {
        api,
        id,
        told,
        reader: Some(reader),
        page: Vec::new().into_iter(),
        progress: None,
    };
    let events = stream::unfold(feed, |mut feed| async move {
        let event = feed.next().await?;
        Some((Ok::<_, Infallible>(event), feed))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::default())
        .into_response())
}

/// The events of one job in order, how far it is in between, and at last where it stands.
struct Feed {
    api: Arc<Api>,
    id: JobId,
    /// `None` when the job has ended.
    told: Option<watch::Receiver<Told>>,
    /// `None` when everything was passed on.
    reader: Option<EventReader>,
    page: std::vec::IntoIter<(u64, String)>,
    progress: Option<cogo_protocol::message::Progress>,
}

impl Feed {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((number, line)) = self.page.next() {
                return Some(Event::default().id(number.to_string()).data(line));
            }
            let seen = match &mut self.told {
                Some(told) => told.borrow_and_update().clone(),
                None => Told {
                    events: u64::MAX,
                    progress: None,
                    ended: true,
                },
            };
            self.read(seen.events).await?;
            if self.page.len() > 0 {
                continue;
            }
            if seen.progress != self.progress && !seen.ended {
                self.progress.clone_from(&seen.progress);
                let progress = Event::default().event("progress");
                return progress.json_data(&seen.progress).ok();
            }
            if seen.ended {
                return self.end().await;
            }
            let told = self.told.as_mut()?;
            tokio::select! {
                biased;
                () = self.api.stop.cancelled() => return None,
                changed = told.changed() => changed.ok()?,
            }
        }
    }

    async fn read(&mut self, up_to: u64) -> Option<()> {
        let mut reader = self.reader.take()?;
        let reading = tokio::task::spawn_blocking(move || {
            let page = reader.page(up_to);
            (reader, page)
        });
        let (reader, page) = reading.await.ok()?;
        self.reader = Some(reader);
        match page {
            Ok(page) => {
                self.page = page.into_iter();
                Some(())
            }
            Err(error) => {
                tracing::warn!(%error, job = %self.id, "failed to read the events of a job");
                None
            }
        }
    }

    /// Says how the job ended, and ends with that. A stream without it was cut off.
    async fn end(&mut self) -> Option<Event> {
        self.reader = None;
        let status = self.api.jobs.status(&self.id).await.ok()??;
        if !status.state.is_final() {
            return None;
        }
        Event::default().event("status").json_data(&status).ok()
    }
}
