//! Real programs behind the proxy, led to it by the variables alone.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};

use super::fixture::{Names, Proxy, Server, entries, read_head};
use crate::proxy::{AllowList, ProxyEvent, proxy_env};

/// Runs a program with the proxy's variables and an otherwise small environment. `None` if the
/// program is not on this machine.
fn run(proxy: &Proxy, program: &str, arguments: &[&str]) -> Option<Output> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if let Some(home) = std::env::var_os("HOME") {
        command.env("HOME", home); // where version managers keep the real interpreter
    }
    command
        .envs(proxy_env(proxy.port, &proxy.allow))
        .stdin(Stdio::null());
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: {program} is not installed");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server that answers with the request's head and the size of its body.
fn mirror() -> Server {
    Server::start(|mut stream| {
        let head = read_head(&mut stream);
        let body = format!("seen: {head}");
        let _ = write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    })
}

fn good_proxy(server: &Server) -> Proxy {
    let mut list = entries(&["good.test"]);
    list.push(server.entry());
    Proxy::start(&list, Names::default().lead("good.test", &[server.address]))
}

#[test]
fn curl_gets_what_is_allowed_and_reads_why_the_rest_is_not() {
    let server = mirror();
    let proxy = good_proxy(&server);
    let Some(output) = run(&proxy, "curl", &["-sS", "http://good.test/some/path?q=1"]) else {
        return;
    };
    let body = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        body.starts_with("seen: GET /some/path?q=1 HTTP/1.1\r\nHost: good.test\r\n"),
        "{body}"
    );
    assert!(!body.contains("Proxy-"), "{body}");
    let event = proxy.event();
    assert!(matches!(event, ProxyEvent::Allowed { .. }), "{event:?}");

    let output = run(&proxy, "curl", &["-sS", "http://evil.test/"]).unwrap();
    assert_eq!(
        text(&output.stdout),
        "cogo: network access to \"evil.test:80\" is not allowed; add --net-allow evil.test\n"
    );
    let output = run(&proxy, "curl", &["-sSv", "https://evil.test/"]).unwrap();
    assert!(!output.status.success());
    let expected =
        "cogo: network access to \"evil.test:443\" is not allowed; add --net-allow evil.test";
    assert!(
        text(&output.stderr).contains(expected),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn curl_uploads_with_a_length_and_in_chunks() {
    let server = Server::start(|mut stream| {
        let head = read_head(&mut stream).to_ascii_lowercase();
        let _ = write!(stream, "HTTP/1.1 100 Continue\r\n\r\n");
        let mut body = Vec::new();
        let mut byte = [0];
        let end: &[u8] = if head.contains("chunked") {
            b"0\r\n\r\n"
        } else {
            b"END"
        };
        while !body.ends_with(end) && std::io::Read::read(&mut stream, &mut byte).unwrap() == 1 {
            body.push(byte[0]);
        }
        let text = String::from_utf8(body).unwrap().replace("\r\n", "|");
        let _ = write!(stream, "HTTP/1.1 200 OK\r\n\r\n{text}");
    });
    let proxy = good_proxy(&server);
    let url = "http://good.test/";
    let Some(output) = run(&proxy, "curl", &["-sS", "-d", "some body END", url]) else {
        return;
    };
    assert_eq!(
        text(&output.stdout),
        "some body END",
        "{}",
        text(&output.stderr)
    );
    let chunked = [
        "-sS",
        "-d",
        "some body",
        "-H",
        "Transfer-Encoding: chunked",
        url,
    ];
    let output = run(&proxy, "curl", &chunked).unwrap();
    assert_eq!(
        text(&output.stdout),
        "9|some body|0||",
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn curl_reaches_a_listed_port_of_the_host_and_its_own_loopback_stays_direct() {
    let (listed, own) = (mirror(), mirror());
    let list = [format!("localhost:{}", listed.port())];
    let proxy = Proxy::start(&list, Names::default());
    let url = format!("http://localhost:{}/", listed.port());
    let Some(output) = run(&proxy, "curl", &["-sS", &url]) else {
        return;
    };
    assert!(
        text(&output.stdout).starts_with("seen: GET / HTTP/1.1\r\n"),
        "{output:?}"
    );
    assert!(matches!(proxy.event(), ProxyEvent::Allowed { .. }));

    // The test has one loopback for both; who connected tells them apart.
    let url = format!("http://127.0.0.1:{}/", own.port());
    let output = run(&proxy, "curl", &["-sS", &url]).unwrap();
    assert!(
        text(&output.stdout).contains("User-Agent: curl"),
        "{output:?}"
    );
    assert!(
        !text(&output.stdout).contains("Connection: close"),
        "it went by the proxy"
    );
}

#[test]
fn python_gets_what_is_allowed_and_reads_why_the_rest_is_not() {
    let server = mirror();
    let proxy = good_proxy(&server);
    let get = |url: &str| {
        let script =
            format!("import urllib.request as u; print(u.urlopen('{url}').read().decode())");
        run(&proxy, "python3", &["-c", &script])
    };
    let Some(output) = get("http://good.test/x") else {
        return;
    };
    assert!(
        text(&output.stdout).starts_with("seen: GET /x HTTP/1.1"),
        "{}",
        text(&output.stderr)
    );
    for (url, entry) in [
        ("https://evil.test/", "evil.test"),
        ("https://evil.test:22/", "evil.test:22"),
    ] {
        let output = get(url).unwrap();
        let hint = format!("is not allowed; add --net-allow {entry}");
        assert!(
            text(&output.stderr).contains(&hint),
            "{}",
            text(&output.stderr)
        );
    }
}

/// A process that is killed and reaped with the test.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn curl_speaks_tls_through_a_tunnel() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-keyout",
            &key,
            "-out",
            &certificate,
            "-days",
            "2",
            "-subj",
            "/CN=good.test",
        ])
        .args(["-addext", "subjectAltName=DNS:good.test,DNS:other.test"])
        .output();
    let Ok(made) = made else {
        eprintln!("skipped: openssl is not installed");
        return;
    };
    assert!(made.status.success(), "{}", text(&made.stderr));

    // The port is free again when the server takes it; nobody else listens on fixed ones here.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let server = Command::new("openssl")
        .args([
            "s_server",
            "-quiet",
            "-www",
            "-accept",
            &address.to_string(),
        ])
        .args(["-key", &key, "-cert", &certificate])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Background(server);
    while TcpStream::connect(address).is_err() {
        assert!(
            server.0.try_wait().unwrap().is_none(),
            "the tls server ended"
        );
        std::thread::yield_now();
    }

    let mut list = entries(&["good.test", "front.test"]);
    list.push(address.to_string());
    let names = Names::default()
        .lead("good.test", &[address])
        .lead("front.test", &[address]);
    let proxy = Proxy::start(&list, names);
    let fetch = |more: &[&str]| {
        let common = ["-sS", "--cacert", certificate.as_str()];
        run(&proxy, "curl", &[&common[..], more].concat())
    };
    let Some(output) = fetch(&["https://good.test/"]) else {
        return;
    };
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        text(&output.stdout).contains("Ciphers"),
        "{}",
        text(&output.stdout)
    );
    assert!(matches!(proxy.event(), ProxyEvent::Allowed { .. }));

    // The same server under a name that is not listed, by a tunnel to one that is.
    let front = [
        "--connect-to",
        "other.test:443:front.test:443",
        "https://other.test/",
    ];
    let output = fetch(&front).unwrap();
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains("access denied"),
        "{}",
        text(&output.stderr)
    );
    assert!(matches!(proxy.event(), ProxyEvent::Refused { .. }));
}

#[test]
fn the_variables_name_the_proxy_and_keep_the_loopback_direct() {
    let variable = |list: &[&str], name: &str| {
        let allow = AllowList::parse(&entries(list)).unwrap();
        let found = proxy_env(3128, &allow)
            .into_iter()
            .find(|(key, _)| key == name);
        found.map(|(_, value)| value).unwrap()
    };
    for name in [
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ] {
        assert_eq!(variable(&[], name), "http://127.0.0.1:3128");
    }
    assert_eq!(variable(&[], "no_proxy"), "localhost,127.0.0.1,::1");
    assert_eq!(variable(&["localhost:80"], "NO_PROXY"), "127.0.0.1,::1");
    assert_eq!(
        variable(&["127.0.0.1:80", "[::1]:80"], "NO_PROXY"),
        "localhost"
    );
}
