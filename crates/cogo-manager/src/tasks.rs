//! Tasks as doors see them: open ones are asked of the coordinator, ended ones are in the store.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use cogo_protocol::id::ExecId;
use cogo_protocol::name::InvalidName;
use cogo_protocol::task::{TaskId, TaskRequest, TaskStatus};
use cogo_store::{Store, StoreError, TaskFilter, TaskRecord};

use crate::clock::{self, Clock};
use crate::coordinator::{Answer, ClientRequest, Known, RequestError, task_status};
use crate::runtime::{Handle, Stopped};
use crate::{stored, tokens};

/// Why a task could not be told of, taken or ended.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum TaskFailure {
    #[error("refused")]
    Refused(RequestError),
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All tasks.
#[derive(Clone)]
pub(crate) struct Tasks {
    handle: Handle,
    store: Arc<dyn Store>,
    clock: Clock,
}

impl Tasks {
    pub(crate) fn new(handle: Handle, store: Arc<dyn Store>, clock: Clock) -> Self {
        Self {
            handle,
            store,
            clock,
        }
    }

    /// Takes a task, or finds the one that has its name. Tells whether it is new.
    pub(crate) async fn submit(
        &self,
        mut request: TaskRequest,
        submitter: &str,
    ) -> Result<(TaskStatus, bool), TaskFailure> {
        let given = request.task_id.take();
        loop {
            let (task_id, known) = match &given {
                Some(id) => (id.clone(), self.look_up(id).await?),
                None => (fresh_id(), Known::Fresh),
            };
            let submit = ClientRequest::Submit {
                task_id,
                request: Box::new(request.clone()),
                submitter: submitter.to_owned(),
                known,
            };
            match self.handle.ask(submit).await? {
                Answer::Submitted { task, new } => return Ok((*task, new)),
                // It ended just now, so that it is in the store by now.
                Answer::LookAgain(_) => {}
                Answer::Refused(error) => return Err(TaskFailure::Refused(error)),
                answer => unexpected(&answer),
            }
        }
    }

    async fn look_up(&self, id: &TaskId) -> Result<Known, StoreError> {
        let looked_at = self.clock.now().monotonic;
        Ok(match self.stored(id).await? {
            Some(record) => Known::Stored(Box::new(record)),
            None => Known::Absent { looked_at },
        })
    }

    /// Where a task stands.
    pub(crate) async fn status(&self, id: &TaskId) -> Result<TaskStatus, TaskFailure> {
        match self.handle.ask(ClientRequest::Task(id.clone())).await? {
            Answer::Task(task) => Ok(*task),
            Answer::Refused(RequestError::NoSuchTask(_)) => match self.stored(id).await? {
                Some(record) => Ok(task_status(&record)),
                None => Err(TaskFailure::Refused(RequestError::NoSuchTask(id.clone()))),
            },
            Answer::Refused(error) => Err(TaskFailure::Refused(error)),
            answer => unexpected(&answer),
        }
    }

    /// All that is stored of a task.
    pub(crate) async fn stored(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
        let id = id.clone();
        stored::read(&self.store, move |store| store.task(&id)).await
    }

    /// Tasks that pass a filter, with their place in the order of submission; the newest first.
    pub(crate) async fn list(
        &self,
        filter: TaskFilter,
    ) -> Result<Vec<(u64, TaskStatus)>, StoreError> {
        let records = stored::read(&self.store, move |store| store.tasks(&filter)).await?;
        Ok(records
            .iter()
            .map(|record| (record.number, task_status(record)))
            .collect())
    }

    /// Asks a task to end, whatever its state. One that has ended is left as it is.
    pub(crate) async fn cancel(
        &self,
        id: &TaskId,
        grace_period: Option<Duration>,
    ) -> Result<TaskStatus, TaskFailure> {
        let cancel = ClientRequest::Cancel {
            task_id: id.clone(),
            grace_period,
        };
        match self.handle.ask(cancel).await? {
            Answer::Task(task) => Ok(*task),
            Answer::Done | Answer::Refused(RequestError::NoSuchTask(_)) => self.status(id).await,
            Answer::Refused(error) => Err(TaskFailure::Refused(error)),
            answer => unexpected(&answer),
        }
    }
}

/// The coordinator answers each request with the answer of its kind.
pub(crate) fn unexpected(answer: &Answer) -> ! {
    panic!("the coordinator gave an answer of another kind: {answer:?}")
}

/// A name for a task whose client gave none.
/// A name that nothing else has, of a task or a job.
pub(crate) fn fresh_id<Name: FromStr<Err = InvalidName>>() -> Name {
    let mut randomness = [0; 10];
    tokens::fill_random(&mut randomness).expect("the kernel gives randomness once it is up");
    let id = ExecId::from_parts(clock::unix_ms(), &randomness).to_string();
    id.parse().expect("a UUID is a name")
}
