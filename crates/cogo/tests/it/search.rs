//! `cogo search`, from the command line.

use std::path::Path;
use std::process::{Command, Output};

fn search(state: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cogo"))
        .arg("--state-dir")
        .arg(state)
        .arg("search")
        .args(arguments)
        .env_remove("COGO_MODEL_DIR")
        .output()
        .unwrap()
}

fn repository() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let text = "def renew_lease(worker):\n    return worker.lease + 1\n\n\
                def write_log_line(line):\n    print(line)\n";
    std::fs::write(directory.path().join("leases.py"), text).unwrap();
    directory
}

#[test]
fn a_function_is_found_by_words_and_told_as_json() {
    let (state, repository) = (tempfile::tempdir().unwrap(), repository());
    let root = repository.path().to_str().unwrap();
    let output = search(state.path(), &["--repo", root, "where is a lease renewed"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("leases.py:1  function renew_lease\n"),
        "{text}"
    );
    let note = String::from_utf8(output.stderr).unwrap();
    assert!(note.contains("words alone"), "{note}");
    assert_eq!(output.status.code(), Some(0));

    std::fs::write(
        repository.path().join("leases.py"),
        "# none\n\ndef log_line(): pass\n",
    )
    .unwrap();
    let output = search(
        state.path(),
        &["--repo", root, "--lexical", "--json", "log", "lines"],
    );
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["mode"], "lexical");
    assert_eq!(answer["hits"][0]["symbol"], "log_line");
    assert_eq!(answer["hits"][0]["line"], 3);
    assert!(output.stderr.is_empty());
}

#[test]
fn nothing_found_and_nothing_to_ask_are_told() {
    let (state, repository) = (tempfile::tempdir().unwrap(), repository());
    let root = repository.path().to_str().unwrap();
    let nothing = search(state.path(), &["--repo", root, "--lexical", "absent"]);
    assert_eq!(nothing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("nothing was found"));
    let semantic = search(state.path(), &["--repo", root, "--semantic", "lease"]);
    assert_eq!(semantic.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&semantic.stderr).contains("--fetch-model"));
}

#[test]
fn a_url_that_cannot_be_cloned_is_told_with_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let url = format!("http://me:s3cret@{address}/x.git");
    let output = search(state.path(), &["--repo", &url, "--lexical", "lease"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        error.contains("failed to reach") && error.contains("hint:"),
        "{error}"
    );
    assert!(!error.contains("s3cret"), "{error}");
}
