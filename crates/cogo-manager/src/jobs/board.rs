//! All jobs: taken, begun in order as slots come free, ended, kept and forgotten.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cogo_protocol::job::{JobId, JobKind, JobState, JobStatus};
use cogo_store::{Change, JobFilter, JobRecord, Store, StoreError};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::events::{EventLog, Told};
use super::{JobFailure, JobRefusal, JobRunner, JobWork, status};
use crate::tasks::fresh_id;
use crate::{clock, stored, tokens};

/// Jobs at work at once. Most of what they do is done by tasks, which have slots of their own.
pub(super) const RUNNING_MAX: usize = 8;
/// Jobs that are not final at most.
const OPEN_MAX: usize = 1_000;
/// Final jobs that are kept; older ones are forgotten with their events.
const KEPT_MAX: usize = 1_000;

/// All jobs of a manager.
pub(crate) struct Jobs {
    store: Arc<dyn Store>,
    directory: PathBuf,
    runners: BTreeMap<JobKind, Arc<dyn JobRunner>>,
    slots: Semaphore,
    open: Mutex<HashMap<JobId, Arc<OpenJob>>>,
    /// One at a time may find out whether a name is free.
    taking: tokio::sync::Mutex<()>,
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// A job that is not final.
struct OpenJob {
    record: Mutex<JobRecord>,
    events: Arc<EventLog>,
    /// Cancelled when someone asked to end it.
    cancel: CancellationToken,
}

impl OpenJob {
    fn record(&self) -> MutexGuard<'_, JobRecord> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> JobStatus {
        let mut status = status(&self.record());
        status
            .progress
            .clone_from(&self.events.told().borrow().progress);
        status
    }
}

impl Jobs {
    /// Takes up the jobs that are not final. Must be called on a runtime.
    pub(crate) fn start(
        store: Arc<dyn Store>,
        directory: PathBuf,
        runners: BTreeMap<JobKind, Arc<dyn JobRunner>>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, StoreError> {
        let left = store.jobs_open()?;
        let jobs = Arc::new(Self {
            store,
            directory,
            runners,
            slots: Semaphore::new(RUNNING_MAX),
            open: Mutex::default(),
            taking: tokio::sync::Mutex::default(),
            tracker: TaskTracker::new(),
            stop,
        });
        for record in left {
            let id = record.id.clone();
            if let Err(error) = jobs.begin(record) {
                // It stays stored, for a manager that can write there.
                error!(%error, job = %id, "failed to take up a job");
            }
        }
        Ok(jobs)
    }

    /// Takes a job, or finds the one that has its name. Tells whether it is new.
    pub(crate) async fn submit(
        self: &Arc<Self>,
        kind: JobKind,
        id: Option<JobId>,
        request: Value,
        submitter: &str,
    ) -> Result<(JobStatus, bool), JobRefusal> {
        let runner = self.runners.get(&kind);
        let runner = runner.ok_or(JobRefusal::NotOffered(kind))?;
        runner.check(&request).map_err(JobRefusal::Invalid)?;
        let _taking = self.taking.lock().await;
        if self.stop.is_cancelled() {
            return Err(JobRefusal::Stopping);
        }
        if let Some(id) = &id
            && let Some(known) = self.find(id).await?
        {
            let same = known.kind == kind && known.request == request;
            return if same && known.submitter == submitter {
                Ok((status(&known), false))
            } else {
                Err(JobRefusal::Differs(id.clone()))
            };
        }
        if self.open().len() >= OPEN_MAX {
            return Err(JobRefusal::Full(OPEN_MAX));
        }
        let record = JobRecord {
            id: id.unwrap_or_else(fresh_id),
            kind,
            request,
            submitter: submitter.to_owned(),
            state: JobState::Queued,
            cancel_requested: false,
            progress: None,
            result: None,
            error: None,
            created_at_ms: clock::unix_ms(),
            started_at_ms: None,
            ended_at_ms: None,
        };
        stored::commit(
            self.store.as_ref(),
            Change::JobPut(Box::new(record.clone())),
        )
        .await?;
        let status = status(&record);
        self.begin(record).map_err(JobRefusal::Directory)?;
        Ok((status, true))
    }

    /// One job with all that is kept of it.
    pub(crate) async fn find(&self, id: &JobId) -> Result<Option<JobRecord>, StoreError> {
        if let Some(job) = self.open_job(id) {
            return Ok(Some(job.record().clone()));
        }
        let id = id.clone();
        stored::read(&self.store, move |store| store.job(&id)).await
    }

    /// Where one job stands.
    pub(crate) async fn status(&self, id: &JobId) -> Result<Option<JobStatus>, StoreError> {
        if let Some(job) = self.open_job(id) {
            return Ok(Some(job.status()));
        }
        Ok(self.find(id).await?.as_ref().map(status))
    }

    /// Jobs that pass a filter, the newest first.
    pub(crate) async fn list(&self, filter: JobFilter) -> Result<Vec<JobStatus>, StoreError> {
        let records = stored::read(&self.store, move |store| store.jobs(&filter)).await?;
        let seen = |record: &JobRecord| match self.open_job(&record.id) {
            Some(job) => job.status(),
            None => status(record),
        };
        Ok(records.iter().map(seen).collect())
    }

    /// Asks a job to end. Returns where it stands, which is final soon.
    pub(crate) async fn cancel(&self, id: &JobId) -> Result<Option<JobStatus>, StoreError> {
        let Some(job) = self.open_job(id) else {
            return self.status(id).await;
        };
        self.put(&job, |record| record.cancel_requested = true)
            .await?;
        job.cancel.cancel();
        Ok(Some(job.status()))
    }

    /// How much was told of an open job; `None` for one that is final or not known.
    pub(crate) fn told(&self, id: &JobId) -> Option<watch::Receiver<Told>> {
        Some(self.open_job(id)?.events.told())
    }

    /// Where a job keeps what it reported.
    pub(crate) fn directory(&self, id: &JobId) -> PathBuf {
        // A name is any text, and a file name is not.
        let hash = tokens::hash(id.as_str());
        let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(name)
    }

    /// Waits until every job has ended or was put off.
    pub(crate) async fn stopped(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn begin(self: &Arc<Self>, record: JobRecord) -> io::Result<()> {
        let directory = self.directory(&record.id);
        fs::create_dir_all(&directory)?;
        let job = Arc::new(OpenJob {
            events: Arc::new(EventLog::open(&directory)?),
            cancel: CancellationToken::new(),
            record: Mutex::new(record),
        });
        if job.record().cancel_requested {
            job.cancel.cancel();
        }
        let id = job.record().id.clone();
        self.open().insert(id, Arc::clone(&job));
        let jobs = Arc::clone(self);
        self.tracker.spawn(async move {
            if let Err(error) = jobs.drive(&job).await {
                error!(%error, "failed to store where a job stands");
            }
            job.events.end();
        });
        Ok(())
    }

    /// Brings a job to its end, unless the manager stops before.
    async fn drive(&self, job: &Arc<OpenJob>) -> Result<(), StoreError> {
        let slot = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Ok(()),
            () = job.cancel.cancelled() => None,
            slot = self.slots.acquire() => slot.ok(),
        };
        let end = if slot.is_some() {
            self.put(job, |record| {
                record.state = JobState::Running;
                record.started_at_ms.get_or_insert_with(clock::unix_ms);
            })
            .await?;
            self.run(job).await
        } else {
            Err(JobFailure::new("cancelled before it began"))
        };
        let cancelled = job.record().cancel_requested;
        if end.is_err() && !cancelled && self.stop.is_cancelled() {
            return Ok(());
        }
        self.put(job, |record| {
            record.ended_at_ms = Some(clock::unix_ms());
            record
                .progress
                .clone_from(&job.events.told().borrow().progress);
            match end {
                Ok(result) => {
                    record.state = JobState::Succeeded;
                    record.result = Some(result);
                }
                Err(failure) => {
                    record.state = if cancelled {
                        JobState::Cancelled
                    } else {
                        JobState::Failed
                    };
                    record.error = Some(failure.error);
                    record.result = failure.result;
                }
            }
        })
        .await?;
        let id = job.record().id.clone();
        self.open().remove(&id);
        self.forget_old().await
    }

    async fn run(&self, job: &OpenJob) -> Result<Value, JobFailure> {
        let (work, runner) = {
            let record = job.record();
            let Some(runner) = self.runners.get(&record.kind).cloned() else {
                return Err(JobFailure::new("this manager does no such jobs any more"));
            };
            let work = JobWork {
                id: record.id.clone(),
                request: record.request.clone(),
                submitter: record.submitter.clone(),
                directory: self.directory(&record.id),
                stop: job.cancel.child_token(),
                events: Arc::clone(&job.events),
            };
            (work, runner)
        };
        let stop = work.stop.clone();
        let mut running = tokio::task::spawn_blocking(move || runner.run(&work));
        let end = tokio::select! {
            end = &mut running => end,
            () = self.stop.cancelled() => {
                stop.cancel();
                running.await
            }
        };
        end.unwrap_or_else(|panic| Err(JobFailure::new(format!("a defect of cogo: {panic}"))))
    }

    /// Changes a job, here and in the store.
    async fn put(
        &self,
        job: &OpenJob,
        change: impl FnOnce(&mut JobRecord),
    ) -> Result<(), StoreError> {
        let durable = {
            // Handed in while it is locked, so that the newest is stored last.
            let mut record = job.record();
            change(&mut record);
            stored::commit(
                self.store.as_ref(),
                Change::JobPut(Box::new(record.clone())),
            )
        };
        durable.await
    }

    async fn forget_old(&self) -> Result<(), StoreError> {
        let filter = JobFilter {
            limit: Some(KEPT_MAX + OPEN_MAX),
            ..JobFilter::default()
        };
        let records = stored::read(&self.store, move |store| store.jobs(&filter)).await?;
        let ended = records.iter().filter(|record| record.state.is_final());
        for record in ended.skip(KEPT_MAX) {
            stored::commit(self.store.as_ref(), Change::JobDelete(record.id.clone())).await?;
            let directory = self.directory(&record.id);
            if let Err(error) = fs::remove_dir_all(&directory) {
                warn!(%error, path = %directory.display(), "failed to remove the folder of a job");
            }
        }
        Ok(())
    }

    fn open_job(&self, id: &JobId) -> Option<Arc<OpenJob>> {
        self.open().get(id).cloned()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<JobId, Arc<OpenJob>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
