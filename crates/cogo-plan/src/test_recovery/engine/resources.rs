//! Runs that had too little of something are run again: with less at a time, then with more of it.

use std::num::NonZeroU32;

use cogo_protocol::units::Bytes;
use cogo_protocol::verdict::Outcome;

use super::cases::Cases;
use super::{Engine, Ran, Why};
use crate::dispatch::Dispatch;
use crate::test_recovery::report::Recovered;

/// How often the limit is doubled.
const DOUBLINGS: u32 = 2;

impl<D: Dispatch> Engine<'_, D> {
    /// As long as a run ends for want of something and there is a way to give it, tries that.
    pub(super) fn with_resources(
        &mut self,
        mut ran: Ran,
        argv: &[String],
        cases: &mut Cases,
    ) -> Ran {
        if !is_want(&ran) {
            return ran;
        }
        let serial = (self.command.as_ref()).and_then(|command| command.one_at_a_time(argv));
        if let Some(serial) = serial {
            ran = self.again(&ran, &serial.argv, &serial.env, "one test at a time", cases);
        }
        for _ in 0..DOUBLINGS {
            if !is_want(&ran) || !self.may_go_on() {
                break;
            }
            let Some(change) = self.give_more(&ran.outcome) else {
                break;
            };
            ran = self.again(&ran, argv, &[], &change, cases);
        }
        ran
    }

    fn again(
        &mut self,
        before: &Ran,
        argv: &[String],
        env: &[(&'static str, &'static str)],
        change: &str,
        cases: &mut Cases,
    ) -> Ran {
        let cause = before
            .outcome
            .as_ref()
            .map(Outcome::describe)
            .unwrap_or_default();
        let ran = self.run(Why::Resources, argv, env, &[]);
        cases.replace(&ran.results);
        self.recovered.push(Recovered {
            cause,
            change: change.to_owned(),
            helped: !is_want(&ran),
        });
        ran
    }

    /// Doubles the limit that was reached. None if it may not be higher.
    fn give_more<E>(&mut self, outcome: &Result<Outcome, E>) -> Option<String> {
        let limits = &mut self.work.limits;
        match outcome {
            Ok(Outcome::OutOfMemory { limit_bytes, .. }) => {
                let limit = Bytes::new(limit_bytes.checked_mul(2)?);
                if self.settings.memory_max.is_some_and(|max| limit > max) {
                    return None;
                }
                limits.memory = Some(limit);
                Some(format!("memory {limit}"))
            }
            Ok(Outcome::PidsExhausted { limit, .. }) => {
                let limit = NonZeroU32::new(limit.checked_mul(2)?)?;
                limits.pids = Some(limit);
                Some(format!("{limit} processes"))
            }
            Ok(Outcome::DiskFull { limit_bytes, .. }) => {
                let limit = Bytes::new(limit_bytes.checked_mul(2)?);
                limits.disk = Some(limit);
                Some(format!("disk {limit}"))
            }
            Ok(_) | Err(_) => None,
        }
    }
}

/// Whether a run ended for want of something.
fn is_want(ran: &Ran) -> bool {
    matches!(
        ran.outcome,
        Ok(Outcome::OutOfMemory { .. } | Outcome::PidsExhausted { .. } | Outcome::DiskFull { .. })
    )
}
