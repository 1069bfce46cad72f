use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output};

use super::program::ARCHITECTURE;
use super::*;
use crate::probe::attempt::{Failure, Step, attempt, checked};

/// What the kernel would make of a call: an interpreter for the instructions that the program uses.
fn evaluate(filter: &Filter, architecture: u32, number: u32, arguments: [u64; 6]) -> Action {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let instruction = filter.program[at];
        let (k, code) = (instruction.k, u32::from(instruction.code));
        at += 1;
        let branch = |taken| {
            usize::from(if taken {
                instruction.jt
            } else {
                instruction.jf
            })
        };
        match code {
            0x20 => {
                accumulator = match k {
                    0 => number,
                    4 => architecture,
                    low if low % 8 == 0 => arguments[(low as usize - 16) / 8] as u32,
                    other => panic!("load from {other}"),
                };
            }
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += branch(accumulator == k),
            0x35 => at += branch(accumulator >= k),
            0x06 if k == libc::SECCOMP_RET_ALLOW => return Action::Allow,
            0x06 if k == libc::SECCOMP_RET_KILL_PROCESS => return Action::KillProcess,
            0x06 if k & !0xffff == libc::SECCOMP_RET_ERRNO => {
                return Action::Errno((k & 0xffff) as i32);
            }
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn holds(rule: &Rule, arguments: [u64; 6]) -> bool {
    rule.when.iter().all(|test| {
        let value = arguments[usize::from(test.argument)] as u32 & test.mask;
        test.values.contains(&value) == (test.relation == Relation::OneOf)
    })
}

fn expected(number: u32, arguments: [u64; 6]) -> Action {
    rules()
        .iter()
        .find(|rule| rule.number == number && holds(rule, arguments))
        .map_or(Action::Errno(libc::ENOSYS), |rule| rule.action)
}

/// Arguments under which `rule`, and no rule before it, decides.
fn arguments_for(rule: &Rule) -> [u64; 6] {
    let tried = [
        0,
        1,
        2,
        3,
        5,
        6,
        10,
        16,
        17,
        35,
        99,
        0x40,
        0x800,
        0x6000,
        0x5412,
        0x5423,
        0x0400_0000,
    ];
    let tried = || {
        tried
            .into_iter()
            .map(|low: u64| 0xffff_ffff_0000_0000 | low)
    };
    for first in tried() {
        for second in tried() {
            for third in tried() {
                for fourth in [0, 0x800] {
                    let arguments = [first, second, third, fourth, 0, 0];
                    let decides = rules()
                        .iter()
                        .find(|other| other.number == rule.number && holds(other, arguments))
                        .is_some_and(|other| std::ptr::eq(other, rule));
                    if decides {
                        return arguments;
                    }
                }
            }
        }
    }
    panic!("no arguments found for {rule:?}");
}

#[test]
fn every_number_up_to_the_reviewed_one_is_named_or_unused() {
    let unused = |number| match number {
        #[cfg(target_arch = "x86_64")]
        174 | 177 | 178 | 334..=423 => true,
        #[cfg(target_arch = "aarch64")]
        244..=259 | 295..=423 => true,
        _ => false,
    };
    for number in 0..=REVIEWED_MAX {
        let named = rules().iter().any(|rule| rule.number == number);
        assert!(named || unused(number), "{number} was not reviewed");
    }
    assert!(rules().iter().all(|rule| rule.number <= REVIEWED_MAX));
}

#[test]
fn a_call_is_named_once_or_with_conditions_and_a_last_word() {
    for rule in rules() {
        let same: Vec<_> = rules()
            .iter()
            .filter(|other| other.number == rule.number)
            .collect();
        let unconditional = same.iter().filter(|rule| rule.when.is_empty()).count();
        assert_eq!(unconditional, 1, "{}", rule.syscall);
        assert!(same.last().unwrap().when.is_empty(), "{}", rule.syscall);
        assert!(
            same.iter().all(|other| other.syscall == rule.syscall),
            "{}",
            rule.syscall
        );
    }
}

#[test]
fn the_program_says_what_the_table_says() {
    let filter = Filter::compile();
    let interesting = [
        0,
        1,
        2,
        3,
        5,
        8,
        10,
        16,
        17,
        35,
        58,
        0x40,
        262,
        0x800,
        0x5412,
        0x541c,
        0x5423,
        0x6000,
        0x2180,
        0x81a4,
        0x4_0000,
        0x80003,
        0x11,
        0x1000_0011,
        0x4000_0000,
        0xffff_ffff,
        0x1_0000_5412,
    ];
    for number in (0..REVIEWED_MAX + 200).chain([0x4000_0000, 0x4000_0010, u32::MAX]) {
        // Of an argument that no rule looks at, one value is enough.
        let values = |argument| {
            let looks = |rule: &Rule| rule.when.iter().any(|test| test.argument == argument);
            let all = rules()
                .iter()
                .any(|rule| rule.number == number && looks(rule));
            &interesting[..if all { interesting.len() } else { 1 }]
        };
        for a in values(0) {
            for b in values(1) {
                for c in values(2) {
                    for d in values(3) {
                        let arguments = [*a, *b, *c, *d, 0, 0];
                        assert_eq!(
                            evaluate(&filter, ARCHITECTURE, number, arguments),
                            expected(number, arguments),
                            "call {number} with {arguments:x?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn unknown_calls_do_not_exist_and_foreign_ones_kill() {
    let filter = Filter::compile();
    let enosys = Action::Errno(libc::ENOSYS);
    for number in [
        REVIEWED_MAX + 1,
        512,
        547,
        0x4000_0000,
        0x4000_0001,
        0xffff_ffff,
    ] {
        assert_eq!(
            evaluate(&filter, ARCHITECTURE, number, [0; 6]),
            enosys,
            "{number:#x}"
        );
    }
    for foreign in [0x4000_0003, 0x4000_0028, 0] {
        assert_eq!(
            evaluate(&filter, foreign, 0, [0; 6]),
            Action::KillProcess,
            "{foreign:#x}"
        );
    }
}

/// Runs `body` in a child under the filter.
fn filtered(body: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let filter = Filter::compile();
    attempt(0, || {
        rustix::thread::set_no_new_privs(true).step("no_new_privs")?;
        filter.install().step("install")?;
        body()
    })
}

/// The call's errno, 0 if it succeeded.
fn errno_of(number: u32, a: [u64; 6]) -> i32 {
    // SAFETY: tests pass arguments that are refused, or that are harmless when carried out.
    let status = unsafe { libc::syscall(i64::from(number), a[0], a[1], a[2], a[3], a[4], a[5]) };
    checked(status)
        .err()
        .map_or(0, |error| error.raw_os_error().unwrap_or(0))
}

#[test]
fn the_kernel_refuses_what_the_table_denies() {
    for rule in rules() {
        let Action::Errno(errno) = rule.action else {
            continue;
        };
        // Arguments that are bad in themselves: without the filter, nothing would happen either.
        let arguments = if rule.when.is_empty() {
            [u64::MAX; 6]
        } else {
            arguments_for(rule)
        };
        let refused = filtered(|| match errno_of(rule.number, arguments) {
            found if found == errno => Ok(()),
            found => Err(Failure {
                step: "another errno",
                errno: found,
            }),
        });
        assert_eq!(refused, Ok(()), "{} with {arguments:x?}", rule.syscall);
    }
}

#[test]
fn a_newer_call_fails_as_on_an_old_kernel() {
    let refused = filtered(|| match errno_of(REVIEWED_MAX + 1, [u64::MAX; 6]) {
        libc::ENOSYS => Ok(()),
        errno => Err(Failure {
            step: "another errno",
            errno,
        }),
    });
    assert_eq!(refused, Ok(()));
}

#[test]
fn typing_into_a_terminal_is_refused_with_any_high_bits() {
    let refused = filtered(|| {
        let byte = b'x';
        for high in [0, 1 << 32, 0xffff_ffff << 32, 0x8000_0000 << 32] {
            let command = high | u64::from(libc::TIOCSTI as u32);
            let arguments = [0, command, (&raw const byte) as u64, 0, 0, 0];
            match errno_of(libc::SYS_ioctl as u32, arguments) {
                libc::EPERM => {}
                errno => {
                    return Err(Failure {
                        step: "another errno",
                        errno,
                    });
                }
            }
        }
        // A neighbour is carried out: /dev/null is no terminal.
        let null = rustix::fs::open(
            c"/dev/null",
            rustix::fs::OFlags::RDWR,
            rustix::fs::Mode::empty(),
        )
        .step("open /dev/null")?;
        let arguments = [
            std::os::fd::AsRawFd::as_raw_fd(&null) as u64,
            0x5413,
            0,
            0,
            0,
            0,
        ];
        match errno_of(libc::SYS_ioctl as u32, arguments) {
            libc::ENOTTY => Ok(()),
            errno => Err(Failure {
                step: "TIOCGWINSZ",
                errno,
            }),
        }
    });
    assert_eq!(refused, Ok(()));
}

#[test]
fn kept_sockets_open_and_others_do_not() {
    let tried = filtered(|| {
        let socket = |family: i32, kind: i32, protocol: i32| {
            errno_of(
                libc::SYS_socket as u32,
                [family as u64, kind as u64, protocol as u64, 0, 0, 0],
            )
        };
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        for (step, found, wanted) in [
            (
                "unix",
                socket(libc::AF_UNIX, libc::SOCK_STREAM | flags, 0),
                0,
            ),
            (
                "tcp",
                socket(libc::AF_INET, libc::SOCK_STREAM | flags, libc::IPPROTO_TCP),
                0,
            ),
            ("udp", socket(libc::AF_INET, libc::SOCK_DGRAM | flags, 0), 0),
            (
                "route",
                socket(
                    libc::AF_NETLINK,
                    libc::SOCK_RAW | flags,
                    libc::NETLINK_ROUTE,
                ),
                0,
            ),
            (
                "netfilter",
                socket(libc::AF_NETLINK, libc::SOCK_RAW, 12),
                libc::EPROTONOSUPPORT,
            ),
            (
                "raw",
                socket(libc::AF_INET, libc::SOCK_RAW | flags, libc::IPPROTO_ICMP),
                libc::EPERM,
            ),
            (
                "raw 6",
                socket(libc::AF_INET6, libc::SOCK_RAW | flags, 58),
                libc::EPERM,
            ),
            (
                "packet",
                socket(libc::AF_PACKET, libc::SOCK_RAW, 0),
                libc::EAFNOSUPPORT,
            ),
            (
                "vsock",
                socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
                libc::EAFNOSUPPORT,
            ),
            (
                "alg",
                socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
                libc::EAFNOSUPPORT,
            ),
            (
                "sctp",
                socket(libc::AF_INET, libc::SOCK_STREAM, 132),
                libc::EPROTONOSUPPORT,
            ),
            (
                "mptcp",
                socket(libc::AF_INET, libc::SOCK_STREAM, 262),
                libc::EPROTONOSUPPORT,
            ),
            ("dccp", socket(libc::AF_INET, 6, 0), libc::ESOCKTNOSUPPORT),
        ] {
            if found != wanted {
                return Err(Failure { step, errno: found });
            }
        }
        Ok(())
    });
    assert_eq!(tried, Ok(()));
}

fn run_filtered(program: &str, arguments: &[&str]) -> Output {
    let filter = Filter::compile();
    let mut command = Command::new(program);
    command.args(arguments);
    // SAFETY: both calls are async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            rustix::thread::set_no_new_privs(true)?;
            filter.install()
        });
    }
    command.output().unwrap()
}

#[test]
fn programs_run() {
    let script = "set -e; d=$(mktemp -d); cd $d; mkdir a; echo 1 > a/b; mv a/b a/c; ln -s c a/d; \
                  mkfifo p; cat a/d | sort | wc -l; chmod 600 a/c; rm -r a p; cd /; rmdir $d";
    let output = run_filtered("sh", &["-c", script]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "1");
}

#[test]
fn python_runs_with_threads_processes_and_sockets() {
    let script = "
import ctypes, errno, multiprocessing, os, shutil, signal, socket, subprocess, threading
done = []
threads = [threading.Thread(target=done.append, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
server = socket.create_server(('127.0.0.1', 0))
client = socket.create_connection(server.getsockname()); client.sendall(b'hi')
assert server.accept()[0].recv(2) == b'hi'
assert subprocess.run(['true']).returncode == 0
pool = multiprocessing.get_context('fork').Pool(2)
assert pool.map(abs, [-1, -2]) == [1, 2]
pool.close(); pool.join()
a, b = socket.socketpair()
os.memfd_create('x'); os.getrandom(4); os.posix_fallocate
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x10000000) == -1 and ctypes.get_errno() == errno.EPERM
print('fine', len(done))
";
    if Command::new("python3").arg("-c").arg("").output().is_err() {
        return; // a host without it
    }
    let output = run_filtered("python3", &["-c", script]);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "fine 4",
        "{output:?}"
    );
}

#[test]
fn a_program_can_filter_itself_further_and_be_traced() {
    let nested = filtered(|| {
        let deny_nothing = Filter {
            program: Box::new([libc::sock_filter {
                code: 0x06,
                jt: 0,
                jf: 0,
                k: libc::SECCOMP_RET_ALLOW,
            }]),
        };
        deny_nothing.install().step("install a second filter")?;
        match errno_of(libc::SYS_mount as u32, [u64::MAX; 6]) {
            libc::EPERM => {}
            errno => {
                return Err(Failure {
                    step: "the first filter is still there",
                    errno,
                });
            }
        }
        let traceme = [0; 6]; // PTRACE_TRACEME is 0
        match errno_of(libc::SYS_ptrace as u32, traceme) {
            0 => Ok(()),
            errno => Err(Failure {
                step: "ptrace",
                errno,
            }),
        }
    });
    assert_eq!(nested, Ok(()));
}

#[test]
fn install_needs_no_new_privs_or_root() {
    let filter = Filter::compile();
    let refused = attempt(0, || {
        if rustix::process::getuid().is_root() {
            let other = rustix::process::Uid::from_raw(65534);
            rustix::thread::set_thread_uid(other).step("leave root")?;
        }
        match filter.install() {
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => Ok(()),
            _ => Err(Failure {
                step: "the filter was accepted",
                errno: 0,
            }),
        }
    });
    assert_eq!(refused, Ok(()));
}

/// `getpid` through the 32-bit entry, where 20 is its number.
#[cfg(target_arch = "x86_64")]
fn getpid_32() -> i32 {
    let pid;
    // SAFETY: the call takes no arguments; the entry preserves all but the result register.
    unsafe { std::arch::asm!("int 0x80", inout("eax") 20 => pid) };
    pid
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_32_bit_entry_kills() {
    let call = |filter: Option<Filter>| {
        let mut command = Command::new("true");
        // SAFETY: all calls are async-signal-safe.
        unsafe {
            command.pre_exec(move || {
                if let Some(filter) = &filter {
                    rustix::thread::set_no_new_privs(true)?;
                    filter.install()?;
                }
                assert!(getpid_32() > 0);
                Ok(())
            });
        }
        command.status()
    };
    // A kernel without the entry kills the unfiltered child as well, or answers an error.
    if !call(None).is_ok_and(|status| status.success()) {
        return;
    }
    let status = call(Some(Filter::compile())).unwrap();
    assert_eq!(status.signal(), Some(libc::SIGSYS));
}

/// Prints size and cost: `cargo test -p cogo-sandbox --release filter_cost -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn filter_cost() {
    use std::time::Instant;
    let start = Instant::now();
    let filter = Filter::compile();
    let compile = start.elapsed();
    eprintln!(
        "{} instructions, compiled in {compile:?}",
        filter.program.len()
    );
    let getppid = || {
        let start = Instant::now();
        for _ in 0..1_000_000 {
            // SAFETY: takes nothing, changes nothing.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
        start.elapsed() / 1_000_000
    };
    eprintln!("getppid without: {:?}", getppid());
    // The least that any load costs, beside ours.
    let allow = libc::sock_filter {
        code: 0x06,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    };
    let floor = Filter {
        program: Box::new([allow]),
    };
    for round in 0..20 {
        let filter = if round % 2 == 0 { &filter } else { &floor };
        let measured = attempt(0, || {
            rustix::thread::set_no_new_privs(true).step("no_new_privs")?;
            let start = Instant::now();
            filter.install().step("install")?;
            let load = start.elapsed();
            let cost = (round == 0).then(getppid);
            eprintln!(
                "{} instructions: load {load:?}, getppid {cost:?}",
                filter.program.len()
            );
            Ok(())
        });
        assert_eq!(measured, Ok(()));
    }
}
