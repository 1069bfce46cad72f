//! What standard input and output of this process are, and what follows for the command's.

use std::io::IsTerminal;

use rustix::fs::{FileType, fstat, major, minor};

use super::options::{Options, StdinOption};
use crate::failure::Failure;

/// What our own standard input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Terminal,
    /// A pipe, socket or file.
    Data,
    /// `/dev/null`, or not open at all.
    Nothing,
}

/// How the command gets its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum InputKind {
    /// It runs on a terminal of its own.
    Terminal,
    /// It runs on pipes.
    Pipes,
}

/// What becomes of standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) kind: InputKind,
    /// Whether the command's input stays open at first.
    pub(super) open: bool,
    /// Whether this process forwards its own.
    pub(super) forward: bool,
}

/// Decides from the options and from what this process was given.
pub(super) fn plan(options: &Options) -> Result<Plan, Failure> {
    let source = source();
    let on_terminal = source == Source::Terminal && std::io::stdout().is_terminal();
    if options.pty && options.json {
        return Err(Failure::new(
            "--pty and --json contradict each other: a terminal has one stream",
        )
        .hint("drop one of them"));
    }
    let wants_terminal = options.pty || on_terminal && !options.json && !options.detach;
    let kind = if wants_terminal && !options.no_pty {
        InputKind::Terminal
    } else {
        InputKind::Pipes
    };
    Ok(decide(kind, source, options.stdin, options.detach))
}

fn decide(kind: InputKind, source: Source, option: StdinOption, detach: bool) -> Plan {
    let forwardable = match (kind, source) {
        (InputKind::Terminal, Source::Terminal) | (_, Source::Data) => true,
        // Reading the terminal of a shell that put us in the background would stop us.
        (InputKind::Pipes, Source::Terminal) | (_, Source::Nothing) => false,
    };
    let forward = forwardable && !detach && option != StdinOption::Closed;
    let open = match option {
        StdinOption::Closed => false,
        StdinOption::Open => true,
        // A terminal without keys is still a terminal; `cogo attach` may bring them.
        StdinOption::Auto => forward || kind == InputKind::Terminal,
    };
    Plan {
        kind,
        open,
        forward,
    }
}

fn source() -> Source {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Source::Terminal;
    }
    let Ok(stat) = fstat(&stdin) else {
        return Source::Nothing;
    };
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    let is_null = is_device && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3);
    if is_null {
        Source::Nothing
    } else {
        Source::Data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_forwarded_where_there_is_some() {
        use InputKind::{Pipes, Terminal};
        use StdinOption::{Auto, Closed, Open};
        let cases = [
            // kind, source, option, detach → open, forward
            (Terminal, Source::Terminal, Auto, false, true, true),
            (Terminal, Source::Nothing, Auto, false, true, false),
            (Pipes, Source::Terminal, Auto, false, false, false),
            (Pipes, Source::Data, Auto, false, true, true),
            (Pipes, Source::Data, Auto, true, false, false),
            (Pipes, Source::Data, Open, true, true, false),
            (Pipes, Source::Data, Closed, false, false, false),
            (Pipes, Source::Nothing, Auto, false, false, false),
            (Pipes, Source::Nothing, Open, false, true, false),
        ];
        for (kind, source, option, detach, open, forward) in cases {
            let expected = Plan {
                kind,
                open,
                forward,
            };
            assert_eq!(
                decide(kind, source, option, detach),
                expected,
                "{source:?} {option:?}"
            );
        }
    }
}
