//! How many requests one client may send: a bucket of tokens for each that fills steadily.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients that are remembered at most. Past it, full buckets are forgotten first.
const CLIENTS_MAX: usize = 10_000;

/// A rate and how far it may be exceeded for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests each second, in the long run.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

#[derive(Debug)]
struct Bucket {
    /// When it will be full again. One that is full now has waited long enough.
    full_at: Instant,
}

/// The buckets of all clients.
#[derive(Debug)]
pub(crate) struct Rates {
    rate: Rate,
    buckets: Mutex<HashMap<String, Bucket>>,
}

impl Rates {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            buckets: Mutex::default(),
        }
    }

    /// Takes one request out of the client's bucket; false if it is empty.
    pub(super) fn take(&self, client: &str) -> bool {
        self.take_at(client, Instant::now())
    }

    fn take_at(&self, client: &str, now: Instant) -> bool {
        let one = Duration::from_secs(1) / self.rate.per_second.max(1);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CLIENTS_MAX && !buckets.contains_key(client) {
            buckets.retain(|_, bucket| bucket.full_at > now);
        }
        let full_at = buckets
            .get(client)
            .map_or(now, |bucket| bucket.full_at.max(now));
        let next = full_at + one;
        if next.saturating_duration_since(now) > one * self.rate.burst.max(1) {
            return false;
        }
        buckets.insert(client.to_owned(), Bucket { full_at: next });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let rates = Rates::new(Rate {
            per_second: 10,
            burst: 5,
        });
        let start = Instant::now();
        let passed = |at| (0..20).filter(|_| rates.take_at("a", at)).count();
        assert_eq!(passed(start), 5);
        assert_eq!(passed(start + Duration::from_millis(250)), 2);
        assert_eq!(passed(start + Duration::from_mins(1)), 5);
        assert!(rates.take_at("b", start));
    }
}
