//! A Git server over HTTP: `git http-backend` behind a few lines of HTTP.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) struct Server {
    address: String,
}

impl Server {
    /// Serves the repositories in a directory to anybody.
    pub(crate) fn start(root: &Path) -> Self {
        Self::listen(root, None)
    }

    /// Serves them to one `user:password`.
    pub(crate) fn start_with_login(root: &Path, login: &str) -> Self {
        // What the header has for these bytes; spares the test an encoder.
        assert_eq!(login, "me:s3cret");
        Self::listen(root, Some("Basic bWU6czNjcmV0"))
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}/.git", self.address)
    }

    fn listen(root: &Path, login: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let root = root.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up is the client's business.
                let _ = answer(stream, &root, login);
            }
        });
        Self { address }
    }
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(stream: &TcpStream) -> std::io::Result<Self> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, target) = (words.next(), words.next());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut request = Self {
            method: method.unwrap_or_default(),
            target: target.unwrap_or_default(),
            headers,
            body: Vec::new(),
        };
        let length = request.header("content-length").parse().unwrap_or(0);
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        Ok(request)
    }

    fn header(&self, wanted: &str) -> &str {
        let found = self.headers.iter().find(|(name, _)| name == wanted);
        found.map_or("", |(_, value)| value)
    }
}

fn answer(mut stream: TcpStream, root: &PathBuf, login: Option<&str>) -> std::io::Result<()> {
    let request = Request::read(&stream)?;
    if login.is_some_and(|login| request.header("authorization") != login) {
        return stream.write_all(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"test\"\r\n\
              Content-Length: 0\r\nConnection: close\r\n\r\n",
        );
    }
    let output = backend(&request, root)?;
    let end = output.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = output.split_at(end.map_or(output.len(), |end| end + 4));
    let head = String::from_utf8_lossy(head);
    let status = head.lines().find_map(|line| line.strip_prefix("Status: "));
    write!(
        stream,
        "HTTP/1.1 {}\r\nConnection: close\r\nContent-Length: {}\r\n{head}",
        status.unwrap_or("200 OK"),
        body.len()
    )?;
    stream.write_all(body)
}

fn backend(request: &Request, root: &PathBuf) -> std::io::Result<Vec<u8>> {
    let (path, query) = request
        .target
        .split_once('?')
        .unwrap_or((&request.target, ""));
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .envs([("PATH_INFO", path), ("QUERY_STRING", query)])
        .env("REQUEST_METHOD", &request.method)
        .env("CONTENT_TYPE", request.header("content-type"))
        .env("CONTENT_LENGTH", request.body.len().to_string())
        .env("GIT_PROTOCOL", request.header("git-protocol"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    backend.stdin.take().unwrap().write_all(&request.body)?;
    Ok(backend.wait_with_output()?.stdout)
}
