//! Runs the sandbox suites as an ordinary user, which is how most people will run cogo.
//!
//! The user can read neither root's home nor, perhaps, this checkout. So the tests are built
//! first, and tests, sources and runner are copied to a folder of the user's. The user also gets a
//! part of the cgroup tree; a process left in it after the tests is a failure.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::ci::NEXTEST_CONFIG;
use crate::command::{cargo, cargo_command, has_subcommand, succeed};
use crate::delegation::Delegation;
use crate::workspace;

/// The crates whose tests depend on who runs them.
const SUITES: [&str; 2] = ["cogo-sandbox", "cogo"];
/// Used when the machine has it.
const ACCOUNT: &str = "cogo-test";
/// Used otherwise: no account, as in many containers. Not 65534, which the kernel also shows for
/// every user it cannot map.
const USER_WITHOUT_ACCOUNT: u32 = 60_777;
/// Parts of the checkout that the tests do not need.
const NOT_COPIED: [&str; 4] = [".git", "target", "node_modules", "out"];

/// Builds, copies and runs the suites.
pub(crate) fn run() -> Result<()> {
    if fs::metadata("/proc/self")
        .context("failed to read /proc")?
        .uid()
        != 0
    {
        println!("not root: `cargo xtask ci test` is the run as an ordinary user");
        return Ok(());
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = user_of(&accounts, ACCOUNT).unwrap_or(USER_WITHOUT_ACCOUNT);
    let home = Home::create(user)?;
    copy(&workspace::root(), &home.sources(), user).context("failed to copy the sources")?;
    let suites = Suites::build(&home)?;

    let delegation = Delegation::create(&format!("cogo-test.{}", process::id()), user)?;
    let groups: Vec<_> = delegation
        .groups()
        .map(|group| group.display().to_string())
        .collect();
    println!(
        "user {user}, home {}, cgroups: {}",
        home.path.display(),
        groups.join(" ")
    );
    let result = suites.run(&home);
    end_leftovers(&delegation)?;
    result
}

/// Processes that outlive the tests are ended, and are an error.
fn end_leftovers(delegation: &Delegation) -> Result<()> {
    // A supervisor that has said its verdict may still be on its way out.
    let left = wait_until_empty(delegation)?;
    for pid in &left {
        let _ = Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status();
    }
    // A group can be removed only when the last of them is reaped.
    wait_until_empty(delegation)?;
    ensure!(left.is_empty(), "the tests left processes behind: {left:?}");
    Ok(())
}

/// Waits a bounded time for the processes to be gone; returns those that are not.
fn wait_until_empty(delegation: &Delegation) -> Result<Vec<u32>> {
    let given_up_at = Instant::now() + Duration::from_secs(5);
    loop {
        let left = delegation.leave()?;
        if left.is_empty() || Instant::now() > given_up_at {
            return Ok(left);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// The number of an account in `/etc/passwd`.
fn user_of(accounts: &str, name: &str) -> Option<u32> {
    let line = accounts
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// A folder of the user's, gone at the end. Its name is short: socket paths have 108 bytes.
struct Home {
    path: PathBuf,
    user: u32,
}

impl Home {
    fn create(user: u32) -> Result<Self> {
        let path = PathBuf::from(format!("/tmp/cogo.{}", process::id()));
        fs::create_dir(&path).with_context(|| format!("failed to create {}", path.display()))?;
        let home = Self { path, user };
        for folder in [home.path.clone(), home.temporary(), home.tests()] {
            fs::create_dir_all(&folder)?;
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
            chown(&folder, Some(user), Some(user))?;
        }
        Ok(home)
    }

    fn sources(&self) -> PathBuf {
        self.path.join("src")
    }

    fn temporary(&self) -> PathBuf {
        self.path.join("t")
    }

    fn tests(&self) -> PathBuf {
        self.path.join("x")
    }

    /// A command run by the user with an environment that has nothing of root's.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", &self.path)
            .env("TMPDIR", self.temporary())
            .env(
                "PATH",
                "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
            )
            .env("LANG", "C.UTF-8")
            .env("CARGO_TERM_COLOR", "never")
            .envs(["CI", "RUST_BACKTRACE"].into_iter().filter_map(passed_on))
            .current_dir(self.sources())
            .uid(self.user)
            .gid(self.user);
        command
    }
}

fn passed_on(name: &str) -> Option<(&str, String)> {
    Some((name, std::env::var(name).ok()?))
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            println!("failed to remove {}: {error}", self.path.display());
        }
    }
}

/// Built tests, where the user can run them.
enum Suites {
    /// For `cargo nextest`: one process for each test.
    Archive { runner: PathBuf, archive: PathBuf },
    /// Without it: the test programs and `cogo` themselves.
    Programs {
        tests: Vec<TestProgram>,
        /// Built only when a test runs it.
        cogo: Option<PathBuf>,
    },
}

#[derive(Debug, PartialEq, Eq)]
struct TestProgram {
    program: PathBuf,
    /// The folder of its crate, relative to the root.
    folder: PathBuf,
}

impl Suites {
    fn build(home: &Home) -> Result<Self> {
        match nextest() {
            Some(program) => Self::build_archive(home, &program),
            None => Self::build_programs(home),
        }
    }

    fn build_archive(home: &Home, program: &Path) -> Result<Self> {
        let archive = home.path.join("tests.tar.zst");
        let runner = home.path.join("cargo-nextest");
        fs::copy(program, &runner).context("failed to copy cargo-nextest")?;
        let mut arguments = vec!["nextest", "archive", "--locked"];
        arguments.extend(SUITES.iter().flat_map(|suite| ["--package", suite]));
        let file = format!("--archive-file={}", archive.display());
        arguments.push(&file);
        cargo(&arguments)?;
        fs::set_permissions(&archive, fs::Permissions::from_mode(0o644))?;
        Ok(Self::Archive { runner, archive })
    }

    fn build_programs(home: &Home) -> Result<Self> {
        let mut arguments = vec!["test", "--no-run", "--locked", "--message-format=json"];
        arguments.extend(SUITES.iter().flat_map(|suite| ["--package", suite]));
        let output = cargo_command(&arguments)
            .output()
            .context("failed to build the tests")?;
        ensure!(output.status.success(), "failed to build the tests");
        let built = built_programs(&String::from_utf8_lossy(&output.stdout), &workspace::root())?;
        let move_in = |program: &Path| -> Result<PathBuf> {
            let copy = home
                .tests()
                .join(program.file_name().context("a program without a name")?);
            fs::copy(program, &copy)?;
            Ok(copy)
        };
        let mut tests = Vec::new();
        for test in built.tests {
            tests.push(TestProgram {
                program: move_in(&test.program)?,
                ..test
            });
        }
        Ok(Self::Programs {
            tests,
            cogo: built.cogo.as_deref().map(move_in).transpose()?,
        })
    }

    fn run(&self, home: &Home) -> Result<()> {
        match self {
            Self::Archive { runner, archive } => succeed(
                home.command(runner)
                    .args([
                        "nextest",
                        "run",
                        "--no-fail-fast",
                        "--user-config-file=none",
                    ])
                    .arg(format!(
                        "--config-file={}",
                        home.sources().join(NEXTEST_CONFIG).display()
                    ))
                    .arg(format!("--archive-file={}", archive.display()))
                    .arg(format!("--workspace-remap={}", home.sources().display()))
                    .arg(format!("--extract-to={}", home.tests().display())),
            ),
            Self::Programs { tests, cogo } => tests.iter().try_for_each(|test| {
                succeed(
                    home.command(&test.program)
                        .envs(cogo.iter().map(|cogo| ("CARGO_BIN_EXE_cogo", cogo)))
                        .current_dir(home.sources().join(&test.folder)),
                )
            }),
        }
    }
}

/// The `cargo-nextest` program, if it works.
fn nextest() -> Option<PathBuf> {
    if !has_subcommand("nextest") {
        return None;
    }
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join("cargo-nextest"));
    { found }.find(|program| program.is_file())
}

struct Built {
    tests: Vec<TestProgram>,
    /// Built only when a test runs it.
    cogo: Option<PathBuf>,
}

/// Reads the messages of `cargo test --no-run --message-format=json`.
fn built_programs(messages: &str, root: &Path) -> Result<Built> {
    let (mut tests, mut cogo) = (Vec::new(), None);
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("failed to read cargo's output")?;
        let Some(program) = message["executable"].as_str().map(PathBuf::from) else {
            continue;
        };
        if message["profile"]["test"] == true {
            let manifest = Path::new(message["manifest_path"].as_str().unwrap_or_default());
            let folder = manifest
                .parent()
                .and_then(|folder| folder.strip_prefix(root).ok());
            let folder = folder
                .context("a test outside of the workspace")?
                .to_path_buf();
            tests.push(TestProgram { program, folder });
        } else if message["target"]["name"] == "cogo" {
            cogo = Some(program);
        }
    }
    Ok(Built { tests, cogo })
}

/// Copies a folder for the user, without what tests do not need.
fn copy(from: &Path, to: &Path, user: u32) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if NOT_COPIED.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &target, user)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &target)?;
            lchown(&target, Some(user), Some(user))?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            chown(&target, Some(user), Some(user))?;
        }
    }
    chown(to, Some(user), Some(user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_is_found_by_its_whole_name() {
        let accounts = "root:x:0:0::/root:/bin/sh\ncogo-test2:x:7:7:::\ncogo-test:x:1001:1001:::\n";
        assert_eq!(user_of(accounts, "cogo-test"), Some(1001));
        assert_eq!(user_of(accounts, "cogo"), None);
    }

    #[test]
    fn built_tests_are_told_from_the_program() {
        let messages = r#"{"reason":"compiler-artifact","executable":null}
{"executable":"/w/target/a-1","profile":{"test":true},"target":{"name":"cogo"},"manifest_path":"/w/crates/cogo/Cargo.toml"}
{"executable":"/w/target/cogo","profile":{"test":false},"target":{"name":"cogo"},"manifest_path":"/w/crates/cogo/Cargo.toml"}
{"reason":"build-finished","success":true}"#;
        let built = built_programs(messages, Path::new("/w")).unwrap();
        assert_eq!(built.cogo.as_deref(), Some(Path::new("/w/target/cogo")));
        let (program, folder) = (PathBuf::from("/w/target/a-1"), PathBuf::from("crates/cogo"));
        assert_eq!(built.tests, [TestProgram { program, folder }]);
    }
}
