//! Clients in other languages, which lie in `tests/clients`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use super::fixture::WorkerFixture;
use crate::fixture::strongest_tier;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Where the clients are started.
fn script() -> PathBuf {
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
fn run(language: &str) {
    if !is_usable(language) {
        eprintln!("skipped: this user cannot run the client in {language}");
        return;
    }
    let place = WorkerFixture::new();
    let file = place.fixture.home().join("token");
    std::fs::write(&file, TOKEN).unwrap();
    let often = ["--heartbeat", "1s"];
    check(language, &place, &often, None);
    let token_file = ["--token-file", file.to_str().unwrap()];
    check(
        language,
        &place,
        &[&often[..], &token_file].concat(),
        Some(TOKEN),
    );
}

fn check(language: &str, place: &WorkerFixture, options: &[&str], token: Option<&str>) {
    let worker = place.start(options);
    let output = Command::new(script())
        .args([language, &worker.url])
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
    assert!(said.contains("\nok 11 - "), "{said}");
}

#[test]
fn a_client_in_node_agrees() {
    run("node");
}

#[test]
fn a_client_in_python_agrees() {
    run("python");
}
