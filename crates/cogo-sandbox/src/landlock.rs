//! The Landlock ruleset around an exec: a second fence behind the mounts.
//!
//! The mounts decide what an exec sees, and whether it may write there. Landlock says the same
//! again in another part of the kernel, and adds what mounts cannot say: no signals and no abstract
//! Unix sockets out of the sandbox (from ABI 6 on), no device commands outside `/dev` (from ABI 5
//! on), and no tracing of processes that are not under the same ruleset.
//!
//! A ruleset is *prepared* where memory may be allocated and paths can be opened, and *put in
//! force* in the child, just before the program starts, with one system call.
//!
//! Deliberately absent: network rules (the network namespace and the proxy decide those). Not
//! covered by the kernel: reading metadata, `chmod`, `chown`, extended attributes, `chdir`.
//!
//! Processes under two different preparations cannot signal each other, nor reach each other's
//! abstract sockets. Commands that are to work together are put under one, by their common parent.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope, make_bitflags,
};

/// The newest ABI whose rights are asked for: what is newer was not tried with real builds.
const ABI_MAX: ABI = ABI::V7;

/// `LANDLOCK_CREATE_RULESET_VERSION`.
const VERSION_QUERY: u32 = 1;

/// What an exec may do below which paths. All else is refused. Rights add up along a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LandlockRules {
    /// Read files, list directories, run programs.
    pub read_execute: Vec<PathBuf>,
    /// All of that, and create, change, move and remove anything but device nodes.
    pub read_write: Vec<PathBuf>,
    /// Write to files that exist, but create none: `/proc`.
    pub write_file_only: Vec<PathBuf>,
    /// Write to files that exist and send them device commands (`ioctl`): `/dev`.
    pub devices: Vec<PathBuf>,
}

/// Why a ruleset could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum LandlockError {
    /// A path of the rules cannot be opened.
    #[error("failed to open `{path}` for a landlock rule")]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: landlock::PathFdError,
    },
    /// The kernel has Landlock but refused the ruleset.
    #[error("failed to create the landlock ruleset")]
    Ruleset(#[from] landlock::RulesetError),
}

/// A ruleset in the kernel, ready to be put in force any number of times.
#[derive(Debug)]
pub struct PreparedRuleset {
    fd: OwnedFd,
    abi: u32,
}

/// The version of Landlock that the kernel offers; `None` where it is not built in or not enabled.
pub fn landlock_abi() -> Option<u32> {
    // SAFETY: with a null attribute and this flag the call only answers a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            VERSION_QUERY,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

impl LandlockRules {
    /// Builds the ruleset in the kernel from the paths as they are now; `None` where the kernel
    /// has no Landlock. What an older ABI cannot express is left out: see [`PreparedRuleset::abi`].
    ///
    /// # Errors
    ///
    /// A path that does not exist, or the kernel's refusal.
    pub fn prepare(&self) -> Result<Option<PreparedRuleset>, LandlockError> {
        Ok(self.begin()?.map(UnfinishedRuleset::finish))
    }

    /// As [`Self::prepare`], for a ruleset to which further paths are added later.
    ///
    /// # Errors
    ///
    /// As [`Self::prepare`].
    pub fn begin(&self) -> Result<Option<UnfinishedRuleset>, LandlockError> {
        let Some(abi) = landlock_abi() else {
            return Ok(None);
        };
        let ruleset = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI_MAX))?
            .scope(Scope::from_all(ABI_MAX))?
            .create()?;
        let unfinished = UnfinishedRuleset {
            ruleset,
            abi: abi.min(ABI_MAX as u32),
        };
        unfinished.allow_more(self).map(Some)
    }
}

/// A ruleset in the kernel that is still being written.
#[derive(Debug)]
pub struct UnfinishedRuleset {
    ruleset: RulesetCreated,
    abi: u32,
}

impl UnfinishedRuleset {
    /// Allows more, by the paths as they are now.
    ///
    /// # Errors
    ///
    /// As [`LandlockRules::prepare`].
    pub fn allow_more(mut self, rules: &LandlockRules) -> Result<Self, LandlockError> {
        for (paths, access) in [
            (&rules.read_execute, read_execute()),
            (&rules.read_write, read_write()),
            (&rules.write_file_only, write_file()),
            (&rules.devices, write_file() | AccessFs::IoctlDev),
        ] {
            for path in paths {
                self.ruleset = allow(self.ruleset, path, access)?;
            }
        }
        Ok(self)
    }

    /// Makes it ready to be put in force.
    pub fn finish(self) -> PreparedRuleset {
        let fd: Option<OwnedFd> = self.ruleset.into();
        PreparedRuleset {
            fd: fd.expect("a ruleset that was created is in the kernel"),
            abi: self.abi,
        }
    }
}

impl PreparedRuleset {
    /// The version of Landlock whose rights are in force, which says what is refused: from 2 on
    /// moving files between directories is allowed where writing is; from 3 on truncation is
    /// refused where writing is; from 5 on device commands; from 6 on signals and abstract sockets.
    pub fn abi(&self) -> u32 {
        self.abi
    }

    /// Puts the calling thread, and all it starts from here on, under the ruleset for good.
    ///
    /// Async-signal-safe. The caller has set `no_new_privs`.
    ///
    /// # Errors
    ///
    /// `EPERM` without `no_new_privs`; `E2BIG` below 16 nested rulesets.
    pub fn restrict_self(&self) -> io::Result<()> {
        // SAFETY: the call takes a descriptor and flags, and touches no memory of ours.
        let status =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.fd.as_raw_fd(), 0) };
        if status == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, LandlockError> {
    let fd = PathFd::new(path).map_err(|source| LandlockError::Path {
        path: path.to_owned(),
        source,
    })?;
    Ok(ruleset.add_rule(PathBeneath::new(fd, access))?)
}

fn read_execute() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir})
}

/// Opening with `O_TRUNC`, as a shell's `>` does, is a truncation too.
fn write_file() -> BitFlags<AccessFs> {
    make_bitflags!(AccessFs::{WriteFile | Truncate})
}

fn read_write() -> BitFlags<AccessFs> {
    read_execute()
        | write_file()
        | make_bitflags!(AccessFs::{
            RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSock | MakeFifo | MakeSym | Refer
        })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions};
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
    use std::time::Instant;

    use tempfile::TempDir;

    use super::*;
    use crate::probe::attempt::{Failure, Step, attempt};

    /// A directory whose `open` may be written and whose `closed` may not.
    struct Fixture {
        top: TempDir,
        ruleset: PreparedRuleset,
    }

    impl Fixture {
        /// `None` on a kernel that cannot show what the test is about.
        fn new(abi_min: u32) -> Option<Self> {
            let top = tempfile::tempdir().unwrap();
            for side in ["open", "closed"] {
                let side = top.path().join(side);
                fs::create_dir_all(side.join("a")).unwrap();
                fs::create_dir(side.join("b")).unwrap();
                fs::write(side.join("a/file"), "content").unwrap();
            }
            let rules = LandlockRules {
                read_execute: vec!["/".into()],
                read_write: vec![top.path().join("open")],
                write_file_only: vec!["/proc".into()],
                devices: vec!["/dev".into()],
            };
            let ruleset = rules.prepare().unwrap()?;
            (ruleset.abi() >= abi_min).then_some(Self { top, ruleset })
        }

        fn path(&self, below: &str) -> PathBuf {
            self.top.path().join(below)
        }

        /// Runs `body` in a child under the ruleset.
        fn restricted(&self, body: impl FnOnce() -> Result<(), Failure>) {
            let result = attempt(0, || {
                rustix::thread::set_no_new_privs(true).step("no_new_privs")?;
                self.ruleset.restrict_self().step("restrict_self")?;
                body()
            });
            assert_eq!(result, Ok(()));
        }
    }

    /// The call failed with one of Landlock's refusals.
    fn refused<T>(step: &'static str, result: io::Result<T>) -> Result<(), Failure> {
        let errno = match result {
            Ok(_) => 0,
            Err(error) => error.raw_os_error().unwrap_or(0),
        };
        match errno {
            libc::EACCES | libc::EPERM | libc::EXDEV | libc::ECONNREFUSED => Ok(()),
            errno => Err(Failure { step, errno }),
        }
    }

    #[test]
    fn inside_all_work_is_done() {
        let Some(fixture) = Fixture::new(1) else {
            return;
        };
        fixture.restricted(|| {
            let file = fixture.path("open/a/new");
            fs::write(&file, "x").step("create")?;
            fs::write(&file, "yy").step("truncate")?;
            fs::rename(&file, fixture.path("open/a/newer")).step("rename")?;
            fs::create_dir(fixture.path("open/c")).step("mkdir")?;
            std::os::unix::fs::symlink("c", fixture.path("open/s")).step("symlink")?;
            UnixListener::bind(fixture.path("open/socket")).step("socket")?;
            fs::remove_dir_all(fixture.path("open/c")).step("remove")?;
            fs::read(fixture.path("closed/a/file")).step("read outside")?;
            fs::read_dir(fixture.path("closed")).step("list outside")?;
            fs::write("/dev/null", "x").step("write to a device")?;
            fs::write("/proc/self/comm", "x").step("write to proc")
        });
    }

    #[test]
    fn outside_nothing_is_changed() {
        let Some(fixture) = Fixture::new(3) else {
            return;
        };
        let file = fixture.path("closed/a/file");
        let opened = File::open(&file).unwrap();
        fixture.restricted(|| {
            refused("create", File::create(fixture.path("closed/new")))?;
            refused("append", OpenOptions::new().append(true).open(&file))?;
            refused("mkdir", fs::create_dir(fixture.path("closed/c")))?;
            refused(
                "symlink",
                std::os::unix::fs::symlink("a", fixture.path("closed/s")),
            )?;
            refused("rename", fs::rename(&file, fixture.path("closed/a/moved")))?;
            refused("remove", fs::remove_file(&file))?;
            refused("rmdir", fs::remove_dir(fixture.path("closed/b")))?;
            refused("socket", UnixListener::bind(fixture.path("closed/socket")))?;
            refused("create in dev", File::create("/dev/new"))?;
            // By name, without opening: the case that ABI 3 was made for.
            let name =
                std::ffi::CString::new(file.as_os_str().as_encoded_bytes()).map_err(|_| {
                    Failure {
                        step: "name",
                        errno: 0,
                    }
                })?;
            // SAFETY: the name is a C string.
            let status = unsafe { libc::truncate(name.as_ptr(), 0) };
            refused("truncate", crate::probe::attempt::checked(status.into()))?;
            drop(opened);
            Ok(())
        });
        assert_eq!(fs::read(&file).unwrap(), b"content");
    }

    #[test]
    fn files_move_between_writable_directories_but_not_across_the_fence() {
        let Some(fixture) = Fixture::new(2) else {
            return;
        };
        fixture.restricted(|| {
            let inside = fixture.path("open/a/file");
            fs::hard_link(&inside, fixture.path("open/b/link")).step("link inside")?;
            fs::rename(&inside, fixture.path("open/b/file")).step("rename inside")?;
            let (inside, outside) = (fixture.path("open/b/file"), fixture.path("closed/a/file"));
            refused(
                "rename out",
                fs::rename(&inside, fixture.path("closed/b/file")),
            )?;
            refused(
                "link out",
                fs::hard_link(&inside, fixture.path("closed/b/file")),
            )?;
            refused(
                "rename in",
                fs::rename(&outside, fixture.path("open/a/file")),
            )?;
            // A link in a writable place would make the file writable.
            refused(
                "link in",
                fs::hard_link(&outside, fixture.path("open/a/file")),
            )
        });
    }

    #[test]
    fn device_commands_work_in_dev_only() {
        let Some(fixture) = Fixture::new(5) else {
            return;
        };
        let ioctl = |path: &str| {
            let file = File::open(path)?;
            let mut size = [0_u16; 4];
            // SAFETY: TIOCGWINSZ writes four 16-bit numbers at most.
            let status = unsafe { libc::ioctl(file.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
            crate::probe::attempt::checked(status.into()).map(|_| ())
        };
        fixture.restricted(|| match ioctl("/dev/null") {
            // It reached the driver, which does not know it.
            Err(error) if error.raw_os_error() == Some(libc::ENOTTY) => Ok(()),
            other => other.step("ioctl in /dev"),
        });
        let rules = LandlockRules {
            read_execute: vec!["/".into()],
            ..LandlockRules::default()
        };
        let ruleset = rules.prepare().unwrap().unwrap();
        let fixture = Fixture { ruleset, ..fixture };
        fixture.restricted(|| refused("ioctl", ioctl("/dev/null")));
    }

    #[test]
    fn abstract_sockets_outside_are_out_of_reach() {
        let Some(fixture) = Fixture::new(6) else {
            return;
        };
        let name = format!("cogo-landlock-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let _listener = UnixListener::bind_addr(&address).unwrap();
        UnixStream::connect_addr(&address).unwrap();
        fixture.restricted(|| refused("connect", UnixStream::connect_addr(&address)));
    }

    #[test]
    fn signals_to_the_outside_are_refused() {
        let Some(fixture) = Fixture::new(6) else {
            return;
        };
        let parent = rustix::process::getpid();
        fixture.restricted(|| {
            let kill = rustix::process::test_kill_process;
            kill(rustix::process::getpid()).step("signal itself")?;
            refused("signal the parent", kill(parent).map_err(io::Error::from))
        });
    }

    #[test]
    fn a_missing_path_is_named() {
        let rules = LandlockRules {
            read_execute: vec!["/no/such".into()],
            ..LandlockRules::default()
        };
        if landlock_abi().is_none() {
            return;
        }
        let error = rules.prepare().unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to open `/no/such` for a landlock rule"
        );
    }

    #[test]
    fn the_ruleset_is_not_inherited_by_programs() {
        let Some(fixture) = Fixture::new(1) else {
            return;
        };
        let flags = rustix::io::fcntl_getfd(&fixture.ruleset.fd).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    }

    /// Prints the cost: `cargo test -p cogo-sandbox --release ruleset_cost -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn ruleset_cost() {
        let rules = LandlockRules {
            read_execute: vec!["/".into()],
            read_write: ["/tmp", "/var/tmp", "/run", "/root", "/dev/shm"]
                .map(Into::into)
                .into(),
            write_file_only: vec!["/proc".into()],
            devices: vec!["/dev".into()],
        };
        for _ in 0..8 {
            let result = attempt(0, || {
                rustix::thread::set_no_new_privs(true).step("no_new_privs")?;
                let start = Instant::now();
                let prepared = rules.prepare().ok().flatten();
                let preparing = start.elapsed();
                let prepared = prepared.ok_or(Failure {
                    step: "prepare",
                    errno: 0,
                })?;
                let start = Instant::now();
                prepared.restrict_self().step("restrict_self")?;
                eprintln!("prepare {preparing:?}, restrict_self {:?}", start.elapsed());
                Ok(())
            });
            assert_eq!(result, Ok(()));
        }
    }
}
