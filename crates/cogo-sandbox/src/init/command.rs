//! Starting one command from process 1: its standard streams or terminal, its strings, its paths.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{AtStep, SpawnRequest, Step, StepFailure};
use crate::spec::PtySize;
use crate::sys::{ChildProcess, ExecStep, Execution};

/// Starts a command; returns it and, if it has one, the master of its terminal.
pub(super) fn start(
    request: &SpawnRequest,
    descriptors: impl Iterator<Item = OwnedFd>,
) -> Step<(ChildProcess, Option<OwnedFd>)> {
    let (stdio, master) = if let Some(size) = request.pty {
        let (master, terminal) = open_terminal(size)?;
        let copy = |fd: &OwnedFd| fd.try_clone().at("copy the terminal");
        ([copy(&terminal)?, copy(&terminal)?, terminal], Some(master))
    } else {
        (pipes(request, descriptors)?, None)
    };
    let execution = Execution {
        candidates: candidates(&request.argv[0], &request.env)?,
        argv: strings(request.argv.iter().map(String::as_bytes))?,
        env: strings(
            request
                .env
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        )?,
        cwd: c_string(request.cwd.as_os_str().as_bytes())?,
        stdio,
        controlling_terminal: master.is_some(),
        join: Vec::new(),
    };
    match execution.start() {
        Ok(child) => Ok((child, master)),
        Err(failure) => Err(StepFailure {
            step: match failure.step {
                ExecStep::Clone => "fork".to_owned(),
                ExecStep::JoinCgroup => "join the control group".to_owned(),
                ExecStep::Terminal => "set up standard input and output".to_owned(),
                ExecStep::WorkingDirectory => {
                    format!("enter the working directory `{}`", request.cwd.display())
                }
                ExecStep::Execute => format!("execute `{}`", request.argv[0]),
            },
            errno: failure.errno,
        }),
    }
}

/// The standard streams that came beside the request.
fn pipes(
    request: &SpawnRequest,
    mut descriptors: impl Iterator<Item = OwnedFd>,
) -> Step<[OwnedFd; 3]> {
    let stdin = if request.stdin {
        descriptors.next()
    } else {
        Some(open_null()?)
    };
    match (stdin, descriptors.next(), descriptors.next()) {
        (Some(stdin), Some(out), Some(err)) => Ok([stdin, out, err]),
        _ => Err(io::Error::from_raw_os_error(libc::EBADF)).at("receive descriptors"),
    }
}

/// Opens a terminal of the sandbox's own `devpts`, so that its name means something inside.
fn open_terminal(size: PtySize) -> Step<(OwnedFd, OwnedFd)> {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).at("open a terminal")?;
    unlockpt(&master).at("unlock the terminal")?;
    let terminal = ioctl_tiocgptpeer(&master, flags).at("open the terminal's other side")?;
    let size = rustix::termios::Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(&terminal, size).at("size the terminal")?;
    Ok((master, terminal))
}

fn open_null() -> Step<OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).at("open /dev/null")
}

/// The paths `execvp` would try.
fn candidates(program: &str, env: &[(String, String)]) -> Step<Vec<CString>> {
    if program.contains('/') {
        return Ok(vec![c_string(program.as_bytes())?]);
    }
    let path = env
        .iter()
        .rev()
        .find(|(name, _)| name == "PATH")
        .map(|(_, value)| value.as_str());
    path.unwrap_or("/usr/bin:/bin")
        .split(':')
        .filter(|directory| directory.starts_with('/'))
        .map(|directory| c_string(Path::new(directory).join(program).as_os_str().as_bytes()))
        .collect()
}

fn strings<S: AsRef<[u8]>>(all: impl Iterator<Item = S>) -> Step<Vec<CString>> {
    all.map(|s| c_string(s.as_ref())).collect()
}

fn c_string(bytes: &[u8]) -> Step<CString> {
    CString::new(bytes)
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
        .at("pass on a string that contains a NUL byte")
}
