use cogo_protocol::task::Priority;
use proptest::prelude::*;

use super::*;

const STEP: Duration = Duration::from_secs(30);

/// A queue in which everything fits the one worker there is.
struct Fixture {
    queue: Queue,
    places: BTreeMap<TaskNumber, Place>,
    worker: WorkerId,
    next: TaskNumber,
    now: Duration,
}

impl Fixture {
    fn new() -> Self {
        Self {
            queue: Queue::new(Aging::new(STEP)),
            places: BTreeMap::new(),
            worker: "w".parse().unwrap(),
            next: 1,
            now: Duration::ZERO,
        }
    }

    fn enter_line(&mut self, submitter: &str, priority: u8, kind: Option<&str>) -> TaskNumber {
        let number = self.next;
        self.next += 1;
        let priority = Priority::try_from(priority).unwrap();
        let place = Place {
            demand: Arc::new(Demand {
                kind: kind.map(str::to_owned),
                ..Demand::default()
            }),
            submitter: submitter.into(),
            ticket: Ticket {
                ripe_at: Aging::new(STEP).ripe_at(priority, self.now, Duration::ZERO),
                number,
            },
        };
        self.queue.enter(&place);
        self.places.insert(number, place);
        number
    }

    fn enter(&mut self, submitter: &str, priority: u8) -> TaskNumber {
        self.enter_line(submitter, priority, None)
    }

    /// Serves the best task, which runs for no time.
    fn serve(&mut self) -> Option<TaskNumber> {
        let number = self.queue.best(&self.worker, self.now, |_| true)?;
        let place = self.places.remove(&number).unwrap();
        assert!(self.queue.leave(&place));
        assert!(!self.queue.leave(&place));
        self.queue.share_mut().starts(&place.submitter);
        self.queue.share_mut().stops(&place.submitter);
        Some(number)
    }

    fn serve_all(&mut self) -> Vec<TaskNumber> {
        std::iter::from_fn(|| self.serve()).collect()
    }
}

#[test]
fn urgent_tasks_go_first_then_the_oldest() {
    let mut queue = Fixture::new();
    let low = queue.enter("a", 1);
    let first = queue.enter("a", 5);
    let second = queue.enter("a", 5);
    let high = queue.enter("a", 9);
    assert_eq!(queue.serve_all(), [high, first, second, low]);
}

#[test]
fn submitters_of_one_level_take_turns() {
    let mut queue = Fixture::new();
    let many: Vec<_> = (0..4).map(|_| queue.enter("many", 5)).collect();
    let few: Vec<_> = (0..2).map(|_| queue.enter("few", 5)).collect();
    assert_eq!(
        queue.serve_all(),
        [many[0], few[0], many[1], few[1], many[2], many[3]]
    );
}

#[test]
fn a_later_submitter_shares_a_level_with_an_old_backlog() {
    let mut queue = Fixture::new();
    for _ in 0..100 {
        queue.enter("many", 5);
    }
    queue.now = STEP * 10;
    queue.serve();
    let late = queue.enter("few", 9);
    let served: Vec<_> = (0..2).filter_map(|_| queue.serve()).collect();
    assert!(served.contains(&late), "{served:?}");
}

#[test]
fn lines_are_compared_and_unfit_ones_passed_over() {
    let mut queue = Fixture::new();
    let other = queue.enter_line("a", 9, Some("flutter"));
    let own = queue.enter("a", 1);
    let worker = queue.worker.clone();
    let fits = |demand: &Demand| demand.kind.is_none();
    assert_eq!(queue.queue.best(&worker, queue.now, fits), Some(own));
    assert_eq!(queue.queue.best(&worker, queue.now, |_| true), Some(other));
}

#[test]
fn the_listed_order_is_the_order_of_service_for_one_submitter() {
    let mut queue = Fixture::new();
    for priority in [3, 9, 0, 5, 5] {
        queue.enter("a", priority);
        queue.now += STEP;
    }
    let listed = queue.queue.order(queue.now, 100);
    assert_eq!(queue.queue.order(queue.now, 2), listed[..2]);
    assert_eq!(queue.serve_all(), listed);
}

proptest! {
    /// A stream of the most urgent tasks, one per second and served at once, cannot hold back
    /// another submitter's task for longer than it takes to become ripe and one more turn.
    #[test]
    fn the_lowest_priority_is_served_within_the_bound(priority in 0_u8..=9) {
        let mut queue = Fixture::new();
        queue.enter("stream", 9);
        let task = queue.enter("patient", priority);
        let bound = STEP * u32::from(9 - priority) + Duration::from_secs(2);
        loop {
            queue.enter("stream", 9);
            if queue.serve() == Some(task) {
                break;
            }
            queue.now += Duration::from_secs(1);
            prop_assert!(queue.now <= bound, "{:?}", queue.now);
        }
    }

    #[test]
    fn everything_that_enters_is_served_once(
        entries in proptest::collection::vec((0_u8..=9, 0_usize..4, 0_usize..3, 0_u64..40), 0..80)
    ) {
        let mut queue = Fixture::new();
        let mut entered = Vec::new();
        for (priority, submitter, kind, seconds) in entries {
            let kind = [None, Some("basic"), Some("flutter")][kind];
            entered.push(queue.enter_line(["a", "b", "c", "d"][submitter], priority, kind));
            queue.now += Duration::from_secs(seconds);
        }
        prop_assert_eq!(queue.queue.len(), entered.len());
        let mut served = queue.serve_all();
        served.sort_unstable();
        prop_assert_eq!(served, entered);
        prop_assert!(queue.queue.is_empty());
    }
}
