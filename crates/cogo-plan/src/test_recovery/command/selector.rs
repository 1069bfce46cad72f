//! How each runner is asked for some of its tests.

use super::TestCommand;
use crate::test_results::{TestKey, TestTool};

/// See [`TestCommand::only`].
pub(super) fn only(command: &TestCommand, keys: &[TestKey]) -> Option<Vec<String>> {
    if keys.is_empty() || keys.iter().any(|key| key.name.is_empty()) {
        return None;
    }
    match command.tool {
        TestTool::Libtest => {
            let mut exact = vec!["--exact".to_owned()];
            exact.extend(unique(keys.iter().map(|key| key.name.clone())));
            Some(command.behind_dashes(&exact))
        }
        TestTool::Nextest => {
            let test = |key: &TestKey| {
                let name = format!("test(={})", key.name);
                match &*key.suite {
                    "" => name,
                    suite => format!("(binary_id(={suite}) & {name})"),
                }
            };
            let any: Vec<String> = keys.iter().map(test).collect();
            let without = without_options(command, &["-E", "--filterset", "--filter-expr"]);
            Some(without.with(
                without.own().to_vec(),
                &[
                    "--no-fail-fast".to_owned(),
                    "-E".to_owned(),
                    any.join(" | "),
                ],
            ))
        }
        TestTool::Pytest => pytest(command, keys),
        TestTool::Go => {
            // A test below another is run by running that one.
            let names = keys
                .iter()
                .map(|key| key.name.split('/').next().unwrap_or_default());
            let names = unique(names.map(regex::escape));
            let run = format!("-run=^({})$", names.join("|"));
            let without = without_options(command, &["-run", "--run"]);
            let own = without.own().to_vec();
            // Without a count of its own go tells what it told before.
            let mut added = vec![run, "-count=1".to_owned()];
            added.extend((!own.iter().any(|a| a == "-v" || a == "-json")).then(|| "-v".to_owned()));
            Some(without.with(own, &added))
        }
        TestTool::Jest | TestTool::Vitest => {
            let without = without_options(command, &["-t", "--testNamePattern"]);
            let names = keys
                .iter()
                .map(|key| regex::escape(&key.name.replace(" > ", " ")));
            let pattern = format!("^({})$", unique(names).join("|"));
            let all = TestCommand {
                argv: without.all(),
                ..without.clone()
            };
            Some(all.with(all.own().to_vec(), &["-t".to_owned(), pattern]))
        }
        TestTool::NodeTest => {
            // Old versions match a test's own name, new ones the whole path.
            let leaf = |key: &TestKey| {
                let leaf = key.name.rsplit(" > ").next().unwrap_or_default();
                format!("--test-name-pattern=/(^|\\s){}$/", escaped_for_node(leaf))
            };
            let added = unique(keys.iter().map(leaf));
            let all = TestCommand {
                argv: command.all(),
                ..command.clone()
            };
            Some(all.with(all.own().to_vec(), &added))
        }
        TestTool::Tap | TestTool::Junit => None,
    }
}

/// Tests are named beside options; what named files before is gone, or those files would run as well.
fn pytest(command: &TestCommand, keys: &[TestKey]) -> Option<Vec<String>> {
    // A name that came from a report is not one that pytest takes.
    if keys.iter().any(|key| !key.suite.contains(".py")) {
        return None;
    }
    let mut all = TestCommand {
        argv: command.all(),
        ..command.clone()
    };
    let own = all.own().to_vec();
    let mut kept = all.argv[..all.own].to_vec();
    let mut takes_value = false;
    for argument in own {
        let is_option = argument.starts_with('-');
        if is_option || takes_value {
            kept.push(argument.clone());
        }
        takes_value = is_option && !argument.contains('=') && TAKE_VALUES.contains(&&*argument);
    }
    all.argv = kept;
    let ids = keys
        .iter()
        .map(|key| format!("{}::{}", key.suite, key.name));
    Some(all.with(all.own().to_vec(), &unique(ids)))
}

/// Options of pytest whose value is an argument of its own.
const TAKE_VALUES: [&str; 16] = [
    "-k",
    "-m",
    "-p",
    "-c",
    "-n",
    "-o",
    "-r",
    "-W",
    "--rootdir",
    "--confcutdir",
    "--ignore",
    "--tb",
    "--junitxml",
    "--numprocesses",
    "--cov",
    "--dist",
];

/// The command without these options and their values.
fn without_options(command: &TestCommand, names: &[&str]) -> TestCommand {
    let mut argv = command.argv[..command.own].to_vec();
    let mut skips_value = false;
    for argument in command.own() {
        let name = argument.split('=').next().unwrap_or_default();
        let is_one = names.contains(&name);
        if !is_one && !skips_value {
            argv.push(argument.clone());
        }
        skips_value = is_one && !argument.contains('=');
    }
    TestCommand {
        argv,
        ..command.clone()
    }
}

/// `regex` escapes more than JavaScript allows between slashes, where `/` ends the pattern.
fn escaped_for_node(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if "\\^$.|?*+()[]{}/".contains(character) {
            text.push('\\');
        }
        text.push(character);
    }
    text
}

fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names
}
