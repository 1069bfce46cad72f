//! One fetch into a bare repository.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gix::credentials::helper::Action;
use gix::credentials::protocol::Outcome;
use gix::protocol::transport::client::blocking_io::Transport;
use gix::remote::{Connection, Direction, fetch::Shallow, fetch::Tags};

use super::error::chain;
use super::progress::{Board, Counter};
use super::transport::{HttpClient, HttpFailure, LastFailure};
use super::{CloneError, CloneOptions, Login, OnCloneProgress, RemoteUrl};

/// Where the fetched commit is kept.
const FETCHED: &str = "refs/cogo/head";
/// How often progress is told and the limit is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Why a fetch was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interrupted {
    Cancelled,
    TooLarge,
}

/// What one fetch needs.
struct Fetch<'a> {
    url: &'a RemoteUrl,
    options: &'a CloneOptions,
    login: Option<Login>,
    last_failure: LastFailure,
}

/// Makes an empty repository.
pub(super) fn init(path: &Path) -> Result<gix::Repository, CloneError> {
    let made = gix::ThreadSafeRepository::init_opts(
        path,
        gix::create::Kind::Bare,
        gix::create::Options::default(),
        super::open_options(),
    );
    Ok(made
        .map_err(|error| CloneError::damaged(path, &error))?
        .to_thread_local())
}

/// Fetches what was asked for and returns the commit.
pub(super) fn fetch(
    repository: &gix::Repository,
    url: &RemoteUrl,
    options: &CloneOptions,
    on_progress: OnCloneProgress,
) -> Result<gix::ObjectId, CloneError> {
    let login = options.credentials.login(url.as_str())?;
    if login.is_some() && url.is_readable_on_the_way() {
        return Err(CloneError::Login {
            reason: format!(
                "`{}` is not encrypted, so no password is sent to it",
                url.as_str()
            ),
        });
    }
    let fetch = Fetch {
        url,
        options,
        login,
        last_failure: Arc::default(),
    };
    let board = Arc::new(Board::default());
    let is_interrupted = AtomicBool::new(false);
    let (result, interrupted) = std::thread::scope(|scope| {
        let (ended, is_ended) = sync_channel::<()>(0);
        let watcher = scope.spawn(|| {
            watch(
                &board,
                options.bytes_max,
                &is_interrupted,
                is_ended,
                on_progress,
            )
        });
        let result = fetch.run(repository, &board, &is_interrupted);
        drop(ended);
        (result, watcher.join().unwrap_or_default())
    });
    match (result, interrupted) {
        (Ok(()), None | Some(Interrupted::Cancelled)) => fetch.commit(repository),
        (_, Some(Interrupted::TooLarge)) => Err(CloneError::TooLarge {
            url: url.as_str().to_owned(),
            bytes_max: options.bytes_max,
        }),
        (Err(_), Some(Interrupted::Cancelled)) => Err(CloneError::Cancelled {
            url: url.as_str().to_owned(),
        }),
        (Err(error), None) => Err(fetch.explained(&error)),
    }
}

/// Tells how far it is and interrupts, until the fetch has ended.
#[expect(
    clippy::needless_pass_by_value,
    reason = "a receiver cannot be shared between threads"
)]
fn watch(
    board: &Board,
    bytes_max: u64,
    is_interrupted: &AtomicBool,
    is_ended: std::sync::mpsc::Receiver<()>,
    on_progress: OnCloneProgress,
) -> Option<Interrupted> {
    let mut interrupted = None;
    loop {
        let has_ended = is_ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Disconnected);
        if board.received() > bytes_max {
            interrupted = Some(Interrupted::TooLarge);
        } else if on_progress(board.progress()) == ControlFlow::Break(()) {
            interrupted = interrupted.or(Some(Interrupted::Cancelled));
        }
        if interrupted.is_some() {
            is_interrupted.store(true, Ordering::Relaxed);
        }
        if has_ended {
            return interrupted;
        }
    }
}

impl Fetch<'_> {
    fn run(
        &self,
        repository: &gix::Repository,
        board: &Arc<Board>,
        is_interrupted: &AtomicBool,
    ) -> gix::Result {
        let wanted = self.options.reference.as_deref().unwrap_or("HEAD");
        let specification = format!("+{wanted}:{FETCHED}");
        let remote = repository
            .remote_at(self.url.url().clone())?
            .with_fetch_tags(Tags::None)
            .with_refspecs([specification.as_str()], Direction::Fetch)?;
        if self.url.is_http() {
            let (url, version) = remote.sanitized_url_and_version(Direction::Fetch)?;
            let client = HttpClient::new(Arc::clone(&self.last_failure));
            let transport = gix_transport::client::blocking_io::http::Transport::new_http(
                client, url, version, false,
            );
            let connection = remote.to_connection_with_transport(transport);
            self.receive(connection, board, is_interrupted)
        } else {
            let connection = remote.connect(Direction::Fetch)?;
            self.receive(connection, board, is_interrupted)
        }
    }

    fn receive<T: Transport>(
        &self,
        connection: Connection<'_, '_, '_, T>,
        board: &Arc<Board>,
        is_interrupted: &AtomicBool,
    ) -> gix::Result {
        let login = self.login.clone();
        let shallow = match self.options.depth {
            Some(depth) => Shallow::DepthAtRemote(depth),
            None => Shallow::NoChange,
        };
        connection
            .with_credentials(move |action| Ok(answer(login.as_ref(), action)))
            .prepare_fetch(
                Counter::new(Arc::clone(board)),
                gix::remote::ref_map::Options::default(),
            )?
            .with_shallow(shallow)
            .receive(Counter::new(Arc::clone(board)), is_interrupted)?;
        Ok(())
    }

    fn commit(&self, repository: &gix::Repository) -> Result<gix::ObjectId, CloneError> {
        let url = self.url.as_str().to_owned();
        let found = repository.rev_parse_single(format!("{FETCHED}^{{commit}}").as_str());
        found
            .map(gix::Id::detach)
            .map_err(|_| match &self.options.reference {
                Some(reference) => CloneError::NoSuchReference {
                    url,
                    reference: reference.clone(),
                },
                None => CloneError::Empty { url },
            })
    }

    /// The error in the user's words. What the transport saw says more than what `gix` made of it.
    fn explained(&self, error: &gix::Error) -> CloneError {
        let url = self.url.as_str().to_owned();
        let last = self
            .last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match last {
            Some(HttpFailure::Status(401 | 403)) if self.login.is_none() => {
                CloneError::LoginMissing { url }
            }
            Some(HttpFailure::Status(401 | 403)) => CloneError::LoginRefused { url },
            Some(HttpFailure::Status(404 | 410)) => CloneError::NotFound { url },
            Some(HttpFailure::Status(status)) => CloneError::Unreachable {
                url,
                reason: format!("the server says {status}"),
            },
            Some(HttpFailure::Moved(target)) => CloneError::Moved { url, target },
            Some(HttpFailure::Connection(reason)) => CloneError::Unreachable { url, reason },
            None => self.explained_by_text(url, chain(error)),
        }
    }

    fn explained_by_text(&self, url: String, reason: String) -> CloneError {
        if let Some(reference) = &self.options.reference
            && (reason.contains("refspec") || reason.contains("didn't match"))
        {
            return CloneError::NoSuchReference {
                url,
                reference: reference.clone(),
            };
        }
        CloneError::Protocol { url, reason }
    }
}

fn answer(login: Option<&Login>, action: Action) -> Option<Outcome> {
    let (Action::Get(context), Some(login)) = (action, login) else {
        return None;
    };
    Some(Outcome {
        identity: gix::sec::identity::Account {
            username: login.user.clone(),
            password: login.password.expose().to_owned(),
            oauth_refresh_token: None,
        },
        next: context.into(),
    })
}
