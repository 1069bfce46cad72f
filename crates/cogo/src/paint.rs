//! Colour, only for terminals and only where it is wanted.

use std::fmt::Display;
use std::io::IsTerminal;

/// The colours we use, by what they mean to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    /// It went well.
    Green,
    /// It did not.
    Red,
    /// Look here.
    Yellow,
    /// What cogo says about itself.
    Cyan,
}

/// Paints text for one output, or leaves it alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Painter {
    colored: bool,
}

impl Painter {
    /// For what goes to stderr.
    pub(crate) fn stderr() -> Self {
        Self {
            colored: wanted() && std::io::stderr().is_terminal(),
        }
    }

    /// For what goes to stdout.
    pub(crate) fn stdout() -> Self {
        Self {
            colored: wanted() && std::io::stdout().is_terminal(),
        }
    }

    /// For what a program reads.
    pub(crate) fn plain() -> Self {
        Self { colored: false }
    }

    /// The text, in that colour if this output has colours.
    pub(crate) fn paint(self, color: Color, text: impl Display) -> String {
        if !self.colored {
            return text.to_string();
        }
        let code = match color {
            Color::Green => 32,
            Color::Red => 31,
            Color::Yellow => 33,
            Color::Cyan => 36,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// See <https://no-color.org>: any value that is not empty.
fn wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
