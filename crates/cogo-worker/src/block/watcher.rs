//! One thread that watches all execs of a worker.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::crowd::Crowd;
use super::{Examined, News, Watch};

/// Orders that may wait. Beyond them, whoever gives one waits.
const ORDERS_MAX: usize = 256;

/// Watches execs until it is dropped. Its thread sleeps while nothing is due.
#[derive(Debug)]
pub struct Watcher {
    orders: Option<SyncSender<Order>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

enum Order {
    Watch(String, Box<Watched>),
    Forget(String),
    InputSent(String, Instant),
    Examine(String, Answer),
}

/// Called with what a look found, on the watcher's thread. Dropped if the exec is not watched.
type Answer = Box<dyn FnOnce(Examined) + Send>;

/// An exec with those who want to know of it.
struct Watched {
    watch: Watch,
    tell: Box<dyn FnMut(News) + Send>,
}

impl Watcher {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Fails when the system has no descriptor or thread left.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(ORDERS_MAX);
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let state = State {
            orders: receiver,
            wake: Arc::clone(&wake),
            watches: HashMap::new(),
            crowds: Vec::new(),
        };
        let thread = std::thread::Builder::new()
            .name("block-watcher".to_owned())
            .spawn(move || state.run())?;
        Ok(Self {
            orders: Some(sender),
            wake,
            thread: Some(thread),
        })
    }

    /// Watches an exec from now on. `tell` is called on the watcher's thread with all that is
    /// new; it must not block.
    pub fn watch(&self, id: &str, watch: Watch, tell: impl FnMut(News) + Send + 'static) {
        let tell = Box::new(tell);
        self.order(Order::Watch(
            id.to_owned(),
            Box::new(Watched { watch, tell }),
        ));
    }

    /// Forgets an exec, because it ended.
    pub fn forget(&self, id: &str) {
        self.order(Order::Forget(id.to_owned()));
    }

    /// Notes that somebody sent input to an exec.
    pub fn input_sent(&self, id: &str, at: Instant) {
        self.order(Order::InputSent(id.to_owned(), at));
    }

    /// Looks closely at an exec now. `answer` is called on the watcher's thread, or dropped if
    /// the exec is not watched; it must not block.
    pub fn examine(&self, id: &str, answer: impl FnOnce(Examined) + Send + 'static) {
        self.order(Order::Examine(id.to_owned(), Box::new(answer)));
    }

    fn order(&self, order: Order) {
        // The thread only ends when this is dropped.
        if let Some(orders) = &self.orders
            && orders.send(order).is_ok()
        {
            self.wake_up();
        }
    }

    fn wake_up(&self) {
        // A full counter is a wake-up that was not heard yet.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.orders = None;
        self.wake_up();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct State {
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    watches: HashMap<String, Watched>,
    crowds: Vec<Arc<Crowd>>,
}

/// Whether the thread goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    End,
}

impl State {
    fn run(mut self) {
        loop {
            let woken = self.wait();
            if self.take_orders() == Flow::End {
                return;
            }
            let now = Instant::now();
            for (id, Watched { watch, tell }) in &mut self.watches {
                let heard = woken.contains(id).then(|| watch.wake(now)).flatten();
                let due = watch.next_due() <= now;
                let found = due.then(|| watch.tick(now)).flatten();
                heard.into_iter().chain(found).for_each(tell);
            }
        }
    }

    /// Waits until something is due. The execs for which a limit may have been hit.
    fn wait(&self) -> Vec<String> {
        let mut polled = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        let mut ids = Vec::with_capacity(self.watches.len() * 2);
        for (id, watched) in &self.watches {
            for (fd, flags) in watched.watch.events() {
                polled.push(PollFd::from_borrowed_fd(fd, flags));
                ids.push(id);
            }
        }
        let due = |watched: &Watched| watched.watch.next_due();
        let due = self.watches.values().map(due).min();
        let timeout = due.map(|due| due.saturating_duration_since(Instant::now()));
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        if poll(&mut polled, timeout.as_ref()).is_err() {
            return Vec::new();
        }
        let _ = rustix::io::read(self.wake.as_fd(), &mut [0_u8; 8]);
        let woken = polled[1..].iter().zip(ids);
        woken
            .filter(|(fd, _)| !fd.revents().is_empty())
            .map(|(_, id)| id.clone())
            .collect()
    }

    fn take_orders(&mut self) -> Flow {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Watch(id, mut watched)) => {
                    watched.watch.share(&mut self.crowds);
                    self.watches.insert(id, *watched);
                }
                Ok(Order::Forget(id)) => drop(self.watches.remove(&id)),
                Ok(Order::InputSent(id, at)) => {
                    if let Some(watched) = self.watches.get_mut(&id) {
                        watched.watch.input_sent(at);
                    }
                }
                Ok(Order::Examine(id, answer)) => {
                    if let Some(Watched { watch, tell }) = self.watches.get_mut(&id) {
                        let (news, examined) = watch.examine_now(Instant::now());
                        news.into_iter().for_each(tell);
                        answer(examined);
                    }
                }
                Err(TryRecvError::Empty) => return Flow::Continue,
                Err(TryRecvError::Disconnected) => return Flow::End,
            }
        }
    }
}
