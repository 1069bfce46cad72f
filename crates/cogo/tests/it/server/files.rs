//! Files of a task's workspace, from outside while it runs.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::fixture::{API, Server, WAIT};
use super::http::{Answer, Request, send};

const TAR: &str = "application/x-tar";

/// A server with a task that waits in its workspace.
fn server() -> Server {
    let server = Server::start(&["--workers", "1"]);
    server.submit("t", &format!("{WAIT}; cat sent/greeting > answer"));
    server.await_status("t", "running");
    server
}

fn ask(server: &Server, method: &str, path: &str, header: (&str, &str), body: &[u8]) -> Answer {
    let path = format!("{API}/files/{path}?taskId=t");
    let request = Request {
        method,
        path: &path,
        headers: &[header],
        body,
    };
    send(server.address, &request).unwrap()
}

#[test]
fn files_are_written_read_listed_and_deleted() {
    let mut server = server();
    let plain = ("Content-Type", "application/octet-stream");
    assert_eq!(
        ask(&server, "PUT", "sent/greeting", plain, b"hello\n").status,
        201
    );
    let create = serde_json::json!({"taskId": "t", "path": "sent/more", "content": "x"});
    assert_eq!(
        server
            .send("POST", "/files/create", &create)
            .unwrap()
            .status,
        201
    );
    assert_eq!(
        ask(&server, "GET", "sent/greeting", plain, b"").body,
        b"hello\n"
    );
    let list = ask(&server, "GET", "sent", plain, b"").json();
    let names: Vec<_> = list["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["greeting", "more"]);
    assert_eq!(ask(&server, "DELETE", "sent/more", plain, b"").status, 204);
    assert_eq!(
        ask(&server, "GET", "sent/more", plain, b"").code(),
        "no_such_file"
    );
    for (path, code) in [
        ("..%2fhome%2ftoken", "outside_workspace"),
        ("%2fetc%2fpasswd", "outside_workspace"),
    ] {
        assert_eq!(ask(&server, "GET", path, plain, b"").code(), code);
        assert_eq!(ask(&server, "PUT", path, plain, b"x").code(), code);
        assert_eq!(ask(&server, "GET", path, ("Accept", TAR), b"").code(), code);
    }
    server.open_gate();
    server.await_status("t", "succeeded");
    let answer = std::fs::read(server.world.workspace().join("answer")).unwrap();
    assert_eq!(answer, b"hello\n");
}

#[test]
fn trees_travel_as_archives() {
    let server = server();
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("greeting", b"hello".to_vec()),
        ("deep/er/data", vec![7; 100_000]),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        archive
            .append_data(&mut header, name, content.as_slice())
            .unwrap();
    }
    let archive = archive.into_inner().unwrap();
    let sent = ask(&server, "PUT", "sent", ("Content-Type", TAR), &archive);
    assert_eq!(sent.status, 201, "{sent:?}");
    let got = ask(&server, "GET", "sent", ("Accept", TAR), b"");
    assert!(got.head.contains(TAR), "{}", got.head);
    let mut got = tar::Archive::new(got.body.as_slice());
    let names: Vec<String> = got
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, [".", "deep", "deep/er", "deep/er/data", "greeting"]);
    let broken = ask(
        &server,
        "PUT",
        "sent",
        ("Content-Type", TAR),
        &archive[..700],
    );
    assert_eq!(
        (broken.status, broken.code().as_str()),
        (422, "bad_archive")
    );
    assert_eq!(
        ask(&server, "GET", "none", ("Accept", TAR), b"").code(),
        "no_such_file"
    );
}

#[test]
fn changes_are_told_while_they_happen() {
    let server = server();
    let mut stream = TcpStream::connect(server.address).unwrap();
    let request = format!(
        "GET {API}/files/.?taskId=t HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
        server.address
    );
    stream.write_all(request.as_bytes()).unwrap();
    let timeout = std::time::Duration::from_mins(1);
    stream.set_read_timeout(Some(timeout)).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "event: ready"));
    let plain = ("Content-Type", "application/octet-stream");
    assert_eq!(ask(&server, "PUT", "new/file", plain, b"x").status, 201);
    assert!(lines.any(|line| line == r#"data: {"path":"new/file","kind":"created"}"#));
    assert_eq!(ask(&server, "DELETE", "new/file", plain, b"").status, 204);
    assert!(lines.any(|line| line == r#"data: {"path":"new/file","kind":"removed"}"#));
}
