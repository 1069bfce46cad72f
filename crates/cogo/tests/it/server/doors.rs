//! Who gets in, and what they are told who do not.

use serde_json::{Value, json};

use super::fixture::{API, Server};
use super::http::{Answer, Request, send};
use crate::fixture::{Fixture, finish};

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let path = format!("{API}{path}");
    let request = Request {
        method,
        path: &path,
        headers,
        body,
    };
    send(server.address, &request).unwrap()
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

#[test]
fn foreign_pages_and_hosts_are_refused() {
    let server = Server::start(&["--workers", "0"]);
    let get = |headers: &[(&str, &str)]| ask(&server, "GET", "/health", headers, b"");
    assert_eq!(get(&[]).status, 200);
    let origin = get(&[("Origin", "http://evil.test")]);
    assert_eq!(
        (origin.status, origin.code().as_str()),
        (403, "foreign_origin")
    );
    let host = get(&[("Host", "evil.test")]);
    assert_eq!((host.status, host.code().as_str()), (421, "foreign_host"));
    let own = format!("http://{}", server.address);
    assert_eq!(get(&[("Origin", &own)]).status, 200);
}

#[test]
fn nonsense_gets_a_problem_with_a_code() {
    let server = Server::start(&["--workers", "0"]);
    let deep = "[".repeat(100_000);
    let long = format!(
        r#"{{"command":"true","env":{{"A":"{}"}}}}"#,
        "x".repeat(2 << 20)
    );
    let post = |body: &[u8]| ask(&server, "POST", "/execute", &[JSON], body);
    for (body, status) in [
        (&b""[..], 400),
        (b"{", 400),
        (b"null", 422),
        (b"{}", 422),
        (b"\xff\xfe", 400),
        (br#"{"command":""}"#, 422),
        (br#"{"command":"true","priority":10}"#, 422),
        (br#"{"command":"true","taskId":""}"#, 422),
        (deep.as_bytes(), 422),
        (long.as_bytes(), 413),
    ] {
        let answer = post(body);
        assert_eq!(answer.status, status, "{:?}", answer.json());
        assert!(!answer.code().is_empty());
    }
    assert_eq!(ask(&server, "POST", "/execute", &[], b"{}").status, 415);
    for (method, path, status, code) in [
        ("GET", "/nothing", 404, "no_such_path"),
        ("PATCH", "/health", 405, "no_such_method"),
        ("GET", "/tasks/none", 404, "no_such_task"),
        ("GET", "/tasks/none/logs", 404, "no_such_task"),
        ("DELETE", "/tasks/none", 404, "no_such_task"),
        ("GET", "/workers/none", 404, "no_such_worker"),
        ("DELETE", "/workers/none", 404, "no_such_worker"),
        ("GET", "/tasks?state=flying", 400, "bad_query"),
        ("GET", "/tasks?limit=-1", 400, "bad_query"),
        ("GET", "/tasks/%ff", 400, "bad_path"),
        ("GET", "/connect", 426, "web_socket_required"),
        ("GET", "/workers/connect", 426, "web_socket_required"),
        ("POST", "/analyze/repository", 415, "not_json"),
        ("GET", "/jobs/none", 404, "no_such_job"),
        ("GET", "/jobs/none/events", 404, "no_such_job"),
        ("GET", "/analysis/none/results", 404, "no_such_job"),
        ("DELETE", "/jobs/none", 404, "no_such_job"),
        ("GET", "/jobs?kind=flight", 400, "bad_query"),
    ] {
        let answer = ask(&server, method, path, &[], b"");
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (status, code),
            "{path}"
        );
    }
}

#[test]
fn tokens_open_what_their_scopes_say() {
    let server = Server::start(&["--workers", "1"]);
    server.await_workers(1);
    let make = |name: &str, scope: &str, admin: Option<&str>| {
        let mut command = server
            .world
            .cogo(["token", "create", name, "--scope", scope]);
        if let Some(admin) = admin {
            command.env("COGO_TOKEN", admin);
        }
        let ran = finish(&mut command);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout.trim().to_owned()
    };
    let admin = make("boss", "admin", None);
    let submit = make("ci", "submit", Some(&admin));
    let other = make("other", "submit", Some(&admin));
    let read = make("viewer", "read", Some(&admin));
    let with = |token: &str, method: &str, path: &str, body: &[u8]| {
        let bearer = format!("Bearer {token}");
        ask(
            &server,
            method,
            path,
            &[JSON, ("Authorization", &bearer)],
            body,
        )
    };
    assert_eq!(
        ask(&server, "GET", "/health", &[], b"").code(),
        "token_required"
    );
    assert_eq!(with("cogo_wrong", "GET", "/health", b"").status, 401);
    assert_eq!(with(&read, "GET", "/health", b"").status, 200);
    let task =
        json!({"taskId": "t", "command": "echo hi", "isolation": crate::fixture::strongest_tier()});
    let task = serde_json::to_vec(&task).unwrap();
    assert_eq!(
        with(&read, "POST", "/execute", &task).code(),
        "scope_missing"
    );
    assert_eq!(with(&submit, "POST", "/execute", &task).status, 201);
    assert_eq!(
        with(&submit, "GET", "/tasks/t", b"").json()["submitter"],
        "ci"
    );
    assert_eq!(with(&read, "GET", "/tasks/t", b"").status, 200);
    // Who may only submit does not see what others do.
    assert_eq!(with(&other, "GET", "/tasks/t", b"").code(), "no_such_task");
    assert_eq!(
        with(&other, "POST", "/execute", &task).code(),
        "task_differs"
    );
    assert_eq!(with(&submit, "GET", "/tasks", b"").code(), "scope_missing");
    assert_eq!(
        with(&submit, "POST", "/workers", b"{}").code(),
        "scope_missing"
    );
    assert_eq!(
        with(&read, "GET", "/workers/connect", b"").code(),
        "scope_missing"
    );
    assert_eq!(with(&admin, "DELETE", "/tokens/viewer", b"").status, 204);
    assert_eq!(with(&read, "GET", "/health", b"").status, 401);
    let stored = std::fs::read(server.world.state().join("manager/store.sqlite")).unwrap();
    let holds = |token: &str| {
        stored
            .windows(token.len())
            .any(|part| part == token.as_bytes())
    };
    assert!(!holds(&admin) && !holds(&submit), "only hashes are kept");
}

#[test]
fn without_a_token_nobody_else_is_listened_to() {
    let world = Fixture::new();
    let ran = finish(&mut world.cogo(["serve", "--listen", "0.0.0.0:0"]));
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("cogo token create"), "{}", ran.stderr);
}

#[test]
fn the_document_describes_every_door() {
    let server = Server::start(&["--workers", "0"]);
    let request = Request {
        method: "GET",
        path: "/openapi.json",
        headers: &[],
        body: &[],
    };
    let document: Value = send(server.address, &request).unwrap().json();
    let paths = document["paths"].as_object().unwrap();
    for path in [
        "/workers/create",
        "/workers",
        "/workers/{id}",
        "/execute",
        "/workers/{id}/execute",
        "/tasks/{id}/status",
        "/tasks/{id}",
        "/queue",
        "/recover/{workerId}",
        "/workers/{id}/detect-block",
        "/health",
        "/analyze/repository",
        "/analysis/{id}/status",
        "/analysis/{id}/results",
        "/fix-compilation",
        "/tasks/{id}/logs",
        "/events",
    ] {
        assert!(paths.contains_key(&format!("{API}{path}")), "{path}");
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(
            document.pointer(&name[1..]).is_some(),
            "{name} leads nowhere"
        );
    }
}
