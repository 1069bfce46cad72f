//! Clients in other languages, which lie in `tests/clients`, against a worker and a manager; and a
//! checker of the HTTP interface, which knows of it what the served document says.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::fixture::{finish, strongest_tier};
use crate::server::fixture::{API, Server};
use crate::worker::fixture::WorkerFixture;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";
/// Fewer checks than this are no client of ours.
const CHECKS_MIN: usize = 15;

/// Where the clients are started.
pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/run")
}

/// Whether this user can run the client. Root installs it and must; another user may not be able to
/// read root's interpreter or this checkout, and the client is the same for both.
fn is_usable(language: &str) -> bool {
    rustix::process::geteuid().is_root()
        || Command::new(script())
            .arg(language)
            .status()
            .is_ok_and(|status| status.success())
}

/// Runs a client against a bare worker, without and with a token.
fn drive_worker(language: &str) {
    if !is_usable(language) {
        eprintln!("skipped: this user cannot run the client in {language}");
        return;
    }
    let place = WorkerFixture::new();
    let file = place.fixture.home().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let often = ["--heartbeat", "1s"];
    check(language, &place.start(&often).url, None);
    let token_file = ["--token-file", file.to_str().unwrap()];
    let worker = place.start(&[&often[..], &token_file].concat());
    check(language, &worker.url, Some(TOKEN));
}

/// Runs the same client through a manager, without and with a token.
fn drive_manager(language: &str) {
    if !is_usable(language) {
        eprintln!("skipped: this user cannot run the client in {language}");
        return;
    }
    let server = Server::start(&["--workers", "1", "--heartbeat", "1s"]);
    server.await_workers(1);
    let url = format!("ws://{}{API}/connect", server.address);
    check(language, &url, None);
    let mut create = (server.world).cogo(["token", "create", "client", "--scope", "submit"]);
    let created = finish(&mut create);
    assert_eq!(created.code, Some(0), "{created:?}");
    check(language, &url, Some(created.stdout.trim()));
}

fn check(language: &str, url: &str, token: Option<&str>) {
    let output = Command::new(script())
        .args([language, url])
        .args(token)
        .env(
            "COGO_CLIENT_FIELDS",
            json!({ "isolation": strongest_tier() }).to_string(),
        )
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    let passed = said.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(passed >= CHECKS_MIN, "{said}");
}

#[test]
fn a_client_in_node_drives_a_worker() {
    drive_worker("node");
}

#[test]
fn a_client_in_python_drives_a_worker() {
    drive_worker("python");
}

#[test]
fn a_client_in_node_drives_a_manager() {
    drive_manager("node");
}

#[test]
fn a_client_in_python_drives_a_manager() {
    drive_manager("python");
}

#[test]
fn the_http_interface_is_as_its_document_says() {
    let checker = "schemathesis";
    let install = Command::new(script()).arg(checker).output().unwrap();
    if !install.status.success() {
        let why = String::from_utf8_lossy(&install.stderr);
        eprintln!("skipped: {checker} cannot be installed here: {why}");
        return;
    }
    let server = Server::start(&["--workers", "0"]);
    server.submit("waiting", "true");
    let mut create = (server.world).cogo(["token", "create", "checker", "--scope", "admin"]);
    let created = finish(&mut create);
    assert_eq!(created.code, Some(0), "{created:?}");
    let output = Command::new(script())
        .args([checker, &format!("http://{}", server.address)])
        .arg(created.stdout.trim())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    // It has checked something.
    assert!(said.contains("Test cases:"), "{said}");
    let log = server.log();
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}
