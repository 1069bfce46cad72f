//! Bad input: one clear error with an exact code, and nothing started.

use crate::fixture::{Fixture, finish};

/// Runs `cogo` with these arguments and expects this code and this on stderr.
fn refused(fixture: &Fixture, arguments: &[&str], code: i32, message: &str) {
    let ran = finish(&mut fixture.cogo(arguments.iter().copied()));
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(code), message),
        "{arguments:?}"
    );
    assert_eq!(ran.stdout, "");
    assert!(
        !fixture
            .state()
            .join("execs")
            .read_dir()
            .is_ok_and(|mut execs| execs.next().is_some())
    );
}

#[test]
fn a_missing_command_is_explained() {
    refused(
        &Fixture::new(),
        &["run"],
        125,
        "error: the following required arguments were not provided:\n  <COMMAND>...\n\n\
         Usage: cogo run [OPTIONS] -- COMMAND...\n\nFor more information, try '--help'.\n",
    );
}

#[test]
fn a_misspelled_option_gets_a_suggestion() {
    refused(
        &Fixture::new(),
        &["run", "--memry", "1GiB", "--", "true"],
        125,
        "error: unexpected argument '--memry' found\n\n  tip: a similar argument exists: \
         '--memory'\n  tip: to pass '--memry' as a value, use '-- --memry'\n\n\
         Usage: cogo run [OPTIONS] -- COMMAND...\n\nFor more information, try '--help'.\n",
    );
}

#[test]
fn usage_errors_of_other_commands_have_the_usual_code() {
    refused(
        &Fixture::new(),
        &["ps", "--bogus"],
        2,
        "error: unexpected argument '--bogus' found\n\nUsage: cogo ps [OPTIONS]\n\n\
         For more information, try '--help'.\n",
    );
}

#[test]
fn amounts_say_how_to_write_them() {
    let fixture = Fixture::new();
    let cases = [
        (["--memory", "lots"], "write it like `512MiB`"),
        (["--cpus", "0"], "must be more"),
        (["--timeout", "10"], "has no unit; write it like"),
        (
            ["--timeout", "0s"],
            "a time to stop after must be more than zero",
        ),
        (["--pids", "0"], "0 is not in 1..=4294967295"),
        (
            ["--net", "some"],
            "write `none`, `host` or `allow:example.com,example.org`",
        ),
        (
            ["--isolation", "weak"],
            "possible values: strict, standard, none",
        ),
    ];
    for (option, message) in cases {
        let ran =
            finish(&mut fixture.cogo(["run"].into_iter().chain(option).chain(["--", "true"])));
        assert_eq!(ran.code, Some(125), "{option:?}");
        assert!(
            ran.stderr.starts_with("error: invalid value"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains(message), "{}", ran.stderr);
    }
}

#[test]
fn a_workspace_that_holds_too_much_is_refused() {
    let fixture = Fixture::new();
    let home = fixture.home();
    let state = fixture.state();
    let above = home.parent().unwrap();
    let hint = "hint: change into a project's directory, or name one with --workspace\n";
    let cases = [
        ("/", "is the root of the file system"),
        ("/etc", "is a directory of the system"),
        (home.to_str().unwrap(), "is the home directory"),
        (above.to_str().unwrap(), "holds the home directory"),
        (state.to_str().unwrap(), "holds cogo's state directory"),
    ];
    for (path, problem) in cases {
        let message = format!("error: workspace `{path}` {problem}\n{hint}");
        refused(&fixture, &["run", "-w", path, "--", "true"], 125, &message);
    }
}

#[test]
fn a_missing_workspace_is_named() {
    refused(
        &Fixture::new(),
        &["run", "--workspace", "/nonexistent", "--", "true"],
        125,
        "error: failed to open workspace `/nonexistent`: No such file or directory (os error 2)\n\
         hint: change into a project's directory, or name one with --workspace\n",
    );
}

#[test]
fn contradictions_are_refused() {
    let fixture = Fixture::new();
    refused(
        &fixture,
        &[
            "run",
            "--net",
            "host",
            "--net-allow",
            "example.com",
            "--",
            "true",
        ],
        125,
        "error: --net host and --net-allow contradict each other\n\
         hint: drop --net host to reach the listed domains only\n",
    );
    refused(
        &fixture,
        &["run", "--pty", "--json", "--", "true"],
        125,
        "error: --pty and --json contradict each other: a terminal has one stream\n\
         hint: drop one of them\n",
    );
}

#[test]
fn options_that_exclude_each_other_are_refused() {
    let fixture = Fixture::new();
    for (one, other) in [("--copy", "--read-only"), ("--detach", "--log <FILE>")] {
        let given = other.replace(" <FILE>", "=file");
        let message = format!(
            "error: the argument '{one}' cannot be used with '{other}'\n\n\
             Usage: cogo run [OPTIONS] -- COMMAND...\n\nFor more information, try '--help'.\n"
        );
        refused(&fixture, &["run", one, &given, "--", "true"], 125, &message);
    }
}

#[test]
fn limits_below_what_can_work_name_the_least() {
    let fixture = Fixture::new();
    for (option, problem) in [
        (
            "--memory=1MiB",
            "memory limit 1 MiB is below the minimum 4 MiB",
        ),
        (
            "--disk=1KiB",
            "disk limit 1 KiB is below the minimum 64 KiB",
        ),
        (
            "--log-size=1KiB",
            "log limit 1 KiB is below the minimum 16 KiB",
        ),
    ] {
        let message = format!("error: {problem}\nhint: raise the limit or leave it out\n");
        refused(&fixture, &["run", option, "--", "true"], 125, &message);
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let fixture = Fixture::new();
    let file = fixture.workspace().join("file");
    std::fs::write(&file, "").unwrap();
    let file = file.to_str().unwrap();
    refused(
        &fixture,
        &["run", "-w", file, "--", "true"],
        125,
        &format!(
            "error: workspace `{file}` is not a directory\n\
             hint: change into a project's directory, or name one with --workspace\n"
        ),
    );
    for (option, problem) in [
        (
            "--log=/nowhere/log",
            "failed to create log file `/nowhere/log`",
        ),
        (
            "--secret=A=@/nowhere",
            "failed to read secret `A` from `/nowhere`",
        ),
    ] {
        let message = format!("error: {problem}: No such file or directory (os error 2)\n");
        refused(&fixture, &["run", option, "--", "true"], 125, &message);
    }
}

#[test]
fn an_empty_command_is_refused() {
    refused(
        &Fixture::new(),
        &["run", "--", ""],
        125,
        "error: the command is an empty string\nhint: name a program to run\n",
    );
}

#[test]
fn an_unknown_signal_is_refused() {
    refused(
        &Fixture::new(),
        &["kill", "--signal", "BOGUS", "last"],
        2,
        "error: invalid value 'BOGUS' for '--signal <SIGNAL>': not a signal; write a name such as \
         INT, or a number\n\nFor more information, try '--help'.\n",
    );
}

#[test]
fn no_isolation_has_no_copy() {
    let ran = finish(&mut Fixture::new().cogo(["run", "--isolation=none", "--copy", "--", "true"]));
    assert_eq!(ran.code, Some(125));
    assert!(
        ran.stderr
            .starts_with("error: isolation `none` runs on the host itself: "),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("\nhint: use isolation `standard`"),
        "{ran:?}"
    );
}

#[test]
fn an_allow_list_is_checked_before_the_start() {
    let ran =
        finish(&mut Fixture::new().cogo(["run", "--net-allow", "https://x.org/", "--", "true"]));
    assert_eq!(ran.code, Some(125));
    assert!(
        ran.stderr
            .starts_with("error: allow-list entry \"https://x.org/\" has a scheme")
    );
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    refused(
        &Fixture::new(),
        &["run", "--secret", "TOKEN=hunter2", "--", "true"],
        125,
        "error: the value of secret `TOKEN` is on the command line, where everyone can read it\n\
         hint: use --secret TOKEN to take it from the environment, or --secret TOKEN=@FILE\n",
    );
}

#[test]
fn variables_that_are_not_set_are_named() {
    refused(
        &Fixture::new(),
        &["run", "--env", "MISSING", "--", "true"],
        125,
        "error: variable `MISSING` is not set here, so there is no value to pass on\n\
         hint: set it first: export MISSING=…\n",
    );
}

#[test]
fn a_path_to_expose_has_to_exist() {
    refused(
        &Fixture::new(),
        &["run", "--expose", "/nonexistent", "--", "true"],
        125,
        "error: failed to expose `/nonexistent`: No such file or directory (os error 2)\n",
    );
}

#[test]
fn an_unknown_exec_is_named() {
    let fixture = Fixture::new();
    for (command, code) in [("logs", 1), ("kill", 1), ("attach", 125), ("wait", 125)] {
        refused(
            &fixture,
            &[command, "nothing"],
            code,
            "error: there is no exec `nothing`\n\
             hint: `cogo ps --all` lists the execs of this state directory\n",
        );
    }
}

#[test]
fn a_state_directory_that_cannot_be_made_gets_a_hint() {
    refused(
        &Fixture::new(),
        &["--state-dir", "/dev/null/x", "ps"],
        1,
        "error: failed to create `/dev/null/x/execs`: Not a directory (os error 20)\n\
         hint: name another directory with --state-dir or COGO_STATE_DIR\n",
    );
}

#[test]
fn help_is_no_error_and_names_the_exit_codes() {
    let ran = finish(&mut Fixture::new().cogo(["run", "--help"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    for part in [
        "Exit codes:",
        "123  nobody saw how it ended",
        "--net-allow",
        "Examples:",
    ] {
        assert!(ran.stdout.contains(part), "{part}");
    }
}
