//! `cogo test`: runs tests, and runs again what failed, until it is known why.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use clap::Args;
use cogo_plan::dispatch::Work;
use cogo_plan::document::{StepLimits, StepNetwork};
use cogo_plan::hex::hex;
use cogo_plan::route::Route;
use cogo_plan::test_recovery::{
    History, Quarantine, RecoverySettings, Report, TestsOutcome, recover,
};
use cogo_plan::test_results::write_junit;
use cogo_protocol::task::Priority;
use cogo_protocol::units::{Bytes, Cpus, TimeSpan};
use cogo_protocol::verdict::Outcome;
use cogo_sandbox::exec_dir::StateDir;
use sha2::{Digest, Sha256};
use signal_hook::consts::SIGINT;

use crate::client::ServerOptions;
use crate::command::plan::Routes;
use crate::failure::{Failure, note};
use crate::isolation::IsolationOption;
use crate::{cancel, exit_code, instant, state};

mod screen;

use screen::Screen;

/// The list of tests that are excused, if the workspace has one.
const QUARANTINE: &str = "cogo-quarantine.toml";

/// Tests that are run alone at most after a run that did not end by itself.
const ALONE_MAX: usize = 100;

const EXAMPLES: &str = "\
Examples:
  cogo test -- cargo test                        failures are run again, alone
  cogo test --junit report.xml -- pytest
  cogo test --timeout 5m -- cargo nextest run    finds the test that hangs
  cogo test --memory 1GiB -- npx jest            too little memory: fewer workers, then more
  cogo test --results 'target/*.xml' -- mvn test --offline
  cogo test --json -- go test ./... | jq .       one event a line

Exit codes:
  0    all tests passed, some perhaps only when run again
  1    tests fail that nothing excuses, or --fail-on-flaky and there are flaky ones
  the command's own when it failed and no test did; 122 to 143 as of `cogo run`";

/// Run tests, find out why some fail, and get done what is not their fault
///
/// Known by their commands are `cargo test`, `cargo nextest run`, `pytest`, `go test`, `jest`,
/// `vitest`, `node --test`, and scripts of npm that start one of them. Other commands are run as a
/// whole again; what they write as TAP or the XML of `JUnit` is read.
#[derive(Args, Debug)]
#[command(override_usage = "cogo test [OPTIONS] -- COMMAND...", after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The program and its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// Directory the tests work in and may change [default: the current one]
    #[arg(short, long, value_name = "DIR")]
    workspace: Option<PathBuf>,

    /// Times a test that failed is run again at most
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 3,
        help_heading = "Recovery"
    )]
    reruns: u32,
    /// Tests whose failures are excused until a day [default: cogo-quarantine.toml, if it is there]
    #[arg(long, value_name = "FILE", help_heading = "Recovery")]
    quarantine: Option<PathBuf>,
    /// Fail if a test passes only when run again
    #[arg(long, help_heading = "Recovery")]
    fail_on_flaky: bool,
    /// Memory at most, where a run had too little [default: three quarters of the host's]
    #[arg(long, value_name = "SIZE", help_heading = "Recovery")]
    memory_max: Option<Bytes>,

    /// Files of the workspace with results that the command writes: the XML of `JUnit`, or jest's JSON
    #[arg(long, value_name = "GLOB", help_heading = "Results")]
    results: Vec<String>,
    /// Write all results to this file, as the XML of `JUnit`
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    junit: Option<PathBuf>,
    /// Print one JSON event a line
    #[arg(long, help_heading = "Results")]
    json: bool,
    /// Show no output of the command
    #[arg(short, long, help_heading = "Results")]
    quiet: bool,

    #[command(flatten)]
    sandbox: SandboxOptions,
    #[command(flatten)]
    server: ServerOptions,
}

/// What the command may use and reach.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sandbox")]
pub(crate) struct SandboxOptions {
    /// Memory of all its processes, such as 2GiB [default: three quarters of the host's]
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// CPU time per second, in cores, such as 1.5 [default: no limit]
    #[arg(long, value_name = "CORES")]
    cpus: Option<Cpus>,
    /// Processes and threads at once [default: 4096]
    #[arg(long, value_name = "COUNT")]
    pids: Option<std::num::NonZeroU32>,
    /// Stop a run after this time, such as 10m [default: never]
    #[arg(long, value_name = "TIME")]
    timeout: Option<TimeSpan>,
    /// Let it reach this domain over HTTP and HTTPS; may be repeated
    #[arg(
        long,
        value_name = "DOMAIN",
        value_delimiter = ',',
        conflicts_with = "net_host"
    )]
    net_allow: Vec<String>,
    /// Let it reach what the host reaches
    #[arg(long)]
    net_host: bool,
    /// Set a variable inside: NAME=VALUE, or NAME to take the caller's value
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// How strong the sandbox has to be; what the host cannot enforce is refused
    #[arg(long, value_enum, default_value_t)]
    pub(crate) isolation: IsolationOption,
}

impl SandboxOptions {
    /// A command with these options, in this directory.
    pub(crate) fn work(&self, argv: &[String], cwd: &Path, key: String) -> Result<Work, Failure> {
        let network = match (&self.net_allow[..], self.net_host) {
            (_, true) => StepNetwork::Host,
            ([], false) => StepNetwork::None,
            (domains, false) => StepNetwork::Allow(domains.to_vec()),
        };
        Ok(Work {
            key,
            argv: argv.to_vec(),
            env: environment(&self.env)?,
            cwd: cwd.to_owned(),
            route: Route::Sandbox,
            limits: StepLimits {
                memory: self.memory,
                cpus: self.cpus,
                pids: self.pids,
                disk: None,
            },
            network,
            priority: Priority::default(),
            timeout: self.timeout.map(Into::into),
            handle: None,
        })
    }
}

fn environment(wanted: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let one = |wanted: &String| {
        if let Some((name, value)) = wanted.split_once('=') {
            return Ok((name.to_owned(), value.to_owned()));
        }
        let value = state::variable(wanted).and_then(|value| value.into_string().ok());
        let value = value.ok_or_else(|| {
            Failure::new(format!(
                "there is no variable `{wanted}` to take the value of"
            ))
            .hint("write --env NAME=VALUE")
        })?;
        Ok((wanted.clone(), value))
    };
    wanted.iter().map(one).collect()
}

/// Runs tests and returns the exit code.
pub(crate) fn run(options: &Options, state: &StateDir) -> Result<u8, Failure> {
    let workspace = workspace(options.workspace.as_deref())?;
    let quarantine = quarantine(options, &workspace)?;
    let mut history = History::open(&history_file(state, &workspace))?;
    let now_ms = instant::now_ms();
    let settings = RecoverySettings {
        reruns: options.reruns,
        alone_max: ALONE_MAX,
        memory_max: options.memory_max.or_else(memory_of_host),
        reports: options.results.clone(),
        workspace: workspace.clone(),
        now_ms,
    };
    let key = format!("test-{}", state::fresh_id(now_ms)?);
    let work = options.sandbox.work(&options.command, &workspace, key)?;
    let routes = Routes::new(
        &options.server,
        &workspace,
        options.sandbox.isolation,
        state,
    )?;
    let cancel = cancel::listen("the tests")?;
    let mut screen = Screen::new(options.json, options.quiet, &options.command);
    let report = recover(
        &routes,
        &work,
        (&settings, &history, &quarantine),
        &cancel,
        &mut |_| {},
        &mut |event| screen.show(event),
    );
    screen.finish(&report, &quarantine, now_ms)?;
    if let Some(file) = &options.junit {
        write_report(file, &report)?;
    }
    history.add(&report.known(now_ms))?;
    Ok(code(&report, options.fail_on_flaky))
}

/// The directory to work in, free of links.
pub(crate) fn workspace(option: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = option.unwrap_or(Path::new("."));
    path.canonicalize().map_err(|error| {
        Failure::caused(
            format!("failed to open workspace `{}`", path.display()),
            &error,
        )
    })
}

fn quarantine(options: &Options, workspace: &Path) -> Result<Quarantine, Failure> {
    let file = match &options.quarantine {
        Some(file) => file.clone(),
        None => workspace.join(QUARANTINE),
    };
    if options.quarantine.is_none() && !file.exists() {
        return Ok(Quarantine::default());
    }
    Quarantine::read(&file).map_err(|error| {
        Failure::from(error)
            .hint("an entry is [[test]] with name, reason and expires = \"2026-12-31\"")
    })
}

/// What is known of a workspace's tests lies below the state directory, under the workspace's path.
pub(crate) fn history_file(state: &StateDir, workspace: &Path) -> PathBuf {
    let digest = Sha256::digest(workspace.as_os_str().as_encoded_bytes());
    let name = hex(&digest[..12]);
    state.path().join("tests").join(name).join("history")
}

fn memory_of_host() -> Option<Bytes> {
    let info = rustix::system::sysinfo();
    let total = info.totalram.checked_mul(u64::from(info.mem_unit))?;
    Some(Bytes::new(total / 4 * 3))
}

fn write_report(path: &Path, report: &Report) -> Result<(), Failure> {
    let tests: Vec<_> = report.tests.iter().map(|test| test.reported()).collect();
    let written =
        File::create(path).and_then(|file| write_junit(BufWriter::new(file), "cogo", &tests));
    written
        .map_err(|error| Failure::caused(format!("failed to write `{}`", path.display()), &error))
}

fn code(report: &Report, fail_on_flaky: bool) -> u8 {
    use cogo_plan::test_recovery::Class;
    match report.outcome {
        TestsOutcome::Recovered if fail_on_flaky => {
            let is_flaky = |class| matches!(class, Class::Flaky | Class::NeedsIsolation);
            let flaky = report
                .tests
                .iter()
                .any(|test| is_flaky(test.judgement.class));
            if flaky {
                note("there are flaky tests, and --fail-on-flaky was given");
            }
            u8::from(flaky)
        }
        TestsOutcome::Passed | TestsOutcome::Recovered => 0,
        TestsOutcome::Failed => exit_code::FAILURE,
        TestsOutcome::Cancelled => exit_code::SIGNAL_BASE + SIGINT as u8,
        TestsOutcome::CommandFailed => {
            let own = report.verdict.as_ref().map(Outcome::exit_code);
            match own {
                Some(Some(code)) => u8::try_from(code).unwrap_or(exit_code::FAILURE).max(1),
                Some(None) if matches!(report.verdict, Some(Outcome::NotStarted { .. })) => {
                    exit_code::NOT_FOUND
                }
                Some(None) => exit_code::UNKNOWN,
                None => exit_code::NOT_STARTED,
            }
        }
    }
}
