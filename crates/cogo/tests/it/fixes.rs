//! `cogo fix`: repairs in a copy, through bad answers and bad moments.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::fixture::{Fixture, Ran, Running, await_condition, finish, strongest_tier};
use crate::server::fixture::Server;

/// Its error has a repair in gcc's own words.
const BROKEN: &str = "#include <stdio.h>\nint main(void) { prinf(\"hello\\n\"); return 0; }\n";
/// Nothing but an agent repairs this: the check wants another value.
const CHECK: &str =
    "grep -qx 'answer = 42' answer.txt || { echo 'answer.txt:1: error: not the answer'; exit 1; }";
const RIGHT: &str = "--- a/answer.txt\n+++ b/answer.txt\n@@ -1 +1 @@\n-answer = 41\n+answer = 42\n";
const WRONG: &str = "--- a/answer.txt\n+++ b/answer.txt\n@@ -1 +1 @@\n-answer = 41\n+answer = 43\n";

fn project(files: &[(&str, &str)]) -> Fixture {
    let world = Fixture::new();
    for (name, text) in files {
        std::fs::write(world.workspace().join(name), text).unwrap();
    }
    world
}

fn read(world: &Fixture, name: &str) -> String {
    std::fs::read_to_string(world.workspace().join(name)).unwrap_or_default()
}

fn arguments<'a>(options: &[&'a str], command: &[&'a str]) -> Vec<&'a str> {
    let tier = ["fix", "--isolation", strongest_tier()];
    [&tier, options, &["--"], command].concat()
}

fn fix(world: &Fixture, options: &[&str], command: &[&str]) -> Ran {
    finish(&mut world.cogo(arguments(options, command)))
}

#[test]
fn a_repair_is_shown_and_written_only_when_asked() {
    let world = project(&[("main.c", BROKEN)]);
    let gcc = ["gcc", "-Wall", "-Werror", "-o", "main", "main.c"];
    let shown = fix(&world, &[], &gcc);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(
        shown.stdout.contains("+int main(void) { printf("),
        "{shown:?}"
    );
    assert!(shown.stderr.contains("--write"), "{shown:?}");
    assert_eq!(read(&world, "main.c"), BROKEN);
    assert!(!world.workspace().join("main").exists());
    let written = fix(&world, &["--write", "--json"], &gcc);
    assert_eq!(written.code, Some(0), "{written:?}");
    assert_eq!(read(&world, "main.c"), BROKEN.replace("prinf", "printf"));
    let last: Value = serde_json::from_str(written.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["type"], "fix_finished");
    assert_eq!(last["report"]["end"], "fixed");
    assert_eq!(last["written"], json!(["main.c"]));
    let again = fix(&world, &[], &gcc);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stderr.contains("nothing to fix"), "{again:?}");
}

#[test]
fn what_does_not_help_is_undone_and_told_by_the_exit_code() {
    let world = project(&[("answer.txt", "answer = 41\n")]);
    let ran = fix(&world, &["--write"], &["sh", "-c", CHECK]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert_eq!(read(&world, "answer.txt"), "answer = 41\n");
    let two = "int main(void) { undeclared(); return 0; }\n";
    let world = project(&[("a.c", BROKEN), ("b.c", two)]);
    let gcc = ["gcc", "-Werror", "-Wall", "-c", "a.c", "b.c"];
    let ran = fix(&world, &[], &gcc);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.stderr.contains("undeclared"), "{ran:?}");
}

/// A program that is an agent and does what the script says.
fn agent_program(world: &Fixture, script: &str) -> String {
    let program = world.home().parent().unwrap().join("agent");
    std::fs::create_dir_all(&program).unwrap();
    let file = program.join("agent.sh");
    std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("command:{}", file.display())
}

#[test]
fn an_endpoint_is_asked_as_its_protocol_says() {
    let openai = |text: &str| {
        let piece = json!({ "choices": [{ "delta": { "content": text } }] });
        let end = json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] });
        format!("data: {piece}\n\ndata: {end}\n\ndata: [DONE]\n\n")
    };
    let anthropic = |text: &str| {
        let piece = json!({ "type": "content_block_delta", "delta": { "type": "text_delta", "text": text } });
        format!(
            "event: content_block_delta\ndata: {piece}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        )
    };
    let busy = Answer::status(
        "429 Too Many Requests",
        "retry-after: 0\r\n",
        "{\"error\":{\"message\":\"slow down\"}}",
    );
    let cases = [
        ("openai", "/v1", openai(WRONG), openai(RIGHT)),
        ("anthropic", "", anthropic(WRONG), anthropic(RIGHT)),
    ];
    for (kind, base, wrong, right) in cases {
        let world = project(&[
            ("answer.txt", "answer = 41\n"),
            ("other.txt", "unrelated\n"),
        ]);
        let endpoint = Endpoint::start(vec![
            busy.clone(),
            Answer::stream(&wrong),
            Answer::stream(&right),
        ]);
        let agent = format!("{kind}:http://{}{base}", endpoint.address);
        let key = world.home().join("key");
        std::fs::write(&key, "very-secret-key\n").unwrap();
        let key = key.to_str().unwrap().to_owned();
        let options = [
            "--write",
            "--agent",
            &agent,
            "--agent-model",
            "m1",
            "--agent-key-file",
            &key,
        ];
        let ran = fix(&world, &options, &["sh", "-c", CHECK]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(read(&world, "answer.txt"), "answer = 42\n");
        let requests = endpoint.requests();
        assert_eq!(requests.len(), 3, "{requests:?}");
        let last = &requests[2];
        let (path, header) = match kind {
            "openai" => (
                "/v1/chat/completions",
                "authorization: Bearer very-secret-key",
            ),
            _ => ("/v1/messages", "x-api-key: very-secret-key"),
        };
        assert!(last.head.starts_with(&format!("POST {path} ")), "{last:?}");
        assert!(last.head.contains(header), "{last:?}");
        assert_eq!(last.body["model"], "m1");
        assert_eq!(last.body["stream"], true);
        let said = last.body.to_string();
        assert!(
            said.contains("answer = 41") && said.contains("not good"),
            "{said}"
        );
        assert!(
            !said.contains("unrelated") && !said.contains("very-secret"),
            "{said}"
        );
    }
}

#[test]
fn answers_that_are_none_leave_everything_as_it_was() {
    let outside = RIGHT
        .replace("b/answer.txt", "b/../../escaped")
        .replace("a/answer.txt", "a/../../escaped");
    let cut = "data: {\"choices\":[{\"delta\":{\"content\":\"--- a/answer.txt\"}}]}\n\n".to_owned();
    let whole = |text: &str| {
        json!({ "choices": [{ "message": { "content": text }, "finish_reason": "stop" }] })
            .to_string()
    };
    let many = |text: String| vec![Answer::stream(&text); 4];
    let cases = [
        (many(cut), "broke off"),
        (many(whole("I am not able to do that.")), "no unified diff"),
        (many(whole(&outside)), "not a file inside"),
        (
            vec![Answer::status(
                "401 Unauthorized",
                "",
                "{\"error\":{\"message\":\"bad key\"}}",
            )],
            "bad key",
        ),
        (vec![Answer::status("200 OK", "", "<html>")], "no JSON"),
    ];
    for (answers, problem) in cases {
        let world = project(&[("answer.txt", "answer = 41\n")]);
        let endpoint = Endpoint::start(answers);
        let agent = format!("openai:http://{}/v1", endpoint.address);
        let options = ["--write", "--agent", &agent, "--agent-model", "m1"];
        let ran = fix(&world, &options, &["sh", "-c", CHECK]);
        assert_eq!(ran.code, Some(4), "{ran:?}");
        assert!(ran.stderr.contains(problem), "{problem}: {ran:?}");
        assert_eq!(read(&world, "answer.txt"), "answer = 41\n");
    }
}

#[test]
fn an_endpoint_that_stalls_ends_with_the_time_there_is() {
    let world = project(&[("answer.txt", "answer = 41\n")]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let agent = format!("openai:http://{}/v1", silent.local_addr().unwrap());
    let options = ["--agent", &agent, "--agent-model", "m1", "--max-time", "3s"];
    let ran = fix(&world, &options, &["sh", "-c", CHECK]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("took too long"), "{ran:?}");
}

#[test]
fn a_program_gets_diagnostics_and_sees_no_workspace() {
    let world = project(&[("answer.txt", "answer = 41\n")]);
    let workspace = world.workspace();
    // It looks for the error in what it gets, and meddles wherever it can.
    let script = format!(
        "cat > got; grep -q 'not the answer' got || exit 9\necho x > {0}/answer.txt\necho x > {0}/meddled\nprintf '%s' '{RIGHT}'",
        workspace.display()
    );
    let agent = agent_program(&world, &script);
    let ran = fix(&world, &["--agent", &agent], &["sh", "-c", CHECK]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("+answer = 42"), "{ran:?}");
    assert_eq!(read(&world, "answer.txt"), "answer = 41\n");
    assert!(!workspace.join("meddled").exists());
    let agent = agent_program(&world, "echo 'no idea' >&2; exit 7");
    let ran = fix(&world, &["--agent", &agent], &["sh", "-c", CHECK]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.stderr.contains("code 7; no idea"), "{ran:?}");
}

#[test]
fn what_somebody_worked_on_meanwhile_is_not_overwritten() {
    let world = project(&[("main.c", BROKEN)]);
    let gcc = ["gcc", "-Wall", "-Werror", "-c", "main.c"];
    // The agent is asked first, so that there is a moment at which the copy is made.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let agent = format!("openai:http://{}/v1", silent.local_addr().unwrap());
    let options = [
        "--write",
        "--fixers",
        "agent,suggestions",
        "--agent",
        &agent,
        "--agent-model",
        "m",
    ];
    let running = Running::start(&mut world.cogo(arguments(&options, &gcc)));
    let (mut connection, _) = silent.accept().unwrap();
    let mine = format!("// mine\n{BROKEN}");
    std::fs::write(world.workspace().join("main.c"), &mine).unwrap();
    respond(
        &mut connection,
        &Answer::status("400 Bad Request", "", "{}"),
    );
    let ran = running.finish();
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(
        ran.stderr.contains("changed in the workspace meanwhile"),
        "{ran:?}"
    );
    assert_eq!(read(&world, "main.c"), mine);
}

#[test]
fn an_interrupt_stops_it_and_changes_nothing() {
    let world = project(&[("answer.txt", "answer = 41\n")]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let agent = format!("openai:http://{}/v1", silent.local_addr().unwrap());
    let options = ["--write", "--agent", &agent, "--agent-model", "m"];
    let running = Running::start(&mut world.cogo(arguments(&options, &["sh", "-c", CHECK])));
    let _connection = silent.accept().unwrap();
    running.signal(Signal::INT);
    let ran = running.finish();
    assert_eq!(ran.code, Some(130), "{ran:?}");
    assert!(ran.stderr.contains("the workspace is as it was"), "{ran:?}");
    assert_eq!(read(&world, "answer.txt"), "answer = 41\n");
}

#[test]
fn a_server_repairs_as_a_job() {
    if strongest_tier() != "strict" {
        eprintln!("not run: repairs of a server need strict sandboxes, and this host has none");
        return;
    }
    let server = Server::start(&[]);
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::write(place.path().join("main.c"), BROKEN).unwrap();
    let request = json!({
        "jobId": "f1",
        "command": "gcc -Wall -Werror -c main.c",
        "workspace": place.path(),
        "write": true,
    });
    let taken = server.send("POST", "/fix-compilation", &request).unwrap();
    assert!(taken.status < 300, "{}", taken.head);
    await_condition("the end of the job", || {
        let status = server.get("/jobs/f1").unwrap().json();
        ["succeeded", "failed"].contains(&status["status"].as_str().unwrap_or_default())
    });
    let result = server.get("/jobs/f1/result").unwrap().json();
    assert!(
        result.to_string().contains("+int main(void) { printf("),
        "{result}"
    );
    let now = std::fs::read_to_string(place.path().join("main.c")).unwrap();
    assert_eq!(now, BROKEN.replace("prinf", "printf"));
}

/// A part of `tests/fixes`; all of it takes minutes.
#[test]
fn broken_projects_are_repaired() {
    let cases = [
        "python/missing-own-import",
        "python/open-bracket",
        "python/lint-unused-and-undefined",
        "c/missing-own-include",
        "c/cpp-const-method",
        "typescript/missing-import",
    ];
    let world = Fixture::new();
    let run = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixes/run");
    let output = std::process::Command::new(run)
        .arg(crate::fixture::program())
        .args(cases)
        .env("COGO_ISOLATION", strongest_tier())
        .env("COGO_STATE_DIR", world.state())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for case in cases {
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{case}: ")));
        let line = line.unwrap_or_else(|| panic!("{case} is not there: {text}"));
        if line.contains("not run") {
            eprintln!("{line}; tests/fixes/run --install gets it");
        } else {
            assert!(line.ends_with(": fixed"), "{text}");
        }
    }
}

/// What an endpoint answers.
#[derive(Clone)]
struct Answer {
    status: String,
    headers: String,
    body: String,
}

impl Answer {
    fn status(status: &str, headers: &str, body: &str) -> Self {
        Self {
            status: status.to_owned(),
            headers: headers.to_owned(),
            body: body.to_owned(),
        }
    }

    fn stream(body: &str) -> Self {
        Self::status("200 OK", "content-type: text/event-stream\r\n", body)
    }
}

#[derive(Clone, Debug)]
struct Asked {
    head: String,
    body: Value,
}

/// A local endpoint that gives these answers, one after the other.
struct Endpoint {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<Asked>>>,
}

impl Endpoint {
    fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let told = Arc::clone(&requests);
        std::thread::spawn(move || {
            for answer in answers {
                let (mut connection, _) = listener.accept().unwrap();
                told.lock().unwrap().push(respond(&mut connection, &answer));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<Asked> {
        self.requests.lock().unwrap().clone()
    }
}

/// Reads one request and answers it in chunks, as a stream comes.
fn respond(connection: &mut TcpStream, answer: &Answer) -> Asked {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).unwrap(), 0, "{head}");
    }
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let Answer {
        status,
        headers,
        body: text,
    } = answer;
    let head_out = format!(
        "HTTP/1.1 {status}\r\n{headers}transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    );
    connection.write_all(head_out.as_bytes()).unwrap();
    for piece in text.as_bytes().chunks(17) {
        let size = format!("{:x}\r\n", piece.len());
        // Who has read enough may have gone.
        let _ = connection.write_all(&[size.as_bytes(), piece, b"\r\n"].concat());
    }
    let _ = connection.write_all(b"0\r\n\r\n");
    Asked {
        head,
        body: serde_json::from_slice(&body).unwrap(),
    }
}
