//! One thread that watches all execs of a worker.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender, TryRecvError};
use std::thread::JoinHandle;
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use super::{Block, Watch};

/// Orders that may wait. Beyond them, whoever gives one waits.
const ORDERS_MAX: usize = 256;

/// A block as it is told to the worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocked {
    /// The exec's id.
    pub id: String,
    /// Why it hangs.
    pub block: Block,
}

/// Watches execs until it is dropped. Its thread sleeps while nothing is due.
#[derive(Debug)]
pub struct Watcher {
    orders: Option<SyncSender<Order>>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Order {
    Watch(String, Box<Watch>),
    Forget(String),
    InputSent(String, Instant),
    Examine(String),
}

impl Watcher {
    /// Starts the thread. `tell` is called on it for each block when it begins; it must not block.
    ///
    /// # Errors
    ///
    /// Fails when the system has no descriptor or thread left.
    pub fn start(tell: impl FnMut(Blocked) + Send + 'static) -> io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(ORDERS_MAX);
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let state = State {
            orders: receiver,
            wake: Arc::clone(&wake),
            watches: HashMap::new(),
            tell,
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

    /// Watches an exec from now on.
    pub fn watch(&self, id: &str, watch: Watch) {
        self.order(Order::Watch(id.to_owned(), Box::new(watch)));
    }

    /// Forgets an exec, because it ended.
    pub fn forget(&self, id: &str) {
        self.order(Order::Forget(id.to_owned()));
    }

    /// Notes that somebody sent input to an exec.
    pub fn input_sent(&self, id: &str, at: Instant) {
        self.order(Order::InputSent(id.to_owned(), at));
    }

    /// Looks closely at an exec now.
    pub fn examine(&self, id: &str) {
        self.order(Order::Examine(id.to_owned()));
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

struct State<Tell> {
    orders: Receiver<Order>,
    wake: Arc<OwnedFd>,
    watches: HashMap<String, Watch>,
    tell: Tell,
}

/// Whether the thread goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    End,
}

impl<Tell: FnMut(Blocked)> State<Tell> {
    fn run(mut self) {
        loop {
            let woken = self.wait();
            if self.take_orders() == Flow::End {
                return;
            }
            let now = Instant::now();
            for (id, watch) in &mut self.watches {
                let heard = woken.contains(id).then(|| watch.wake(now)).flatten();
                let due = watch.next_due() <= now;
                let found = due.then(|| watch.tick(now)).flatten();
                for block in heard.into_iter().chain(found) {
                    let id = id.clone();
                    (self.tell)(Blocked { id, block });
                }
            }
        }
    }

    /// Waits until something is due. The execs for which a limit may have been hit.
    fn wait(&self) -> Vec<String> {
        let mut polled = vec![PollFd::new(&*self.wake, PollFlags::IN)];
        let mut ids = Vec::with_capacity(self.watches.len() * 2);
        for (id, watch) in &self.watches {
            for (fd, flags) in watch.events() {
                polled.push(PollFd::from_borrowed_fd(fd, flags));
                ids.push(id);
            }
        }
        let due = self.watches.values().map(Watch::next_due).min();
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
                Ok(Order::Watch(id, watch)) => drop(self.watches.insert(id, *watch)),
                Ok(Order::Forget(id)) => drop(self.watches.remove(&id)),
                Ok(Order::InputSent(id, at)) => {
                    if let Some(watch) = self.watches.get_mut(&id) {
                        watch.input_sent(at);
                    }
                }
                Ok(Order::Examine(id)) => {
                    let found = self.watches.get_mut(&id);
                    let block = found.and_then(|watch| watch.examine_now(Instant::now()));
                    if let Some(block) = block {
                        (self.tell)(Blocked { id, block });
                    }
                }
                Err(TryRecvError::Empty) => return Flow::Continue,
                Err(TryRecvError::Disconnected) => return Flow::End,
            }
        }
    }
}
