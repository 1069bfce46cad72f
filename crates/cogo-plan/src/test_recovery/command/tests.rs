use super::*;

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn recognized(line: &str) -> Option<TestCommand> {
    TestCommand::recognize(&words(line), Path::new("/nowhere"))
}

fn only(line: &str, tests: &[(&str, &str)]) -> String {
    let keys: Vec<TestKey> = tests
        .iter()
        .map(|(suite, name)| TestKey::new(*suite, *name))
        .collect();
    let command = recognized(line).expect("a runner");
    command.only(&keys).expect("a selector").join(" ")
}

#[test]
fn runners_are_known_by_their_commands() {
    let cases = [
        ("cargo test", TestTool::Libtest),
        ("cargo +nightly test --lib", TestTool::Libtest),
        ("cargo nextest run", TestTool::Nextest),
        ("/venv/bin/pytest -q", TestTool::Pytest),
        ("python3.12 -m pytest", TestTool::Pytest),
        ("uv run pytest", TestTool::Pytest),
        ("go test ./...", TestTool::Go),
        ("npx jest", TestTool::Jest),
        ("pnpm exec vitest run", TestTool::Vitest),
        ("node --test", TestTool::NodeTest),
    ];
    for (line, tool) in cases {
        assert_eq!(
            recognized(line).map(|command| command.tool),
            Some(tool),
            "{line}"
        );
        let shell = ["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()];
        let command = TestCommand::recognize(&shell, Path::new("/nowhere"));
        assert_eq!(command.map(|command| command.tool), Some(tool), "{line}");
    }
    for line in ["make test", "cargo build", "npm install", "node server.js"] {
        assert_eq!(recognized(line), None, "{line}");
    }
    let piped = [
        "sh".to_owned(),
        "-c".to_owned(),
        "pytest | tee log".to_owned(),
    ];
    assert_eq!(TestCommand::recognize(&piped, Path::new("/nowhere")), None);
}

#[test]
fn scripts_of_npm_are_looked_up() {
    let place = tempfile::tempdir().expect("a folder");
    let package = r#"{"scripts": {"test": "jest --ci", "lint": "eslint ."}}"#;
    std::fs::write(place.path().join("package.json"), package).expect("a file");
    let command = TestCommand::recognize(&words("npm test"), place.path()).expect("a runner");
    assert_eq!(command.all().join(" "), "npm test -- --verbose");
    let only = command
        .only(&[TestKey::new("a.test.js", "adds")])
        .expect("a selector");
    assert_eq!(only.join(" "), "npm test -- --verbose -t ^(adds)$");
    assert_eq!(
        TestCommand::recognize(&words("npm run lint"), place.path()),
        None
    );
}

#[test]
fn all_tests_are_run_and_named() {
    let all = |line: &str| recognized(line).expect("a runner").all().join(" ");
    assert_eq!(
        all("cargo test -p x -- a"),
        "cargo test -p x --no-fail-fast -- a"
    );
    assert_eq!(all("pytest -x tests"), "pytest tests -v --durations=0");
    assert_eq!(all("pytest -v"), "pytest -v --durations=0");
    assert_eq!(all("go test -json ./..."), "go test -json ./...");
    assert_eq!(
        all("node --test a.mjs"),
        "node --test-reporter=tap --test a.mjs"
    );
}

#[test]
fn each_runner_is_asked_in_its_words() {
    let one = [("demo", "tests::a"), ("demo", "tests::b")];
    assert_eq!(
        only("cargo test -p x -- --nocapture", &one),
        "cargo test -p x --no-fail-fast -- --nocapture --exact tests::a tests::b"
    );
    assert_eq!(
        only("cargo nextest run -E all() -p x", &[("demo::it", "a")]),
        "cargo nextest run -p x --no-fail-fast -E (binary_id(=demo::it) & test(=a))"
    );
    assert_eq!(
        only(
            "pytest -k slow tests other.py",
            &[("tests/a.py", "T::x[1]")]
        ),
        "pytest -k slow -v --durations=0 tests/a.py::T::x[1]"
    );
    assert_eq!(
        only(
            "go test -run Test ./...",
            &[("p", "TestA/sub"), ("p", "TestB")]
        ),
        "go test -run=^(TestA|TestB)$ -count=1 -v ./..."
    );
    assert_eq!(
        only("node --test a.mjs", &[("", "outer > a.b")]),
        "node --test-name-pattern=/(^|\\s)a\\.b$/ --test-reporter=tap --test a.mjs"
    );
}
