//! Runs a command in a sandbox with the library alone.

use std::path::PathBuf;
use std::time::Duration;

use cogo_sandbox::exec_dir::StateDir;
use cogo_sandbox::log::{Entry, LogReader};
use cogo_sandbox::spec::{ExecSpec, Isolation, Limits, Network, Stdin, Workspace, WorkspaceMode};
use cogo_sandbox::start::{Launcher, Start, start};

fn main() {
    cogo_sandbox::launcher::run_if_asked(std::env::args_os().next().as_deref());
    let argv: Vec<String> = std::env::args().skip(1).collect();
    let here = std::env::current_dir().expect("a working directory");
    let spec = ExecSpec {
        argv,
        cwd: None,
        env: Vec::new(),
        stdin: Stdin::Closed,
        pty: None,
        workspace: Workspace {
            path: here,
            mode: WorkspaceMode::Direct,
        },
        network: Network::None,
        limits: Limits::default(),
        isolation: Isolation::Strict,
        rootfs: None,
        home: PathBuf::from("/home/me"),
        read_only_paths: Vec::new(),
        grace_period: Duration::from_secs(2),
    };
    let state = StateDir::open(&std::env::temp_dir().join("cogo-example")).expect("a state dir");
    let id = format!("example-{}", std::process::id());
    let exec = match start(&Launcher::default(), &state, &id, &spec, &[]) {
        Ok(Start::Running(mut started)) => {
            started.reap().expect("a child");
            started.exec
        }
        Ok(Start::Ended(exec)) => exec,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::exit(125);
        }
    };
    let mut log = LogReader::open(&exec.log_dir(), 0).expect("a log");
    while let Some(entry) = log.next().expect("a readable log") {
        if let Entry::Record(record) = entry {
            print!("{}", String::from_utf8_lossy(record.bytes));
        }
    }
    println!("{:?}", exec.wait());
}
