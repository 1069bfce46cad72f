//! Output comes in pieces, on two streams, with pauses.

use std::fs;

use cogo_plan::diagnostic::{Diagnostic, Parser};
use cogo_protocol::record::Stream;

use crate::{lines, parsed, recordings};

fn in_pieces(output: &[u8], size: usize) -> Vec<Diagnostic> {
    let mut parser = Parser::new(None);
    let mut found = Vec::new();
    for piece in output.chunks(size) {
        found.extend(parser.feed(Stream::Stderr, piece));
    }
    found.extend(parser.finish());
    found
}

#[test]
fn pieces_give_the_same_as_the_whole() {
    for file in recordings() {
        let output = fs::read(&file).expect("a recording");
        for size in [1, 7, 64] {
            let found = in_pieces(&output, size);
            assert_eq!(found, parsed(&output), "{} in {size}", file.display());
        }
    }
}

#[test]
fn ends_of_lines_do_not_matter() {
    for file in recordings() {
        let output = fs::read_to_string(&file).expect("a recording");
        let found = parsed(output.replace('\n', "\r\n").as_bytes());
        assert_eq!(
            lines(&found),
            lines(&parsed(output.as_bytes())),
            "{}",
            file.display()
        );
    }
}

#[test]
fn a_line_is_told_with_its_last_byte() {
    let mut parser = Parser::new(None);
    let line = b"a.js:3:5: Missing semicolon. [Error/semi]\n";
    let (last, before) = line.split_last().expect("a line");
    assert!(parser.feed(Stream::Stdout, before).is_empty());
    assert_eq!(parser.feed(Stream::Stdout, &[*last]).len(), 1);
}

#[test]
fn a_pause_tells_what_may_go_on() {
    let mut parser = Parser::new(None);
    let mut feed = |text: &str| parser.feed(Stream::Stderr, text.as_bytes()).len();
    assert_eq!(feed("error[E0308]: mismatched types\n"), 0);
    assert_eq!(feed(" --> src/a.rs:2:3\n  |\n"), 0);
    assert_eq!(parser.idle().len(), 1);
    assert!(parser.idle().is_empty(), "told twice");
    let rest = parser.feed(Stream::Stderr, b"2 |  x\n  |  ^ expected\n\n");
    assert!(
        rest.is_empty(),
        "the rest belongs to what was told: {rest:?}"
    );
    assert!(parser.finish().is_empty());
}

#[test]
fn a_pause_does_not_tell_half_a_diagnostic() {
    let mut parser = Parser::new(None);
    parser.feed(Stream::Stderr, b"error[E0308]: mismatched types\n");
    assert!(parser.idle().is_empty(), "nobody knows where");
    parser.feed(Stream::Stderr, b" --> src/a.rs:2:3\n\n");
    let found = parser.feed(Stream::Stderr, b"error[E0308]: mismatched types\n");
    assert!(found.is_empty(), "told at the blank line, not now");
}

#[test]
fn streams_do_not_mix() {
    let mut parser = Parser::new(None);
    let mut found = Vec::new();
    for (stream, text) in [
        (Stream::Stderr, "error[E0308]: mismatched"),
        (Stream::Stdout, "a.js:3:5: Missing semicolon."),
        (Stream::Stderr, " types\n --> src/a.rs:2:3\n"),
        (Stream::Stdout, " [Error/semi]\n"),
    ] {
        found.extend(parser.feed(stream, text.as_bytes()));
    }
    found.extend(parser.finish());
    assert_eq!(
        lines(&found),
        "eslint: a.js:3:5: error[semi]: Missing semicolon.\n\
         rustc: src/a.rs:2:3: error[E0308]: mismatched types\n"
    );
}

#[test]
fn what_was_misread_is_read_again() {
    let text = "error: something\nsrc/a.c:3:1: error: expected ';'\n";
    assert_eq!(
        lines(&parsed(text.as_bytes())),
        "gcc: src/a.c:3:1: error: expected ';'\n"
    );
}

#[test]
fn the_command_settles_what_a_line_does_not() {
    let line = b"a.c(3): warning C1: x\n";
    let tool = |command| {
        let found = Parser::new(command).parse(line);
        found.first().map(|found| found.tool.clone())
    };
    assert_eq!(tool(None).as_deref(), Some("msbuild"));
    assert_eq!(
        tool(Some("/usr/bin/dotnet build")).as_deref(),
        Some("msbuild")
    );
}

#[test]
fn prefixes_of_other_programs_are_no_part_of_a_line() {
    for prefix in [
        "[javac] ",
        "2026-11-24T18:00:01.123Z ",
        "#12 0.345 ",
        "  3>",
        "08:52:34 ",
    ] {
        let line = format!("{prefix}src/a.c:3:1: error: expected ';'\n");
        assert_eq!(
            lines(&parsed(line.as_bytes())),
            "gcc: src/a.c:3:1: error: expected ';'\n",
            "behind `{prefix}`"
        );
    }
}

#[test]
fn ordinary_output_says_nothing() {
    let text = "\
        2026-11-24T18:12:30.001Z INFO  [http] request handled id=4711 in 12 ms\n\
        [12/400] Building CXX object src/CMakeFiles/app.dir/main.cpp.o\n\
        \x20  Compiling serde v1.0.228\n\
        {\"level\":\"info\",\"message\":\"listening\",\"port\":8080}\n\
        Downloading https://example.org:443/x.tar.gz 12:30:45\n\
        test result: ok. 12 passed; 0 failed\n\
        gcc -O2 -Wall -Iinclude -c src/a.c -o build/a.o\n";
    assert_eq!(lines(&parsed(text.as_bytes())), "");
}

#[test]
fn test_events_of_go_are_read_through() {
    let text = r#"{"Action":"start","Package":"app"}
{"Action":"output","Package":"app","Test":"TestA","Output":"    a_test.go:12: want 3, "}
{"Action":"output","Package":"app","Test":"TestA","Output":"got 4\n"}
{"Action":"fail","Package":"app","Test":"TestA","Elapsed":0}
"#;
    assert_eq!(
        lines(&parsed(text.as_bytes())),
        "go: a_test.go:12: error: want 3, got 4\n"
    );
}
