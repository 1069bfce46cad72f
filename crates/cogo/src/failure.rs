//! What a user is told when a command cannot do its work: the fact, and what to do about it.

use std::error::Error;
use std::fmt::Write as _;

use crate::exit_code;
use crate::paint::{Color, Painter};

/// Why a command of ours ended without doing its work.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// The fact, without the hint.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// A failure with this fact: what was attempted, on what.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            code: exit_code::FAILURE,
        }
    }

    /// A failure with a fact and its cause.
    pub(crate) fn caused(message: impl Into<String>, cause: &dyn Error) -> Self {
        Self::new(format!("{}: {}", message.into(), chain(cause)))
    }

    /// Adds what the user can do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit code.
    pub(crate) fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// As the reason why an attempt of a plan has no outcome.
    pub(crate) fn into_dispatch(self) -> cogo_plan::dispatch::DispatchError {
        cogo_plan::dispatch::DispatchError {
            message: self.message,
            hint: self.hint,
        }
    }

    /// Tells the user on stderr and returns the exit code.
    pub(crate) fn report(&self) -> u8 {
        let painter = Painter::stderr();
        // Messages may quote what others wrote; a line of ours stays one line.
        let message = one_line(&self.message);
        let mut text = format!("{} {message}\n", painter.paint(Color::Red, "error:"));
        if let Some(hint) = &self.hint {
            let _ = writeln!(
                text,
                "{} {}",
                painter.paint(Color::Cyan, "hint:"),
                one_line(hint)
            );
        }
        tell(&text);
        self.code
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(chain(&error))
    }
}

/// An error with all its causes, each told once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // A transparent wrapper repeats its cause.
        if !text.ends_with(&next) {
            let _ = write!(text, ": {next}");
        }
        cause = error.source();
    }
    text
}

fn one_line(text: &str) -> String {
    text.trim_end().replace('\n', " ")
}

/// Writes a text of ours to stderr. A closed stderr is no reason to fail.
pub(crate) fn tell(text: &str) {
    use std::io::Write as _;
    let mut stderr = std::io::stderr().lock();
    let _ = if crate::viewer::is_raw() {
        stderr.write_all(text.replace('\n', "\r\n").as_bytes())
    } else {
        stderr.write_all(text.as_bytes())
    };
}

/// Writes a line about what cogo does to stderr.
pub(crate) fn note(text: &str) {
    tell(&format!(
        "{} {text}\n",
        Painter::stderr().paint(Color::Cyan, "cogo:")
    ));
}

/// Writes a command's result to stdout. A reader that went away has seen enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::caused("failed to write to stdout", &e))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug)]
        struct Wrapper(std::io::Error);
        impl std::fmt::Display for Wrapper {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("failed to open `x`")
            }
        }
        impl Error for Wrapper {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let failure = Failure::from(Wrapper(std::io::Error::other("no such file")));
        assert_eq!(failure.message, "failed to open `x`: no such file");
    }
}
