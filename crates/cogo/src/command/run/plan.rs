//! Turns options into the spec of an exec, and refuses what cannot work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cogo_protocol::units::{Bytes, Cpus, TimeSpan};
use cogo_sandbox::cgroup::Cgroups;
use cogo_sandbox::exec_dir::StateDir;
use cogo_sandbox::proxy::AllowList;
use cogo_sandbox::spec::{
    ExecSpec, Isolation, Limits, Network, PtySize, Stdin, Workspace, WorkspaceMode,
};
use cogo_sandbox::start::Secret;
use cogo_sandbox::toolchains;
use cogo_worker::environment::{Root, inherited};
use cogo_worker::{limits, workspace};

use super::environment::{OwnEnvironment, secret, variable};
use super::options::Options;
use super::standard_input::{InputKind, Plan as InputPlan};
use crate::command::rootfs;
use crate::failure::Failure;
use crate::isolation::IsolationOption;
use crate::viewer;

/// Size of a terminal that nobody looks at.
const UNSEEN_TERMINAL: PtySize = PtySize {
    rows: 24,
    columns: 80,
};

/// What is started.
pub(super) struct Plan {
    pub(super) spec: ExecSpec,
    pub(super) secrets: Vec<Secret>,
}

/// Checks the options and makes the plan.
pub(super) fn plan(options: &Options, state: &StateDir, input: InputPlan) -> Result<Plan, Failure> {
    let home = home()?;
    let isolation = Isolation::from(options.isolation);
    let other = other_root(options, state)?;
    let root = if other.is_some() {
        Root::Other
    } else {
        Root::Host
    };
    let (rootfs, image_variables) = other.map_or((None, Vec::new()), |other| {
        (Some(other.path), other.variables)
    });
    let directory = match &options.workspace {
        Some(path) => path.clone(),
        None => std::env::current_dir()
            .map_err(|error| Failure::caused("failed to find the current directory", &error))?,
    };
    let path = workspace::resolve(&directory, &home, state.path()).map_err(|error| {
        Failure::from(error).hint("change into a project's directory, or name one with --workspace")
    })?;
    let spec = ExecSpec {
        argv: options.command.clone(),
        cwd: options.cwd.as_ref().map(|cwd| path.join(cwd)),
        env: variables(options, &home, root, image_variables, input.kind)?,
        stdin: if input.open {
            Stdin::Open
        } else {
            Stdin::Closed
        },
        pty: (input.kind == InputKind::Terminal).then(|| viewer::size().unwrap_or(UNSEEN_TERMINAL)),
        workspace: Workspace {
            path,
            mode: mode(options),
        },
        network: network(options)?,
        limits: limits_of(options, isolation),
        isolation,
        rootfs,
        read_only_paths: read_only_paths(options, &home, root, state)?,
        home,
        grace_period: options.grace.into(),
    };
    let secrets = options
        .secret
        .iter()
        .map(|text| secret(text, &OwnEnvironment));
    Ok(Plan {
        spec,
        secrets: secrets.collect::<Result<_, _>>()?,
    })
}

/// The home directory of whoever runs this.
pub(crate) fn home() -> Result<PathBuf, Failure> {
    // Falls back to the user database when HOME is not set.
    std::env::home_dir()
        .filter(|home| home.is_absolute())
        .ok_or_else(|| {
            Failure::new("failed to find the home directory, which is to be hidden")
                .hint("set HOME to its absolute path")
        })
}

fn mode(options: &Options) -> WorkspaceMode {
    match (options.copy, options.read_only) {
        (true, _) => WorkspaceMode::Copy,
        (false, true) => WorkspaceMode::ReadOnly,
        (false, false) => WorkspaceMode::Direct,
    }
}

fn variables(
    options: &Options,
    home: &Path,
    root: Root,
    of_image: Vec<(String, String)>,
    kind: InputKind,
) -> Result<Vec<(String, String)>, Failure> {
    let terminal = kind == InputKind::Terminal;
    let mut variables = inherited(&OwnEnvironment, home, root, terminal);
    // Later ones win: an image knows its own PATH, and the user knows best.
    variables.extend(of_image);
    for text in &options.env {
        variables.push(variable(text, &OwnEnvironment)?);
    }
    Ok(variables)
}

fn network(options: &Options) -> Result<Network, Failure> {
    let network = match (&options.net, options.net_allow.is_empty()) {
        // There is no sandbox that could keep the network away.
        (None, true) if options.isolation == IsolationOption::None => Network::Host,
        (net, true) => net.clone().unwrap_or_default(),
        (None, false) => Network::Allow(options.net_allow.clone()),
        (Some(Network::Allow(domains)), false) => {
            Network::Allow(domains.iter().chain(&options.net_allow).cloned().collect())
        }
        (Some(Network::Host), false) => {
            return Err(
                Failure::new("--net host and --net-allow contradict each other")
                    .hint("drop --net host to reach the listed domains only"),
            );
        }
        (Some(Network::None), false) => {
            return Err(
                Failure::new("--net none and --net-allow contradict each other")
                    .hint("drop --net none to reach the listed domains"),
            );
        }
    };
    if let Network::Allow(domains) = &network {
        AllowList::parse(domains)?;
    }
    Ok(network)
}

fn limits_of(options: &Options, isolation: Isolation) -> Limits {
    let duration = |time: Option<TimeSpan>| time.map(Duration::from);
    let (default_memory, default_pids) =
        limits::defaults(isolation, Cgroups::discover(None).capabilities());
    let memory = options.memory.map(Bytes::get);
    Limits {
        memory: memory.or(default_memory),
        cpus: options.cpus.map(Cpus::cores),
        pids: options.pids.or(default_pids),
        disk: options.disk.map(Bytes::get),
        timeout: duration(options.timeout),
        silence_timeout: duration(options.silence_timeout),
        log: Some(options.log_size.get()),
    }
}

/// A root file system that takes the place of the host's.
struct OtherRoot {
    path: PathBuf,
    /// What the image it came from sets.
    variables: Vec<(String, String)>,
}

fn other_root(options: &Options, state: &StateDir) -> Result<Option<OtherRoot>, Failure> {
    let Some(name) = &options.rootfs else {
        return Ok(None);
    };
    if !rootfs::is_directory(name) {
        let found = rootfs::find(state, name)?;
        return Ok(Some(OtherRoot {
            path: found.root,
            variables: found.info.env,
        }));
    }
    let path = Path::new(name);
    let resolved = path.canonicalize().map_err(|error| {
        Failure::caused(
            format!("failed to open root file system `{}`", path.display()),
            &error,
        )
    })?;
    if resolved == Path::new("/") || !resolved.is_dir() {
        let fact = format!(
            "`{}` is not the directory of a root file system",
            path.display()
        );
        return Err(Failure::new(fact).hint("import one with `cogo rootfs import`"));
    }
    Ok(Some(OtherRoot {
        path: resolved,
        variables: Vec::new(),
    }))
}

fn read_only_paths(
    options: &Options,
    home: &Path,
    root: Root,
    state: &StateDir,
) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = match root {
        Root::Host => toolchains::shown(home),
        Root::Other => Vec::new(),
    };
    for path in &options.expose {
        paths.push(exposed(path, state)?);
    }
    Ok(paths)
}

/// A path the user wants to see inside. Unlike a well-known place it has to exist.
fn exposed(path: &Path, state: &StateDir) -> Result<PathBuf, Failure> {
    let failed = |error| Failure::caused(format!("failed to expose `{}`", path.display()), &error);
    let real = path.canonicalize().map_err(failed)?;
    if state.path().starts_with(&real) || real.starts_with(state.path()) {
        let fact = format!(
            "`{}` would show cogo's state directory inside",
            path.display()
        );
        return Err(Failure::new(fact).hint("expose the places the command needs, one by one"));
    }
    // Shown at the path the user knows, which may lead through links.
    std::path::absolute(path).map_err(failed)
}
