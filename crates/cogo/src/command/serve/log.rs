//! What the server tells on stderr.

use tracing_subscriber::filter::LevelFilter;

use crate::state;

/// Logs to stderr from here on; `COGO_LOG` says how much.
pub(super) fn to_stderr() {
    let level = state::variable("COGO_LOG")
        .and_then(|level| level.to_str()?.parse().ok())
        .unwrap_or(LevelFilter::WARN);
    // Fails only where something logs already.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
