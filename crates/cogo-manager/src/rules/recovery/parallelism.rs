//! Fewer things at once.
//!
//! First by the knobs of the tools that the command line names, where one of them is known to run
//! things beside each other. Then for whatever it may start: one processor, which is all that the
//! program sees, and the variables of all tools.

mod tools;
mod words;

use std::collections::BTreeMap;

use cogo_protocol::command::CommandRequest;
use cogo_protocol::recovery::{Adjustment, AlternativeCommand};

use self::tools::{OPTIONS, VARIABLES};
use self::words::Rewritten;
use super::command::appended;

pub(super) fn plan(failed: &CommandRequest) -> Option<(Adjustment, String)> {
    by_name(failed).or_else(|| for_all(failed))
}

/// The tools that the command names.
fn by_name(failed: &CommandRequest) -> Option<(Adjustment, String)> {
    let (command, rewritten) = match (&failed.argv, &failed.command) {
        (Some(argv), _) => {
            let (argv, rewritten) = words::in_argv(argv);
            (AlternativeCommand::Argv(argv), rewritten)
        }
        (None, Some(line)) => {
            let (line, rewritten) = words::in_line(line);
            (AlternativeCommand::Line(line), rewritten)
        }
        (None, None) => return None,
    };
    let Rewritten { tools, changed } = rewritten;
    let mut env = BTreeMap::new();
    for tool in &tools {
        for (name, value) in tool.variables {
            env.insert((*name).to_owned(), (*value).to_owned());
        }
        for (name, option) in tool.options {
            env.insert((*name).to_owned(), appended(failed, name, option));
        }
    }
    let obeys = |tool: &&&tools::Tool| tool.is_parallel && !tool.variables.is_empty();
    let has_effect = changed || tools.iter().any(|tool| obeys(&tool));
    if !has_effect || (!changed && is_set(failed, &env)) {
        return None;
    }
    let names: Vec<&str> = tools.iter().map(|tool| tool.names[0]).collect();
    let note = format!("with one thing at once in {}", names.join(" and "));
    let change = Adjustment {
        env,
        command: changed.then_some(command),
        ..Adjustment::default()
    };
    Some((change, note))
}

/// Whatever the command starts.
fn for_all(failed: &CommandRequest) -> Option<(Adjustment, String)> {
    let mut env: BTreeMap<String, String> = (VARIABLES.iter())
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    for (name, option) in OPTIONS {
        env.insert(name.to_owned(), appended(failed, name, option));
    }
    let cores = failed.limits.cpus.filter(|cores| *cores <= 1.0);
    if cores.is_some() && is_set(failed, &env) {
        return None;
    }
    let change = Adjustment {
        env,
        cpus: Some(cores.unwrap_or(1.0)),
        ..Adjustment::default()
    };
    Some((
        change,
        "with one processor and one thing at once".to_owned(),
    ))
}

fn is_set(failed: &CommandRequest, env: &BTreeMap<String, String>) -> bool {
    (env.iter()).all(|(name, value)| failed.env.get(name) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> String {
        let request = CommandRequest {
            command: Some(line.to_owned()),
            ..CommandRequest::default()
        };
        match by_name(&request) {
            Some((change, _)) => match change.command {
                Some(AlternativeCommand::Line(line)) => line,
                Some(AlternativeCommand::Argv(_)) => panic!("a line stays a line"),
                None => "by variables".to_owned(),
            },
            None => "not by name".to_owned(),
        }
    }

    #[test]
    fn flags_of_known_tools_are_rewritten() {
        for (line, expected) in [
            ("make -j8 all", "make -j1 all"),
            ("make -j 8 all", "make -j1 all"),
            ("make -j", "make -j1"),
            ("(make -j 8; ls -j 8)", "(make -j1; ls -j 8)"),
            ("make -j$(nproc) all", "make -j1 all"),
            ("make --jobs=8", "make --jobs=1"),
            ("make --jobs 8 x", "make --jobs=1 x"),
            ("cd src && make -j4; ls -j4", "cd src && make -j1; ls -j4"),
            (
                "./configure && /usr/bin/make -j16",
                "./configure && /usr/bin/make -j1",
            ),
            ("make all", "not by name"),
            ("make -j1", "not by name"),
            ("make -j 1", "not by name"),
            ("ninja -j1", "not by name"),
            ("ninja", "ninja -j1"),
            ("ninja -C out", "ninja -j1 -C out"),
            ("ninja -j 20 -C out", "ninja -j1 -C out"),
            ("cargo test", "by variables"),
            ("cargo build -j 4", "cargo build -j1"),
            (
                "cargo test -- --test-threads=8",
                "cargo test -- --test-threads=1",
            ),
            ("python3 -m pytest -n auto -q", "python3 -m pytest -n1 -q"),
            ("pytest -n4", "pytest -n1"),
            ("pytest -q", "not by name"),
            ("go test ./...", "by variables"),
            ("go test -p 4 ./...", "go test -p=1 ./..."),
            ("./gradlew test", "by variables"),
            ("gradle --max-workers=8 test", "gradle --max-workers=1 test"),
            ("mvn -T 4 verify", "mvn -T1 verify"),
            ("mvn -T1C verify", "mvn -T1 verify"),
            ("mvn verify", "not by name"),
            ("node --test", "node --test --test-concurrency=1"),
            (
                "node --test-concurrency=4 --test",
                "node --test-concurrency=1 --test",
            ),
            ("node app.js", "not by name"),
            ("npx jest src", "npx jest --maxWorkers=1 src"),
            ("npx jest -w 4 src", "npx jest --maxWorkers=1 src"),
            ("ls | xargs -P8 -n1 gcc", "ls | xargs -P1 -n1 gcc"),
            ("ctest -j8", "ctest -j1"),
            ("npm test", "not by name"),
            ("./build.sh -j8", "not by name"),
            ("echo 'make -j8'", "not by name"),
        ] {
            assert_eq!(rewritten(line), expected, "{line}");
        }
    }

    #[test]
    fn arguments_are_rewritten_as_they_are() {
        let argv = ["make", "-j", "8", "all"].map(str::to_owned);
        let request = CommandRequest {
            argv: Some(argv.to_vec()),
            ..CommandRequest::default()
        };
        let (change, _) = plan(&request).unwrap();
        let expected = ["make", "-j1", "all"].map(str::to_owned).to_vec();
        assert_eq!(change.command, Some(AlternativeCommand::Argv(expected)));
        let shell = ["sh", "-c", "make -j8 && echo done"].map(str::to_owned);
        let request = CommandRequest {
            argv: Some(shell.to_vec()),
            ..CommandRequest::default()
        };
        let (change, _) = plan(&request).unwrap();
        let expected = ["sh", "-c", "make -j1 && echo done"].map(str::to_owned);
        let expected = AlternativeCommand::Argv(expected.to_vec());
        assert_eq!(change.command, Some(expected));
    }

    #[test]
    fn options_of_the_task_are_kept() {
        let request = CommandRequest {
            command: Some("go test ./...".to_owned()),
            env: [("GOFLAGS".to_owned(), "-mod=vendor".to_owned())].into(),
            ..CommandRequest::default()
        };
        let (change, _) = plan(&request).unwrap();
        assert_eq!(change.env["GOFLAGS"], "-mod=vendor -p=1");
    }

    #[test]
    fn one_processor_is_the_last_step() {
        let mut request = CommandRequest {
            command: Some("./build.sh".to_owned()),
            ..CommandRequest::default()
        };
        let (change, _) = plan(&request).unwrap();
        assert_eq!(change.cpus, Some(1.0));
        assert_eq!(change.env["CARGO_BUILD_JOBS"], "1");
        request.env = change.env;
        request.limits.cpus = change.cpus;
        assert_eq!(plan(&request), None);
        request.limits.cpus = Some(0.5);
        assert_eq!(plan(&request), None, "and it is never raised");
    }
}
