//! Whose turn it is among submitters.
//!
//! The one with the fewest tasks on workers goes first, so that slots are shared evenly however
//! long tasks run. Among equals virtual time decides, as in start-time fair queueing: each task
//! that is served moves its submitter one tick on, and whoever comes back after a pause starts
//! at the present tick and has no claim to turns it did not wait for.

use std::collections::HashMap;
use std::sync::Arc;

/// Names a submitter.
pub type Submitter = Arc<str>;

/// A submitter's place; the least goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    /// Tasks of it that workers have.
    pub running: usize,
    /// Virtual time up to which it has been served.
    pub served: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    turn: Turn,
    waiting: usize,
}

/// All submitters that have anything waiting or running.
#[derive(Clone, Debug, Default)]
pub struct FairShare {
    shares: HashMap<Submitter, Share>,
    present: u64,
}

/// Submitters whose past is kept although they have nothing to do.
const IDLE_MAX: usize = 1024;

impl FairShare {
    /// Whose turn it is, by its place.
    pub fn turn(&self, submitter: &str) -> Turn {
        self.shares
            .get(submitter)
            .map_or_else(Turn::default, |share| share.turn)
    }

    /// One more task of it waits.
    pub fn waits(&mut self, submitter: &Submitter) {
        let present = self.present;
        let share = self.shares.entry(Arc::clone(submitter)).or_default();
        if share.waiting == 0 {
            share.turn.served = share.turn.served.max(present);
        }
        share.waiting += 1;
    }

    /// One of its tasks waits no more.
    pub fn leaves(&mut self, submitter: &str) {
        if let Some(share) = self.shares.get_mut(submitter) {
            share.waiting = share.waiting.saturating_sub(1);
            self.forget_if_idle(submitter);
        }
    }

    /// A worker gets one of its tasks.
    pub fn starts(&mut self, submitter: &Submitter) {
        let share = self.shares.entry(Arc::clone(submitter)).or_default();
        self.present = self.present.max(share.turn.served);
        share.turn.served = self.present + 1;
        share.turn.running += 1;
    }

    /// A worker has one of its tasks no more.
    pub fn stops(&mut self, submitter: &str) {
        if let Some(share) = self.shares.get_mut(submitter) {
            share.turn.running = share.turn.running.saturating_sub(1);
            self.forget_if_idle(submitter);
        }
    }

    fn forget_if_idle(&mut self, submitter: &str) {
        let present = self.present;
        let is_spent = |share: &Share| share.waiting == 0 && share.turn.running == 0;
        if self.shares.len() > IDLE_MAX {
            self.shares.retain(|_, share| !is_spent(share));
        } else if (self.shares.get(submitter))
            .is_some_and(|share| is_spent(share) && share.turn.served <= present)
        {
            self.shares.remove(submitter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Serves `turns` tasks one at a time among submitters with endless work.
    fn serve(share: &mut FairShare, names: &[Submitter], turns: usize) -> Vec<usize> {
        let mut served = vec![0; names.len()];
        for _ in 0..turns {
            let next = (0..names.len())
                .min_by_key(|index| share.turn(&names[*index]))
                .unwrap();
            share.leaves(&names[next]);
            share.starts(&names[next]);
            share.waits(&names[next]);
            share.stops(&names[next]);
            served[next] += 1;
        }
        served
    }

    #[test]
    fn submitters_take_turns() {
        let names: Vec<Submitter> = vec!["a".into(), "b".into(), "c".into()];
        let mut share = FairShare::default();
        for name in &names {
            share.waits(name);
        }
        assert_eq!(serve(&mut share, &names, 30), [10, 10, 10]);
    }

    #[test]
    fn a_latecomer_has_no_claim_to_the_past() {
        let names: Vec<Submitter> = vec!["a".into(), "b".into()];
        let mut share = FairShare::default();
        share.waits(&names[0]);
        serve(&mut share, &names[..1], 100);
        share.waits(&names[1]);
        let served = serve(&mut share, &names, 10);
        assert!(served[1] <= 6, "{served:?}");
    }

    #[test]
    fn whoever_has_fewer_running_goes_first() {
        let (a, b): (Submitter, Submitter) = ("a".into(), "b".into());
        let mut share = FairShare::default();
        share.starts(&a);
        share.waits(&a);
        share.waits(&b);
        for _ in 0..5 {
            share.starts(&b);
            share.stops(&b);
        }
        assert!(share.turn(&b) < share.turn(&a));
    }

    #[test]
    fn the_idle_are_forgotten() {
        let mut share = FairShare::default();
        for number in 0..10_000 {
            let name: Submitter = number.to_string().into();
            share.waits(&name);
            share.leaves(&name);
            share.starts(&name);
            share.stops(&name);
        }
        assert!(share.shares.len() <= IDLE_MAX + 1);
    }
}
