//! Making an attempt: in a sandbox of ours, in one of `bwrap`'s, and in none.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use cogo_sandbox::spec::ExecSpec;
use cogo_sandbox::verdict::Outcome;

use crate::fixture::{Ended, Place};

/// The attempts; see `common.c`.
const SOURCES: [&str; 7] = [
    include_str!("attempts/common.c"),
    include_str!("attempts/kernel.c"),
    include_str!("attempts/processes.c"),
    include_str!("attempts/files.c"),
    include_str!("attempts/network.c"),
    include_str!("attempts/resources.c"),
    include_str!("attempts/main.c"),
];

/// A place where attempts are made.
pub(super) struct Arena {
    pub(super) place: Place,
    program: &'static Path,
}

/// How an attempt is shown to be able to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// It reaches its target without a sandbox.
    Free,
    /// It does so for root.
    FreeAsRoot,
    /// It does so unless the host has a rule of its own against it.
    FreeUnlessForbidden,
    /// Both of these.
    FreeAsRootUnlessForbidden,
    /// It would change this machine, so it is made in a sandbox of `bwrap`'s in which it has all
    /// capabilities.
    Bwrap,
    /// There is none, and why.
    Absent(&'static str),
}

/// A sandbox of `bwrap`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// As it is meant to be used.
    NoCapabilities,
    /// With all of them, over its own namespaces.
    AllCapabilities,
}

impl Arena {
    /// `None`, with a line that says so, where there is no C compiler.
    pub(super) fn new() -> Option<Self> {
        let program = program()?;
        Some(Self {
            place: Place::new(),
            program,
        })
    }

    /// The attempts themselves.
    pub(super) fn program(&self) -> &Path {
        self.program
    }

    /// The command line of an attempt.
    fn argv<'a>(&'a self, words: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
        let program = self.program.to_str().expect("a path in UTF-8");
        std::iter::once(program).chain(words).collect()
    }

    /// A spec that makes an attempt in the strongest sandbox there is. Its name and arguments
    /// are separated by spaces.
    pub(super) fn spec(&self, attempt: &str) -> ExecSpec {
        self.spec_of(words(attempt))
    }

    /// As [`Self::spec`], for arguments of any kind.
    pub(super) fn spec_of<'a>(&'a self, words: impl IntoIterator<Item = &'a str>) -> ExecSpec {
        let mut spec = self.place.spec(&self.argv(words));
        spec.read_only_paths.push(self.program.to_owned());
        spec
    }

    /// Makes an attempt in a sandbox.
    #[track_caller]
    pub(super) fn inside(&self, attempt: &str) -> Ended {
        self.place.run(&self.spec(attempt))
    }

    /// Fails unless the attempt is refused in a sandbox, with one of these errors.
    #[track_caller]
    pub(super) fn expect_refused(&self, attempt: &str, errors: &[&str]) {
        expect_refused(&self.inside(attempt), errors);
    }

    /// Fails unless the attempt reaches its target when it is made without a sandbox.
    #[track_caller]
    pub(super) fn expect_reached_outside(&self, attempt: &str) {
        let text = self.outside(attempt);
        assert!(
            text.starts_with("REACHED"),
            "`{attempt}` cannot succeed even without a sandbox: {text}"
        );
    }

    /// Makes an attempt without a sandbox.
    pub(super) fn outside(&self, attempt: &str) -> String {
        let mut command = Command::new(self.program);
        command
            .args(words(attempt))
            .current_dir(&self.place.workspace)
            .stdin(Stdio::null());
        text_of(&command.output().expect("a run"))
    }

    /// Makes an attempt in a sandbox of `bwrap`'s. `None` where that cannot be had.
    fn in_bwrap(&self, attempt: &str, peer: Peer) -> Option<String> {
        let run = |argv: &[&str]| {
            let mut command = Command::new("bwrap");
            command.args(["--unshare-all", "--unshare-user"]);
            if peer == Peer::AllCapabilities {
                // As user 0 of its namespace a program keeps them when it is executed.
                command.args(["--uid", "0", "--gid", "0", "--cap-add", "ALL"]);
            }
            command
                .args(["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"])
                .args(["--tmpfs", "/tmp", "--ro-bind"])
                .args([self.program, self.program])
                .args(["--chdir", "/tmp", "--"])
                .args(argv)
                .stdin(Stdio::null());
            command.output()
        };
        let problem = match run(&["true"]) {
            Ok(output) if output.status.success() => {
                return Some(text_of(&run(&self.argv(words(attempt))).expect("a run")));
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        println!("bwrap cannot run here: {problem}");
        None
    }

    /// Fails if the attempt turns out to be one that cannot succeed anywhere.
    #[track_caller]
    pub(super) fn check_control(&self, attempt: &str, control: Control) {
        let as_root = matches!(
            control,
            Control::FreeAsRoot | Control::FreeAsRootUnlessForbidden
        );
        if as_root && !rustix::process::geteuid().is_root() {
            println!("no control: `{attempt}` is root's to do");
            return;
        }
        let text = match control {
            Control::Absent(reason) => {
                println!("no control: {reason}");
                return;
            }
            Control::Bwrap => match self.in_bwrap(attempt, Peer::AllCapabilities) {
                Some(text) => text,
                None => return,
            },
            _ => self.outside(attempt),
        };
        let may_be_forbidden = matches!(
            control,
            Control::FreeUnlessForbidden | Control::FreeAsRootUnlessForbidden
        );
        let forbidden = ["EPERM", "EACCES", "ENOSYS", "EAFNOSUPPORT", "EIO"]
            .iter()
            .any(|errno| text == format!("refused: {errno}"));
        if may_be_forbidden && forbidden {
            println!("no control: this host itself forbids `{attempt}`: {text}");
            return;
        }
        println!("control: {text}");
        assert!(
            text.starts_with("REACHED"),
            "`{attempt}` cannot succeed ({control:?}): {text}"
        );
    }

    /// Shows how the attempt fares in a usual sandbox of `bwrap`'s. For readers: what a peer
    /// refuses is no business of a test.
    pub(super) fn show_peer(&self, attempt: &str) {
        if let Some(text) = self.in_bwrap(attempt, Peer::NoCapabilities) {
            println!("bwrap: {text}");
        }
    }
}

/// Name and arguments of an attempt.
fn words(attempt: &str) -> impl Iterator<Item = &str> {
    attempt.split_whitespace()
}

/// Fails unless an attempt says that it was refused with one of these errors, and the verdict is
/// the one of a program that says so.
#[track_caller]
pub(super) fn expect_refused(ended: &Ended, errors: &[&str]) {
    let text = ended.text();
    let expected = |errno: &&str| text == format!("refused: {errno}");
    assert!(
        errors.iter().any(expected),
        "{text}, not {errors:?}: {ended:?}"
    );
    assert_eq!(ended.verdict.outcome, Outcome::Exited { code: 1 });
    assert_eq!(ended.verdict.survivors, 0);
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

/// Compiles the attempts once. Tests may be processes of their own, so what one compiled is left
/// beside the test program for the others.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM
        .get_or_init(|| {
            let path = std::env::current_exe()
                .expect("a path")
                .with_file_name(format!("hostile-attempts-{:08x}", checksum()));
            if !path.exists() {
                compile(&path)?;
            }
            Some(path)
        })
        .as_deref()
}

/// Tells programs of other sources apart.
fn checksum() -> u32 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    SOURCES.hash(&mut hasher);
    hasher.finish() as u32
}

fn compile(path: &Path) -> Option<()> {
    // Moved into place when it is whole, because others may look for it meanwhile.
    let unfinished = path.with_extension(std::process::id().to_string());
    let compiler = Command::new("cc")
        .args(["-O1", "-Wall", "-Werror", "-x", "c", "-", "-o"])
        .arg(&unfinished)
        .stdin(Stdio::piped())
        .spawn();
    let mut compiler = match compiler {
        Ok(compiler) => compiler,
        Err(error) => {
            println!("not tested: there is no C compiler: {error}");
            return None;
        }
    };
    let mut input = compiler.stdin.take().expect("a pipe");
    input
        .write_all(SOURCES.concat().as_bytes())
        .expect("a compiler that reads");
    drop(input);
    let status = compiler.wait().expect("a compiler");
    assert!(status.success(), "the attempts do not compile");
    let everyones = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&unfinished, everyones).expect("a mode");
    std::fs::rename(&unfinished, path).expect("a move");
    Some(())
}
