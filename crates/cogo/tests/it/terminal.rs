//! `cogo run` and `attach` on a real terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::fixture::{Fixture, await_condition, finish};

/// Nothing that is drawn takes longer, on a machine that works.
const PATIENCE: Duration = Duration::from_mins(1);

/// A terminal with `cogo` on it, and the hands and eyes of a user.
pub(crate) struct Terminal {
    master: File,
    slave: File,
    seen: String,
}

impl Terminal {
    pub(crate) fn new(rows: u16, columns: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let terminal = Self {
            master: master.into(),
            slave: slave.into(),
            seen: String::new(),
        };
        terminal.resize(rows, columns);
        terminal
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&self.slave, size).unwrap();
    }

    /// Runs a command with all three standard descriptors on this terminal. It has no
    /// controlling terminal, so signals come by `kill`.
    pub(crate) fn start(&self, command: &mut Command) -> Child {
        let end = || Stdio::from(self.slave.try_clone().unwrap());
        command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .env("TERM", "xterm")
            .spawn()
            .unwrap()
    }

    pub(crate) fn press(&mut self, keys: &[u8]) {
        self.master.write_all(keys).unwrap();
    }

    /// Reads until this text is on the screen.
    pub(crate) fn expect(&mut self, text: &str) {
        let began = Instant::now();
        while !self.seen.contains(text) {
            assert!(began.elapsed() < PATIENCE, "{text:?} in {:?}", self.seen);
            let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
            let patience = Timespec {
                tv_sec: 60,
                tv_nsec: 0,
            };
            assert!(
                poll(&mut fds, Some(&patience)).unwrap() > 0,
                "{text:?} in {:?}",
                self.seen
            );
            let mut buffer = [0; 4096];
            let length = self.master.read(&mut buffer).unwrap();
            self.seen
                .push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(&self.slave)
            .unwrap()
            .local_modes
            .contains(LocalModes::ICANON)
    }
}

#[test]
fn keys_sizes_and_colours_go_through() {
    let fixture = Fixture::new();
    let mut terminal = Terminal::new(33, 101);
    let script = "test -t 0 && test -t 1 && stty size; echo $TERM; read word; echo got:$word; \
                  trap 'stty size; exit 4' WINCH; echo waiting; while :; do sleep 0.02; done";
    let mut child = terminal.start(&mut fixture.script(&[], script));
    terminal.expect("33 101");
    terminal.expect("xterm");
    assert!(terminal.is_raw());
    terminal.press(b"hello\r");
    terminal.expect("got:hello");
    terminal.expect("waiting");
    terminal.resize(20, 70);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::WINCH).unwrap();
    terminal.expect("20 70");
    terminal.expect("exited 4");
    assert_eq!(child.wait().unwrap().code(), Some(4));
    assert!(!terminal.is_raw());
}

#[test]
fn ctrl_c_is_the_commands() {
    let fixture = Fixture::new();
    let mut terminal = Terminal::new(24, 80);
    let mut child = terminal.start(&mut fixture.script(&[], "echo ready; exec sleep 100"));
    terminal.expect("ready");
    terminal.press(b"\x03");
    terminal.expect("killed by SIGINT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn the_terminal_is_restored_when_cogo_is_told_to_end() {
    let fixture = Fixture::new();
    let mut terminal = Terminal::new(24, 80);
    let mut child = terminal.start(&mut fixture.script(&[], "echo ready; exec sleep 100"));
    terminal.expect("ready");
    assert!(terminal.is_raw());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    terminal.expect("cancelled");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(!terminal.is_raw());
}

#[test]
fn no_pty_is_respected() {
    let fixture = Fixture::new();
    let mut terminal = Terminal::new(24, 80);
    let script = "test -t 1 || echo a pipe";
    let mut child = terminal.start(&mut fixture.script(&["--no-pty"], script));
    terminal.expect("a pipe");
    terminal.expect("exited 0");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn attach_detaches_by_its_keys() {
    let fixture = Fixture::new();
    let ran = finish(&mut fixture.script(&["--detach", "--pty"], "echo up; exec cat"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let mut terminal = Terminal::new(24, 80);
    let mut child = terminal.start(&mut fixture.cogo(["attach", "last", "--replay"]));
    terminal.expect("up");
    terminal.press(b"word\r");
    terminal.expect("word\r\nword");
    terminal.press(b"\x10\x11");
    terminal.expect("left running");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!terminal.is_raw());
    assert_eq!(
        finish(&mut fixture.cogo(["ps", "-q"]))
            .stdout
            .lines()
            .count(),
        1
    );

    let mut again = terminal.start(&mut fixture.cogo(["attach", "last"]));
    await_condition("raw mode", || terminal.is_raw());
    terminal.press(b"\x04");
    terminal.expect("exited 0");
    assert_eq!(again.wait().unwrap().code(), Some(0));
}
