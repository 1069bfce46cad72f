//! Real output of real runners, read without a hint and with one, in pieces of any size.

use cogo_protocol::record::Stream;
use proptest::prelude::*;

use super::*;

/// One line for each result: its status, the test, and what was said.
fn told(results: &[TestResult]) -> Vec<String> {
    let mut lines: Vec<String> = results
        .iter()
        .map(|result| {
            let message = result.message.as_deref().unwrap_or("");
            format!("{} | {} | {message}", result.status.name(), result.key)
        })
        .collect();
    lines.sort();
    lines
}

fn read(tool: Option<TestTool>, text: &str, piece: usize) -> (Option<TestTool>, Vec<String>) {
    let mut parser = TestParser::new(tool);
    for piece in text.as_bytes().chunks(piece) {
        parser.feed(Stream::Stdout, piece);
    }
    let seen = parser.seen();
    (seen, told(&parser.finish()))
}

/// With and without a hint, whole and in pieces, all the same.
fn expect(tool: TestTool, text: &str, expected: &[&str]) {
    let mut expected = expected.to_vec();
    expected.sort_unstable();
    for (hint, piece) in [(None, usize::MAX), (Some(tool), 7), (None, 1)] {
        let (seen, found) = read(hint, text, piece);
        assert_eq!(found, expected, "hint {hint:?}");
        assert!(seen.is_some());
    }
}

#[test]
fn libtest() {
    expect(
        TestTool::Libtest,
        include_str!("samples/libtest.txt"),
        &[
            "failed | demo tests::fails | assertion `left == right` failed: sums",
            "passed | demo (doc) src/lib.rs - two (line 2) | ",
            "passed | demo tests::adds | ",
            "passed | demo tests::panics | ",
            "skipped | demo tests::later | slow",
        ],
    );
}

#[test]
fn libtest_with_output_between() {
    let text = "     Running unittests src/lib.rs (target/debug/deps/demo-8348ca7a80742723)\n\
        test tests::talks ... hello\nmore\nok\ntest tests::slow has been running for over 60 seconds\n\
        test tests::dies ... ";
    expect(
        TestTool::Libtest,
        text,
        &[
            "passed | demo tests::talks | ",
            "unfinished | demo tests::dies | ",
            "unfinished | demo tests::slow | ",
        ],
    );
}

#[test]
fn nextest() {
    let text = include_str!("samples/nextest.txt");
    expect(
        TestTool::Nextest,
        text,
        &[
            "failed | demo tests::fails | assertion `left == right` failed: sums",
            "failed | demo::it exits | (test failed with exit code 3)",
            "passed | demo tests::adds | ",
            "passed | demo tests::panics | ",
            "passed | demo::it adds | ",
        ],
    );
    let mut parser = TestParser::new(None);
    parser.feed(Stream::Stderr, text.as_bytes());
    let results = parser.finish();
    let fails = results
        .iter()
        .find(|result| result.key.name == "tests::fails");
    let fails = fails.expect("the test");
    assert_eq!(fails.duration_ms, Some(77.0));
    assert!(
        fails
            .output
            .as_deref()
            .is_some_and(|output| output.contains("seen"))
    );
}

const PYTEST_FAILURES: [&str; 3] = [
    "failed | test_a.py test_bad | AssertionError: sums",
    "failed | test_a.py test_err | RuntimeError: no db",
    "failed | test_a.py test_par[a b] | AssertionError: assert 'a b' == 2",
];

#[test]
fn pytest() {
    // Dots have no names: what has failed is in the summary.
    expect(
        TestTool::Pytest,
        include_str!("samples/pytest.txt"),
        &PYTEST_FAILURES,
    );
    let rest = [
        "passed | test_a.py TestK::test_in | ",
        "passed | test_a.py test_ok | ",
        "passed | test_a.py test_par[2] | ",
        "skipped | test_a.py test_later | slow",
        "skipped | test_a.py test_x | ",
    ];
    let all = [&PYTEST_FAILURES[..], &rest].concat();
    expect(
        TestTool::Pytest,
        include_str!("samples/pytest-verbose.txt"),
        &all,
    );
}

#[test]
fn a_pytest_that_dies_names_its_test() {
    let text = "test_a.py::test_ok PASSED   [ 12%]\ntest_a.py::test_hang ";
    expect(
        TestTool::Pytest,
        text,
        &[
            "passed | test_a.py test_ok | ",
            "unfinished | test_a.py test_hang | ",
        ],
    );
}

#[test]
fn junit() {
    let text = include_str!("samples/junit.xml");
    let expected = [
        "failed | test_a test_bad | AssertionError: sums",
        "failed | test_a test_err | failed on setup with \"RuntimeError: no db\"",
        "failed | test_a test_par[a b] | AssertionError: assert 'a b' == 2",
        "passed | test_a test_ok | ",
        "passed | test_a test_par[2] | ",
        "passed | test_a.TestK test_in | ",
        "skipped | test_a test_later | slow",
        "skipped | test_a test_x | pytest.xfail",
    ];
    expect(TestTool::Junit, text, &expected);
    let results = read_report(text).expect("a report");
    let output = results[1].output.as_deref().expect("an output");
    assert!(output.contains(">       assert 1 == 2"), "{output}");
}

#[test]
fn what_is_written_as_junit_is_read_as_it_was() {
    let before = read_report(include_str!("samples/junit.xml")).expect("a report");
    let tests: Vec<Reported<'_>> = before
        .iter()
        .map(|result| Reported {
            result,
            failed_before: &before[1..2],
        })
        .collect();
    let mut text = Vec::new();
    write_junit(&mut text, "all", &tests).expect("a report");
    let text = String::from_utf8(text).expect("text");
    assert!(
        text.contains("<flakyFailure message=\"AssertionError: sums\""),
        "{text}"
    );
    let mut after = read_junit(&text).expect("XML");
    after.sort_by(|a, b| a.key.cmp(&b.key));
    let mut sorted = before.clone();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(after, sorted);
}

#[test]
fn go() {
    let text = "=== RUN   TestAdds\n--- PASS: TestAdds (0.00s)\n=== RUN   TestTable\n=== RUN   TestTable/odd\n    \
        shop_test.go:12: sums differ\n--- FAIL: TestTable (0.01s)\n    --- FAIL: TestTable/odd (0.01s)\n=== RUN   \
        TestLater\n    shop_test.go:20: slow\n--- SKIP: TestLater (0.00s)\nFAIL\nFAIL\texample.org/shop\t0.003s\n\
        ok  \texample.org/other\t0.1s\nFAIL\n";
    expect(
        TestTool::Go,
        text,
        &[
            "failed | example.org/shop TestTable | ",
            "failed | example.org/shop TestTable/odd | sums differ",
            "passed | example.org/shop TestAdds | ",
            "skipped | example.org/shop TestLater | ",
        ],
    );
    let events = r#"{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: no\n"}
{"Action":"fail","Package":"p","Test":"TestA","Elapsed":0.5}
{"Action":"run","Package":"p","Test":"TestHangs"}
{"Action":"fail","Package":"p","Elapsed":0.6}
"#;
    expect(
        TestTool::Go,
        events,
        &["failed | p TestA | no", "unfinished | p TestHangs | "],
    );
}

const JAVASCRIPT: [&str; 4] = [
    "failed | a.test.js outer > inner > fails (odd) | ",
    "passed | a.test.js outer > inner > adds | ",
    "passed | a.test.js top | ",
    "skipped | a.test.js outer > later | ",
];

#[test]
fn jest_and_vitest() {
    let mut jest = JAVASCRIPT;
    jest[0] = "failed | a.test.js outer > inner > fails (odd) | expect(received).toBe(expected) // Object.is equality";
    expect(TestTool::Jest, include_str!("samples/jest.txt"), &jest);
    let mut vitest = JAVASCRIPT;
    vitest[0] = "failed | a.test.js outer > inner > fails (odd) | AssertionError: expected 2 to be 3 // Object.is equality";
    expect(
        TestTool::Vitest,
        include_str!("samples/vitest.txt"),
        &vitest,
    );
}

#[test]
fn node() {
    let tests = [
        "passed | outer > adds | ",
        "passed | top | ",
        "passed | top > sub | ",
        "skipped | outer > later | ",
        "skipped | outer > someday | ",
    ];
    let with = |failures: [&'static str; 2]| [&failures[..], &tests].concat();
    expect(
        TestTool::NodeTest,
        include_str!("samples/node-tap.txt"),
        &with(["failed | broken | boom", "failed | outer > fails | 1 == 2"]),
    );
    // The reporter for people does not say whether a group is a test of its own.
    let mut spec = with([
        "failed | broken | Error: boom",
        "failed | outer > fails | AssertionError [ERR_ASSERTION]: 1 == 2",
    ]);
    spec.retain(|line| *line != "passed | top | ");
    expect(
        TestTool::NodeTest,
        include_str!("samples/node-spec.txt"),
        &spec,
    );
}

#[test]
fn tap() {
    let text = "TAP version 13\n1..4\nok 1 - opens\nnot ok 2 - closes\n  ---\n  message: 'no such file'\n  ...\n\
        ok 3 # SKIP no network\nnot ok 4 - later # TODO not written\n";
    expect(
        TestTool::Tap,
        text,
        &[
            "failed | closes | no such file",
            "passed | opens | ",
            "skipped |  | no network",
            "skipped | later | not written",
        ],
    );
}

#[test]
fn prose_has_no_tests() {
    let text = "ok then\nnot ok at all\ntest the waters\nPASS the salt\nERROR in the log - bad\n\
        error: could not compile `demo` (lib) due to 1 previous error\n✓ done\n";
    assert_eq!(read(None, text, usize::MAX).1, [] as [&str; 0]);
}

proptest! {
    #[test]
    fn any_lines_are_survived(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("test "), Just(" ... ok"), Just("\n"), Just("not ok 1"), Just("    "), Just("# Subtest: x"),
                Just("---"), Just("<testsuite>"), Just("<testcase name='a'>"), Just("</testsuite>"), Just("▶ x"),
                Just("✖ x (1ms)"), Just("FAIL "), Just("a.py::b"), Just("::"), Just(" FAILED"), Just("ü"),
                Just("________________________"), Just("=== RUN x"), Just("{\"Action\":1}"), Just(" [ 1s] "),
            ],
            0..60,
        ),
    ) {
        let text = parts.concat();
        let whole = read(None, &text, usize::MAX);
        prop_assert_eq!(whole, read(None, &text, 3));
    }
}
