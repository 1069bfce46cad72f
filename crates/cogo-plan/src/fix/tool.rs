//! The tool's own way to repair what it complains of.

use std::ops::Not as _;

use super::command::Command;

/// A tool: how its command begins, what takes the place of that, and options that go.
struct OwnFix {
    command: &'static [&'static str],
    fix: &'static [&'static str],
    without: &'static [&'static str],
}

const OWN_FIXES: &[OwnFix] = &[
    OwnFix {
        command: &["ruff", "check"],
        fix: &["ruff", "check", "--fix", "--unsafe-fixes"],
        without: &["--no-fix"],
    },
    OwnFix {
        command: &["ruff", "format"],
        fix: &["ruff", "format"],
        without: &["--check", "--diff"],
    },
    OwnFix {
        command: &["eslint"],
        fix: &["eslint", "--fix"],
        without: &["--no-fix"],
    },
    OwnFix {
        command: &["stylelint"],
        fix: &["stylelint", "--fix"],
        without: &[],
    },
    OwnFix {
        command: &["biome"],
        fix: &["biome", "check", "--write"],
        without: &["ci", "check", "lint", "format"],
    },
    OwnFix {
        command: &["prettier"],
        fix: &["prettier", "--write"],
        without: &["--check", "-c", "--list-different", "-l"],
    },
    OwnFix {
        command: &["black"],
        fix: &["black"],
        without: &["--check", "--diff"],
    },
    OwnFix {
        command: &["isort"],
        fix: &["isort"],
        without: &["--check", "--check-only", "-c", "--diff"],
    },
    OwnFix {
        command: &["gofmt"],
        fix: &["gofmt", "-w"],
        without: &["-l", "-d"],
    },
    OwnFix {
        command: &["golangci-lint", "run"],
        fix: &["golangci-lint", "run", "--fix"],
        without: &[],
    },
    OwnFix {
        command: &["rubocop"],
        fix: &["rubocop", "--autocorrect"],
        without: &[],
    },
    OwnFix {
        command: &["clang-format"],
        fix: &["clang-format", "-i"],
        without: &["--dry-run", "-n", "--Werror"],
    },
    OwnFix {
        command: &["cargo", "fmt"],
        fix: &["cargo", "fmt"],
        without: &["--check"],
    },
    OwnFix {
        command: &["cargo", "clippy"],
        fix: &[
            "cargo",
            "clippy",
            "--fix",
            "--allow-no-vcs",
            "--allow-dirty",
        ],
        without: &[],
    },
    OwnFix {
        command: &["cargo", "check"],
        fix: &["cargo", "fix", "--allow-no-vcs", "--allow-dirty"],
        without: &[],
    },
    OwnFix {
        command: &["cargo", "build"],
        fix: &["cargo", "fix", "--allow-no-vcs", "--allow-dirty"],
        without: &[],
    },
];

/// The command by which the tool repairs itself, if it has one.
pub(super) fn own_fix(command: &Command) -> Option<Vec<String>> {
    let at = command.program_index();
    let words = command.argv.get(at..)?;
    let fits = |own: &&OwnFix| {
        own.command.len() <= words.len()
            && command.program() == own.command[0]
            && own.command[1..]
                .iter()
                .zip(&words[1..])
                .all(|(a, b)| a == b)
    };
    let own = OWN_FIXES.iter().find(fits)?;
    let mut argv = command.argv[..=at].to_vec();
    argv.extend(own.fix[1..].iter().map(|word| (*word).to_owned()));
    let rest = words[own.command.len()..].iter();
    argv.extend(
        rest.filter(|word| own.without.contains(&word.as_str()).not())
            .cloned(),
    );
    Some(argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_called_as_they_were_but_to_repair() {
        let fixed = |line: &str| {
            let command = Command {
                argv: line.split(' ').map(str::to_owned).collect(),
                ..Command::default()
            };
            own_fix(&command).map(|argv| argv.join(" "))
        };
        let cases = [
            (
                "ruff check src",
                Some("ruff check --fix --unsafe-fixes src"),
            ),
            (
                "python3 -m ruff format --check .",
                Some("python3 -m ruff format ."),
            ),
            ("npx eslint src", Some("npx eslint --fix src")),
            ("/usr/bin/cargo fmt --check", Some("/usr/bin/cargo fmt")),
            ("gofmt -l .", Some("gofmt -w .")),
            ("make", None),
        ];
        for (line, expected) in cases {
            assert_eq!(fixed(line).as_deref(), expected, "{line}");
        }
    }
}
