//! The user's terminal: its size, and raw mode that is always undone.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use cogo_sandbox::spec::PtySize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use crate::failure::Failure;

/// What the terminal was like before. Global, because a panic must find it: the release build
/// aborts on panic, and no destructor runs then.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Keeps the terminal on stdin in raw mode for as long as it lives.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Passes every key on as it is. Ctrl-C is a byte then, not a signal.
    pub(crate) fn enter() -> Result<Self, Failure> {
        let stdin = rustix::stdio::stdin();
        let set = || {
            let before = tcgetattr(stdin)?;
            let mut raw = before.clone();
            raw.make_raw();
            *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
            tcsetattr(stdin, OptionalActions::Drain, &raw)
        };
        set().map_err(|error| Failure::caused("failed to set the terminal to raw mode", &error))?;
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            hook(panic);
        }));
        Ok(Self(()))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // `try_lock`, as a panic may come from anywhere; nobody holds it for long.
    if let Ok(mut before) = BEFORE.try_lock()
        && let Some(before) = before.take()
    {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &before);
    }
}

/// Whether lines must end in a carriage return for now.
pub(crate) fn is_raw() -> bool {
    BEFORE.try_lock().is_ok_and(|before| before.is_some())
}

/// Size of the terminal this process writes to, if it has one.
pub(crate) fn size() -> Option<PtySize> {
    let size = if std::io::stdout().is_terminal() {
        tcgetwinsize(rustix::stdio::stdout())
    } else {
        tcgetwinsize(rustix::stdio::stdin())
    };
    let size = size
        .ok()
        .filter(|size| size.ws_row > 0 && size.ws_col > 0)?;
    Some(PtySize {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}
