//! HTTP for `gix`, by the client that everything here uses.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use gix_transport::client::AuthenticationRequired;
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use ureq::ResponseExt as _;
use ureq::http::Response;

type Source = Box<dyn Read + Send>;

/// What an exchange failed by; kept beside the error that `gix` wraps many times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HttpFailure {
    Status(u16),
    Moved(String),
    Connection(String),
}

/// What became of the last exchange.
pub(super) type LastFailure = Arc<Mutex<Option<HttpFailure>>>;

/// One client for all requests of a fetch.
#[derive(Debug)]
pub(super) struct HttpClient {
    agent: ureq::Agent,
    last_failure: LastFailure,
    /// Where the server sent us on the same host.
    base: Option<String>,
}

impl HttpClient {
    pub(super) fn new(last_failure: LastFailure) -> Self {
        Self {
            agent: crate::http::agent(),
            last_failure,
            base: None,
        }
    }

    fn url(&self, url: &str, base: &str) -> String {
        match (&self.base, url.strip_prefix(base)) {
            (Some(moved), Some(tail)) => format!("{moved}{tail}"),
            _ => url.to_owned(),
        }
    }
}

impl Http for HttpClient {
    type Headers = Late;
    type ResponseBody = Late;
    type PostBody = Posted;

    fn get(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Late, Late>> {
        let url = self.url(url, base_url);
        let mut request = self.agent.get(&url);
        for (name, value) in pairs(headers) {
            request = request.header(name, value);
        }
        let answered = answered(request.call(), &url);
        if let Ok(response) = &answered {
            let end = response.get_uri().to_string();
            let tail = url.strip_prefix(base_url).unwrap_or_default();
            if end != url
                && let Some(base) = end.strip_suffix(tail)
            {
                self.base = Some(base.to_owned());
            }
        }
        let (headers, body) = match remember(answered, &self.last_failure) {
            Ok((headers, body)) => (Late::ready(text(headers)), Late::ready(body)),
            Err(error) => (Late::Failed(Some(error)), Late::Failed(None)),
        };
        Ok(GetResponse { headers, body })
    }

    fn post(
        &mut self,
        url: &str,
        base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Late, Late, Posted>> {
        let exchange = Exchange::open(Request {
            agent: self.agent.clone(),
            url: self.url(url, base_url),
            headers: pairs(headers),
            body: Vec::new(),
            last_failure: Arc::clone(&self.last_failure),
        });
        Ok(PostResponse {
            post_body: Posted(exchange.clone()),
            headers: Late::Waiting(exchange.clone(), Part::Headers),
            body: Late::Waiting(exchange, Part::Body),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::Result {
        Ok(())
    }
}

fn pairs(headers: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<(String, String)> {
    let split = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    headers
        .into_iter()
        .filter_map(|line| split(line.as_ref()))
        .collect()
}

/// A request whose body is still being written.
#[derive(Debug)]
struct Request {
    agent: ureq::Agent,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    last_failure: LastFailure,
}

impl Request {
    fn send(self) -> std::io::Result<(String, Source)> {
        let mut request = self.agent.post(&self.url);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        remember(
            answered(request.send(&self.body[..]), &self.url),
            &self.last_failure,
        )
    }
}

enum State {
    Open(Request),
    Ended(Option<String>, Option<Source>),
}

/// A request and its answer, which comes once: to whoever reads first.
#[derive(Clone)]
pub(super) struct Exchange(Arc<Mutex<State>>);

#[derive(Clone, Copy)]
pub(super) enum Part {
    Headers,
    Body,
}

impl Exchange {
    fn open(request: Request) -> Self {
        Self(Arc::new(Mutex::new(State::Open(request))))
    }

    /// Sends the request, unless it was sent, and takes a part of the answer.
    fn take(&self, part: Part) -> std::io::Result<Source> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Open(_)) {
            let open = std::mem::replace(&mut *state, State::Ended(None, None));
            if let State::Open(request) = open {
                let (headers, body) = request.send()?;
                *state = State::Ended(Some(headers), Some(body));
            }
        }
        let taken = match (&mut *state, part) {
            (State::Ended(headers, _), Part::Headers) => headers.take().map(text),
            (State::Ended(_, body), Part::Body) => body.take(),
            (State::Open(_), _) => None,
        };
        taken.ok_or_else(|| std::io::Error::other("the answer of the server is gone"))
    }
}

/// Where the body of a request is written to.
pub(super) struct Posted(Exchange);

impl Write for Posted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Open(request) => request.body.extend_from_slice(bytes),
            State::Ended(..) => return Err(std::io::Error::other("the request is already sent")),
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A part of an answer. The first read waits for the server.
pub(super) enum Late {
    Ready(BufReader<Source>),
    Failed(Option<std::io::Error>),
    Waiting(Exchange, Part),
}

impl Late {
    fn ready(source: Source) -> Self {
        Self::Ready(BufReader::with_capacity(1 << 16, source))
    }

    fn open(&mut self) -> std::io::Result<&mut BufReader<Source>> {
        if let Self::Waiting(exchange, part) = self {
            *self = match exchange.take(*part) {
                Ok(source) => Self::ready(source),
                Err(error) => Self::Failed(Some(error)),
            };
        }
        match self {
            Self::Ready(reader) => Ok(reader),
            Self::Failed(error) => Err(error
                .take()
                .unwrap_or_else(|| std::io::Error::other("the request failed"))),
            Self::Waiting(..) => Err(std::io::Error::other("the server did not answer")),
        }
    }
}

impl Read for Late {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.open()?.read(buffer)
    }
}

impl BufRead for Late {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        self.open()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Self::Ready(reader) = self {
            reader.consume(amount);
        }
    }
}

fn text(text: String) -> Source {
    Box::new(Cursor::new(text))
}

type Answer = Response<ureq::Body>;

/// An answer that is one: not a refusal, and from the host that was asked.
fn answered(result: Result<Answer, ureq::Error>, asked: &str) -> Result<Answer, Refusal> {
    let response = result.map_err(|error| Refusal {
        failure: HttpFailure::Connection(error.to_string()),
        challenges: Vec::new(),
    })?;
    let host = |url: &str| asked_host(url);
    let end = response.get_uri().to_string();
    let is_downgrade = asked.starts_with("https:") && !end.starts_with("https:");
    let failure = if host(&end) != host(asked) || is_downgrade {
        // A login is for the host it was given for.
        HttpFailure::Moved(end)
    } else if response.status().is_success() {
        return Ok(response);
    } else {
        HttpFailure::Status(response.status().as_u16())
    };
    let challenges = response.headers().get_all("www-authenticate").iter();
    Err(Refusal {
        failure,
        challenges: challenges.map(|value| value.as_bytes().into()).collect(),
    })
}

struct Refusal {
    failure: HttpFailure,
    challenges: Vec<gix::bstr::BString>,
}

fn asked_host(url: &str) -> Option<String> {
    let uri: ureq::http::Uri = url.parse().ok()?;
    uri.host().map(str::to_ascii_lowercase)
}

fn remember(
    answered: Result<Answer, Refusal>,
    last_failure: &LastFailure,
) -> std::io::Result<(String, Source)> {
    let mut last_failure = last_failure.lock().unwrap_or_else(PoisonError::into_inner);
    match answered {
        Ok(response) => {
            *last_failure = None;
            let headers = response.headers().iter().map(|(name, value)| {
                format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()))
            });
            let headers = headers.collect();
            Ok((headers, Box::new(response.into_body().into_reader())))
        }
        Err(refusal) => {
            let error = match &refusal.failure {
                // This kind and this content make `gix` ask for a login and try again.
                HttpFailure::Status(401) => std::io::Error::new(
                    std::io::ErrorKind::PermissionDenied,
                    AuthenticationRequired {
                        www_authenticate: refusal.challenges,
                    },
                ),
                failure => std::io::Error::other(format!("{failure:?}")),
            };
            *last_failure = Some(refusal.failure);
            Err(error)
        }
    }
}
