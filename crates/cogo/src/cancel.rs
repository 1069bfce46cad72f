//! Ctrl-C, SIGTERM and SIGHUP as requests to end what runs through a dispatch.

use std::sync::Arc;

use cogo_plan::dispatch::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::{Failure, note};

/// Turns signals into requests to cancel `what`, such as `all steps`.
pub(crate) fn listen(what: &'static str) -> Result<Arc<Cancel>, Failure> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(|error| Failure::caused("failed to listen for signals", &error))?;
    let cancel = Arc::new(Cancel::default());
    let asked = Arc::clone(&cancel);
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in &mut signals {
                if asked.is_asked() {
                    note(&format!("killing {what}"));
                } else {
                    note(&format!("stopping {what}; Ctrl-C again kills"));
                }
                asked.ask();
            }
        })?;
    Ok(cancel)
}
