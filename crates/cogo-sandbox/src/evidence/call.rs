//! From a system call and its arguments to what is waited for.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::descriptor::Descriptors;
use super::{Call, Target, Timeout, Wait, lock, proc_file};

/// A system call as a thread entered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arguments {
    pub(super) number: i64,
    pub(super) values: [u64; 6],
}

/// Most descriptors that are looked at for one `poll` or `select`.
const POLLED_MAX: u64 = 256;

/// What a sleeping thread of a process waits for.
pub(super) fn wait(arguments: Arguments, tid: i32, descriptors: &mut Descriptors<'_>) -> Wait {
    let pid = descriptors.pid;
    let [first, second, third, fourth, fifth, _] = arguments.values;
    let on = |call, descriptors: &mut Descriptors<'_>| Wait {
        call,
        on: vec![descriptors.target(first as i32)],
        timeout: Timeout::Never,
    };
    let alone = |call| Wait {
        call,
        ..Wait::default()
    };
    match arguments.number {
        libc::SYS_futex => futex(pid, &arguments.values),
        libc::SYS_nanosleep => sleep(relative(pid, first)),
        libc::SYS_clock_nanosleep => sleep(match second as i32 {
            libc::TIMER_ABSTIME => absolute(pid, third, clock(first as i32)),
            _ => relative(pid, third),
        }),
        // The kernel restarts what had a timeout, and only that, with this call.
        libc::SYS_restart_syscall => sleep(None),
        libc::SYS_read
        | libc::SYS_readv
        | libc::SYS_pread64
        | libc::SYS_preadv
        | libc::SYS_preadv2
        | libc::SYS_recvfrom
        | libc::SYS_recvmsg
        | libc::SYS_splice
        | libc::SYS_tee => on(Call::Read, descriptors),
        libc::SYS_sendfile | libc::SYS_copy_file_range => Wait {
            call: Call::Write,
            on: vec![descriptors.target(first as i32)],
            timeout: Timeout::Never,
        },
        libc::SYS_recvmmsg => Wait {
            timeout: relative_or_never(pid, fifth),
            ..on(Call::Read, descriptors)
        },
        libc::SYS_write
        | libc::SYS_writev
        | libc::SYS_pwrite64
        | libc::SYS_pwritev
        | libc::SYS_pwritev2
        | libc::SYS_sendto
        | libc::SYS_sendmsg
        | libc::SYS_sendmmsg => on(Call::Write, descriptors),
        libc::SYS_accept | libc::SYS_accept4 => on(Call::Accept, descriptors),
        libc::SYS_connect => on(Call::Connect, descriptors),
        libc::SYS_ppoll => Wait {
            call: Call::Poll,
            on: polled(pid, first, second, descriptors),
            timeout: relative_or_never(pid, third),
        },
        libc::SYS_pselect6 => Wait {
            call: Call::Poll,
            on: selected(pid, &arguments.values, descriptors),
            timeout: relative_or_never(pid, fifth),
        },
        libc::SYS_epoll_pwait => Wait {
            call: Call::Poll,
            on: descriptors.watched_by(first as i32),
            timeout: milliseconds(fourth),
        },
        libc::SYS_epoll_pwait2 => Wait {
            call: Call::Poll,
            on: descriptors.watched_by(first as i32),
            timeout: relative_or_never(pid, fourth),
        },
        libc::SYS_wait4 | libc::SYS_waitid | libc::SYS_clone | libc::SYS_clone3 => {
            alone(Call::Child)
        }
        libc::SYS_flock => alone(Call::Lock(lock::holder(pid, descriptors.is_inside))),
        libc::SYS_fcntl if is_lock_wait(second as i32) => {
            alone(Call::Lock(lock::holder(pid, descriptors.is_inside)))
        }
        libc::SYS_rt_sigsuspend => alone(Call::Signal),
        libc::SYS_rt_sigtimedwait => Wait {
            timeout: relative_or_never(pid, third),
            ..alone(Call::Signal)
        },
        libc::SYS_openat | libc::SYS_openat2 => alone(Call::Open),
        libc::SYS_semop | libc::SYS_msgrcv | libc::SYS_msgsnd => alone(Call::Message),
        libc::SYS_semtimedop => Wait {
            timeout: relative_or_never(pid, fourth),
            ..alone(Call::Message)
        },
        libc::SYS_mq_timedreceive | libc::SYS_mq_timedsend => Wait {
            timeout: relative_or_never(pid, fifth),
            ..alone(Call::Message)
        },
        number => older(number, &arguments.values, tid, descriptors),
    }
}

/// Calls that newer architectures do without.
#[cfg(target_arch = "x86_64")]
fn older(number: i64, values: &[u64; 6], _tid: i32, descriptors: &mut Descriptors<'_>) -> Wait {
    let pid = descriptors.pid;
    let alone = |call| Wait {
        call,
        ..Wait::default()
    };
    match number {
        libc::SYS_poll => Wait {
            call: Call::Poll,
            on: polled(pid, values[0], values[1], descriptors),
            timeout: milliseconds(values[2]),
        },
        libc::SYS_select => Wait {
            call: Call::Poll,
            on: selected(pid, values, descriptors),
            timeout: relative_or_never(pid, values[4]),
        },
        libc::SYS_epoll_wait => Wait {
            call: Call::Poll,
            on: descriptors.watched_by(values[0] as i32),
            timeout: milliseconds(values[3]),
        },
        libc::SYS_pause => alone(Call::Signal),
        libc::SYS_vfork | libc::SYS_fork => alone(Call::Child),
        libc::SYS_open | libc::SYS_creat => alone(Call::Open),
        number => alone(Call::Other { number }),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn older(number: i64, _: &[u64; 6], _: i32, _: &mut Descriptors<'_>) -> Wait {
    Wait {
        call: Call::Other { number },
        ..Wait::default()
    }
}

fn sleep(time: Option<Duration>) -> Wait {
    Wait {
        call: Call::Sleep,
        on: Vec::new(),
        timeout: Timeout::After(time),
    }
}

fn is_lock_wait(command: i32) -> bool {
    command == libc::F_SETLKW || command == libc::F_OFD_SETLKW
}

/// Operations of `futex(2)`, without the flags above them.
const OPERATION_MASK: i32 = !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);

fn futex(pid: i32, values: &[u64; 6]) -> Wait {
    let [address, operation, _, timeout, ..] = *values;
    let operation = operation as i32;
    let timeout = match operation & OPERATION_MASK {
        _ if timeout == 0 => Timeout::Never,
        // This one alone takes a time to wait; the others take an end.
        libc::FUTEX_WAIT => Timeout::After(relative(pid, timeout)),
        _ if operation & libc::FUTEX_CLOCK_REALTIME != 0 => {
            Timeout::After(absolute(pid, timeout, ClockId::Realtime))
        }
        _ => Timeout::After(absolute(pid, timeout, ClockId::Monotonic)),
    };
    Wait {
        call: Call::Futex {
            address,
            owner: lock_owner(pid, values),
        },
        on: Vec::new(),
        timeout,
    }
}

/// The kernel keeps the owner of a priority-inheriting lock in its word. A mutex of glibc keeps it
/// two words on, and is told from anything else by all its fields: it is waited for by this very
/// operation and value, it is in use, and it is of a kind that exists.
fn lock_owner(pid: i32, values: &[u64; 6]) -> Option<i32> {
    const OWNER_MASK: u32 = 0x3fff_ffff;
    const CONTENDED: u32 = 2;
    const KIND_MAX: u32 = 3;
    let [address, operation, value, ..] = *values;
    let bytes = proc_file::memory::<20>(pid, address)?;
    let mut words = [0_u32; 5];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().ok()?);
    }
    let [lock, _, owner, users, kind] = words;
    let found = match operation as i32 & OPERATION_MASK {
        libc::FUTEX_LOCK_PI | libc::FUTEX_LOCK_PI2 => lock & OWNER_MASK,
        libc::FUTEX_WAIT => {
            let waited_for = value as u32 == CONTENDED && lock == CONTENDED;
            (waited_for && users > 0 && kind <= KIND_MAX).then_some(owner)?
        }
        _ => return None,
    };
    i32::try_from(found).ok().filter(|owner| *owner > 0)
}

/// A `struct timespec` or `timeval`, which differ in the unit of the second field only: that
/// makes no difference worth a distinction here.
fn relative(pid: i32, address: u64) -> Option<Duration> {
    let bytes = proc_file::memory::<16>(pid, address)?;
    let seconds = i64::from_ne_bytes(bytes[..8].try_into().ok()?);
    let fraction = i64::from_ne_bytes(bytes[8..].try_into().ok()?);
    Some(Duration::new(
        u64::try_from(seconds).ok()?,
        u32::try_from(fraction)
            .ok()
            .filter(|n| *n < 1_000_000_000)?,
    ))
}

fn relative_or_never(pid: i32, address: u64) -> Timeout {
    match address {
        0 => Timeout::Never,
        _ => Timeout::After(relative(pid, address)),
    }
}

fn absolute(pid: i32, address: u64, clock: ClockId) -> Option<Duration> {
    let end = relative(pid, address)?;
    let now = clock_gettime(clock);
    let now = Duration::new(now.tv_sec as u64, now.tv_nsec as u32);
    Some(end.saturating_sub(now))
}

fn clock(number: i32) -> ClockId {
    match number {
        libc::CLOCK_REALTIME => ClockId::Realtime,
        libc::CLOCK_BOOTTIME => ClockId::Boottime,
        _ => ClockId::Monotonic,
    }
}

/// The timeout of `poll` and `epoll_wait`: a negative one waits for ever.
fn milliseconds(value: u64) -> Timeout {
    match value as i32 {
        ..=-1 => Timeout::Never,
        positive => Timeout::After(Some(Duration::from_millis(positive as u64))),
    }
}

fn polled(pid: i32, address: u64, count: u64, descriptors: &mut Descriptors<'_>) -> Vec<Target> {
    const ENTRY: usize = 8;
    let count = count.min(POLLED_MAX) as usize;
    if count == 0 {
        return Vec::new();
    }
    let Some(bytes) = proc_file::memory_vec(pid, address, count * ENTRY) else {
        return vec![unknown("poll set")];
    };
    let numbers = bytes.chunks_exact(ENTRY).map(|entry| {
        let number: [u8; 4] = [entry[0], entry[1], entry[2], entry[3]];
        i32::from_ne_bytes(number)
    });
    // A negative descriptor is one to pass over.
    numbers
        .filter(|number| *number >= 0)
        .map(|number| descriptors.target(number))
        .collect()
}

fn selected(pid: i32, values: &[u64; 6], descriptors: &mut Descriptors<'_>) -> Vec<Target> {
    let count = values[0].min(POLLED_MAX) as usize;
    let length = count.div_ceil(64) * 8;
    let mut set = vec![0_u8; length];
    for address in values[1..4].iter().filter(|address| **address != 0) {
        let Some(bytes) = proc_file::memory_vec(pid, *address, length) else {
            return vec![unknown("select set")];
        };
        for (all, one) in set.iter_mut().zip(bytes) {
            *all |= one;
        }
    }
    let is_set = |number: &usize| set[number / 8] & (1 << (number % 8)) != 0;
    (0..count)
        .filter(is_set)
        .map(|number| descriptors.target(number as i32))
        .collect()
}

fn unknown(name: &str) -> Target {
    Target::Other {
        name: name.to_owned(),
    }
}
