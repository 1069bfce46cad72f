//! Secrets reach the command and nothing else.

use std::path::Path;

use crate::fixture::{Fixture, finish};

const VALUE: &str = "s3cret-hunter2-value";

/// Every file below a folder that holds the value.
fn leaks(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(leaks(&path));
        } else if let Ok(bytes) = std::fs::read(&path)
            && bytes
                .windows(VALUE.len())
                .any(|window| window == VALUE.as_bytes())
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_secret_reaches_the_command_and_no_log() {
    let fixture = Fixture::new();
    let copy = fixture.home().join("copy.log");
    let script =
        r#"[ "$TOKEN" = "s3cret-""hunter2-value" ] && echo "it is $TOKEN"; echo "$TOKEN" >&2"#;
    let options = ["--secret", "TOKEN", "--log", copy.to_str().unwrap()];
    let ran = finish(fixture.script(&options, script).env("TOKEN", VALUE));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("it is "), "{ran:?}");
    assert!(
        !ran.stdout.contains(VALUE) && !ran.stderr.contains(VALUE),
        "{ran:?}"
    );
    assert_eq!(leaks(&fixture.state()), [""; 0]);
    assert!(!std::fs::read_to_string(copy).unwrap().contains(VALUE));
}

#[test]
fn a_secret_comes_from_a_file_without_its_newline() {
    let fixture = Fixture::new();
    let file = fixture.home().join("token");
    std::fs::write(&file, format!("{VALUE}\n")).unwrap();
    let option = format!("TOKEN=@{}", file.display());
    let ran = finish(&mut fixture.script(&["-q", "--secret", &option], "echo ${#TOKEN}"));
    assert_eq!(ran.stdout, format!("{}\n", VALUE.len()));
    assert_eq!(leaks(&fixture.state()), [""; 0]);
}

#[test]
fn the_callers_environment_stays_outside() {
    let fixture = Fixture::new();
    let mut run = fixture.run(&["-q", "--env", "GIVEN=1", "--env", "TAKEN"], &["env"]);
    let ran = finish(
        run.env("TAKEN", "2")
            .env("GITHUB_TOKEN", "x")
            .env("LANG", "C.UTF-8"),
    );
    let lines: Vec<&str> = ran.stdout.lines().collect();
    for line in [
        "GIVEN=1",
        "TAKEN=2",
        "LANG=C.UTF-8",
        "PATH=/usr/local/bin:/usr/bin:/bin",
    ] {
        assert!(lines.contains(&line), "{line} in {lines:?}");
    }
    assert!(!ran.stdout.contains("GITHUB_TOKEN"));
    assert!(!ran.stdout.contains("COGO_STATE_DIR"));
}
