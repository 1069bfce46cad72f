//! The end of a job as a request to cancel what runs through a dispatch.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use cogo_manager::jobs::JobWork;
use cogo_plan::dispatch::Cancel;

/// How soon a request to end is noticed.
const STOP_PACE: Duration = Duration::from_millis(50);

/// Does it; what runs is asked once to end when the job has to.
pub(super) fn cancelled_with<T>(work: &JobWork, run: impl FnOnce(&Cancel) -> T) -> T {
    let cancel = Cancel::default();
    std::thread::scope(|scope| {
        // Dropped when it is done, or panics.
        let (_running, is_over) = channel::<()>();
        let asked = &cancel;
        scope.spawn(move || {
            while is_over.recv_timeout(STOP_PACE) == Err(RecvTimeoutError::Timeout) {
                if work.stop().is_cancelled() && !asked.is_asked() {
                    asked.ask();
                }
            }
        });
        run(&cancel)
    })
}
