//! Commands that run tests: which runner it is, and how to ask it for some of its tests only.

use std::path::Path;

use serde_json::Value;

use crate::test_results::{TestKey, TestTool};

mod selector;

/// A command whose runner is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestCommand {
    /// The runner.
    pub tool: TestTool,
    /// The command as it was given, without a shell around it.
    argv: Vec<String>,
    /// Where in `argv` the runner's own arguments begin.
    own: usize,
    /// What has to stand before arguments that are added: `--` for a script of npm.
    joint: Option<&'static str>,
}

/// A command and the variables it wants besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(&'static str, &'static str)>,
}

impl TestCommand {
    /// The runner that a command starts, if it is one we know. `folder` is where it starts: scripts of
    /// npm are looked up there.
    pub fn recognize(argv: &[String], folder: &Path) -> Option<Self> {
        let argv = without_shell(argv)?;
        let words: Vec<&str> = argv.iter().map(String::as_str).collect();
        let (tool, own, joint) = runner(&words, folder)?;
        Some(Self {
            tool,
            argv,
            own,
            joint,
        })
    }

    /// The command that runs all its tests and names each of them: it does not stop at the first that
    /// fails.
    pub fn all(&self) -> Vec<String> {
        let mut own = self.own().to_vec();
        let early = |argument: &String| {
            let early: &[&str] = match self.tool {
                TestTool::Pytest => &["-x", "--exitfirst", "--maxfail"],
                TestTool::Jest | TestTool::Vitest => &["--bail", "-b"],
                TestTool::Go => &["-failfast", "--failfast"],
                TestTool::Nextest => &["--fail-fast", "--ff"],
                TestTool::Libtest | TestTool::NodeTest | TestTool::Tap | TestTool::Junit => &[],
            };
            early.contains(&argument.split('=').next().unwrap_or_default())
        };
        own.retain(|argument| !early(argument));
        let added: &[&str] = match self.tool {
            TestTool::Libtest | TestTool::Nextest => &["--no-fail-fast"],
            TestTool::Pytest => &["-v", "--durations=0"],
            TestTool::Go => &["-v"],
            TestTool::Jest => &["--verbose"],
            TestTool::Vitest => &["--reporter=verbose"],
            TestTool::NodeTest => &["--test-reporter=tap"],
            TestTool::Tap | TestTool::Junit => &[],
        };
        let is_there = |added: &str| {
            let name = added.split('=').next().unwrap_or_default();
            own.iter().any(|argument| {
                argument == added || argument == "-json" || argument.split('=').next() == Some(name)
            })
        };
        let added: Vec<String> = (added.iter().filter(|added| !is_there(added)))
            .map(|added| (*added).to_owned())
            .collect();
        self.with(own, &added)
    }

    /// The command that runs these tests only. None if the runner cannot be asked for them.
    pub fn only(&self, keys: &[TestKey]) -> Option<Vec<String>> {
        selector::only(self, keys)
    }

    /// The command that names all tests and runs none, if the runner has one.
    pub(super) fn list(&self) -> Option<Vec<String>> {
        let added: &[&str] = match self.tool {
            TestTool::Libtest => return Some(self.behind_dashes(&["--list".to_owned()])),
            TestTool::Pytest => &["--collect-only", "-q"],
            TestTool::Go => &["-list=."],
            TestTool::Nextest => {
                let mut argv = self.argv.clone();
                "list".clone_into(&mut argv[self.own - 1]);
                argv.splice(self.own..self.own, ["-T".to_owned(), "oneline".to_owned()]);
                return Some(argv);
            }
            TestTool::Jest
            | TestTool::Vitest
            | TestTool::NodeTest
            | TestTool::Tap
            | TestTool::Junit => return None,
        };
        let added: Vec<String> = added.iter().map(|added| (*added).to_owned()).collect();
        let own = self
            .own()
            .iter()
            .filter(|argument| *argument != "-v" && *argument != "-json");
        Some(self.with(own.cloned().collect(), &added))
    }

    /// One test at a time: what to change in a command of this runner. None if it cannot be told so.
    pub(super) fn one_at_a_time(&self, argv: &[String]) -> Option<Changed> {
        let mut changed = Changed {
            argv: argv.to_vec(),
            env: Vec::new(),
        };
        match self.tool {
            TestTool::Libtest => {
                changed.env = vec![("RUST_TEST_THREADS", "1"), ("CARGO_BUILD_JOBS", "1")];
            }
            TestTool::Nextest => {
                changed.env = vec![("NEXTEST_TEST_THREADS", "1"), ("CARGO_BUILD_JOBS", "1")];
            }
            TestTool::Vitest => changed.env = vec![("VITEST_MAX_WORKERS", "1")],
            TestTool::Go => changed.env = vec![("GOFLAGS", "-p=1"), ("GOMAXPROCS", "1")],
            TestTool::Jest => changed.argv.push("--maxWorkers=1".to_owned()),
            TestTool::NodeTest if self.joint.is_none() => {
                changed
                    .argv
                    .insert(self.own, "--test-concurrency=1".to_owned());
            }
            // Only with workers of xdist it is more than one at a time.
            TestTool::Pytest => {
                let at = argv
                    .iter()
                    .position(|a| a == "-n" || a == "--numprocesses")?;
                "1".clone_into(changed.argv.get_mut(at + 1)?);
            }
            TestTool::NodeTest | TestTool::Tap | TestTool::Junit => return None,
        }
        Some(changed)
    }

    /// The runner's own arguments.
    fn own(&self) -> &[String] {
        &self.argv[self.own..]
    }

    /// The command with other arguments, and these added where the runner takes options.
    fn with(&self, own: Vec<String>, added: &[String]) -> Vec<String> {
        let mut argv = self.argv[..self.own].to_vec();
        match self.tool {
            // Behind files and packages they would be theirs.
            TestTool::NodeTest | TestTool::Go => {
                argv.extend(added.iter().cloned());
                argv.extend(own);
            }
            TestTool::Libtest | TestTool::Nextest => {
                let at = own
                    .iter()
                    .position(|argument| argument == "--")
                    .unwrap_or(own.len());
                argv.extend(own[..at].iter().cloned());
                argv.extend(added.iter().cloned());
                argv.extend(own[at..].iter().cloned());
            }
            TestTool::Pytest
            | TestTool::Jest
            | TestTool::Vitest
            | TestTool::Tap
            | TestTool::Junit => {
                let joint = self
                    .joint
                    .filter(|joint| !added.is_empty() && !own.iter().any(|a| a == joint));
                argv.extend(own);
                argv.extend(joint.map(str::to_owned));
                argv.extend(added.iter().cloned());
            }
        }
        argv
    }

    /// `cargo test … -- …`: arguments for the programs that it runs.
    fn behind_dashes(&self, added: &[String]) -> Vec<String> {
        let mut argv = self.all();
        if !argv.iter().any(|argument| argument == "--") {
            argv.push("--".to_owned());
        }
        argv.extend(added.iter().cloned());
        argv
    }
}

/// The words of a command, also of one in a shell that does no more than start it.
fn without_shell(argv: &[String]) -> Option<Vec<String>> {
    match argv {
        [shell, option, line] if file_name(shell).ends_with("sh") && option == "-c" => {
            let special = |c: char| "|&;<>()$`\\\"'*?[]#~=%{}\n".contains(c);
            let line = line.strip_prefix("exec ").unwrap_or(line);
            // An assignment, a pipe or a quote: the shell decides what it means.
            let is_plain = !line.chars().any(|c| special(c) && !"=[]".contains(c));
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let assigns = words.first().is_some_and(|word| word.contains('='));
            (is_plain && !assigns && !words.is_empty()).then_some(words)
        }
        [] => None,
        argv => Some(argv.to_vec()),
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The runner, where its arguments begin, and what stands before arguments that are added.
fn runner(words: &[&str], folder: &Path) -> Option<(TestTool, usize, Option<&'static str>)> {
    let (first, rest) = words.split_first()?;
    let direct = |tool, own| Some((tool, own, None));
    match file_name(first) {
        "cargo" => {
            let toolchain = usize::from(rest.first().is_some_and(|word| word.starts_with('+')));
            match rest.get(toolchain..)? {
                ["test" | "t", ..] => direct(TestTool::Libtest, toolchain + 2),
                ["nextest", "run" | "r", ..] => direct(TestTool::Nextest, toolchain + 3),
                _ => None,
            }
        }
        "pytest" | "py.test" => direct(TestTool::Pytest, 1),
        name if name.starts_with("python") => match rest {
            ["-m", "pytest", ..] => direct(TestTool::Pytest, 3),
            _ => None,
        },
        "go" => (rest.first() == Some(&"test")).then_some((TestTool::Go, 2, None)),
        "node" => rest
            .contains(&"--test")
            .then_some((TestTool::NodeTest, 1, None)),
        "jest" => direct(TestTool::Jest, 1),
        "vitest" => direct(TestTool::Vitest, 1),
        "npx" | "bunx" | "uv" | "poetry" | "env" => {
            let skipped = 1 + usize::from(matches!(rest.first(), Some(&"run")));
            let (tool, own, joint) = runner(words.get(skipped..)?, folder)?;
            Some((tool, own + skipped, joint))
        }
        manager @ ("npm" | "pnpm" | "yarn") => script(manager, rest, folder),
        _ => None,
    }
}

/// A script of `package.json` that does no more than start a runner.
fn script(
    manager: &str,
    rest: &[&str],
    folder: &Path,
) -> Option<(TestTool, usize, Option<&'static str>)> {
    let (name, own) = match rest {
        ["exec", ..] => {
            let (tool, own, joint) = runner(&rest[1..], folder)?;
            return Some((tool, own + 2, joint));
        }
        ["run" | "run-script", name, ..] => (*name, 3),
        ["test" | "t", ..] => ("test", 2),
        _ => return None,
    };
    let package = std::fs::read_to_string(folder.join("package.json")).ok()?;
    let package: Value = serde_json::from_str(&package).ok()?;
    let line = package.get("scripts")?.get(name)?.as_str()?;
    let words = without_shell(&["sh".to_owned(), "-c".to_owned(), line.to_owned()])?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (tool, ..) = runner(&words, folder)?;
    // Options of node cannot be added behind the files that the script names.
    if tool == TestTool::NodeTest {
        return Some((TestTool::Tap, own, Some("--")));
    }
    Some((tool, own, (manager == "npm").then_some("--")))
}

#[cfg(test)]
mod tests;
