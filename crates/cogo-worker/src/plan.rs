//! Turns a client's request into the spec of an exec, and refuses what cannot work.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cogo_protocol::command::{CommandRequest, StdinRequest};
use cogo_protocol::message::error_code;
use cogo_protocol::units::Cpus;
use cogo_sandbox::cgroup::{CgroupCapabilities, Cgroups};
use cogo_sandbox::proxy::AllowList;
use cogo_sandbox::spec::{ExecSpec, Limits, Network, Stdin, Workspace, WorkspaceMode};
use cogo_sandbox::{rootfs, toolchains};

use crate::config::{HostEnvironment, WorkerConfig};
use crate::environment::{Caller, Root, inherited};
use crate::refusal::Refusal;
use crate::{convert, limits, workspace};

/// Makes specs. It knows the host, so that a start asks nothing twice.
#[derive(Debug)]
pub(crate) struct Planner {
    host: HostEnvironment,
    inherited: Inherited,
    home_resolved: PathBuf,
    state_dir: PathBuf,
    rootfs_dir: PathBuf,
    capabilities: CgroupCapabilities,
    toolchains: Vec<PathBuf>,
}

/// What every command gets of the host's variables. Where toolchains are is looked up once, as
/// which of them are shown.
#[derive(Debug)]
struct Inherited {
    host: Variables,
    host_terminal: Variables,
    other: Variables,
    other_terminal: Variables,
}

/// Names and values.
type Variables = Vec<(String, String)>;

impl Inherited {
    fn of(host: &HostEnvironment) -> Self {
        let look = |root, terminal| inherited(host, &host.home, root, terminal);
        Self {
            host: look(Root::Host, false),
            host_terminal: look(Root::Host, true),
            other: look(Root::Other, false),
            other_terminal: look(Root::Other, true),
        }
    }

    fn get(&self, root: Root, terminal: bool) -> &Variables {
        match (root, terminal) {
            (Root::Host, false) => &self.host,
            (Root::Host, true) => &self.host_terminal,
            (Root::Other, false) => &self.other,
            (Root::Other, true) => &self.other_terminal,
        }
    }
}

impl Planner {
    pub(crate) fn new(config: &WorkerConfig) -> Self {
        Self {
            host: config.host.clone(),
            inherited: Inherited::of(&config.host),
            home_resolved: workspace::canonical(&config.host.home),
            state_dir: workspace::canonical(&config.state_dir),
            rootfs_dir: config.rootfs_dir.clone(),
            capabilities: Cgroups::discover(None).capabilities().clone(),
            toolchains: toolchains::shown(&config.host.home),
        }
    }

    /// The spec for a request. `fresh` is the directory of a task that names no workspace.
    pub(crate) fn spec(&self, request: &CommandRequest, fresh: &Path) -> Result<ExecSpec, Refusal> {
        let argv = request.argv().map_err(|error| {
            invalid(error.to_string()).hint("give a `command` for the shell, or an `argv`")
        })?;
        let isolation = convert::isolation_wanted(request.isolation);
        let workspace = self.workspace(request, fresh)?;
        let other_root = self.root(request)?;
        Ok(ExecSpec {
            argv,
            cwd: cwd(request, &workspace.path)?,
            env: self.variables(request, other_root.as_ref()),
            stdin: match request.stdin {
                StdinRequest::Closed => Stdin::Closed,
                StdinRequest::Open | StdinRequest::Text(_) => Stdin::Open,
            },
            pty: request.pty.map(convert::pty_size),
            workspace,
            network: network(request)?,
            limits: self.limits(request)?,
            isolation,
            read_only_paths: self.read_only_paths(request, other_root.as_ref())?,
            rootfs: other_root.map(|root| root.root),
            home: self.host.home.clone(),
            grace_period: request
                .grace_ms
                .map_or(limits::GRACE, Duration::from_millis),
        })
    }

    fn workspace(&self, request: &CommandRequest, fresh: &Path) -> Result<Workspace, Refusal> {
        let Some(wanted) = &request.workspace else {
            return Ok(Workspace {
                path: fresh.to_owned(),
                mode: WorkspaceMode::Direct,
            });
        };
        let (path, mode) = wanted.parts();
        let path = absolute(path, "workspace")?;
        let path = workspace::resolve_beside(path, &self.home_resolved, &self.state_dir).map_err(
            |error| {
                Refusal::caused(error_code::INVALID_REQUEST, &error).hint(
                "name the directory of a project on the worker's host, or leave `workspace` out \
                 for a fresh one",
            )
            },
        )?;
        Ok(Workspace {
            path,
            mode: convert::workspace_mode(mode),
        })
    }

    fn root(&self, request: &CommandRequest) -> Result<Option<rootfs::Rootfs>, Refusal> {
        let find = |name: &String| {
            rootfs::find(&self.rootfs_dir, name).map_err(|error| {
                Refusal::caused(error_code::INVALID_REQUEST, &error)
                    .hint("import it on the worker's host with `cogo rootfs import`")
            })
        };
        request.rootfs.as_ref().map(find).transpose()
    }

    fn variables(
        &self,
        request: &CommandRequest,
        other_root: Option<&rootfs::Rootfs>,
    ) -> Vec<(String, String)> {
        let root = if other_root.is_some() {
            Root::Other
        } else {
            Root::Host
        };
        let mut variables = self.inherited.get(root, request.pty.is_some()).clone();
        // Later ones win: an image knows its own PATH, and the client knows best.
        variables.extend(
            other_root
                .map(|root| root.info.env.clone())
                .unwrap_or_default(),
        );
        variables.extend(request.env.clone());
        variables
    }

    fn limits(&self, request: &CommandRequest) -> Result<Limits, Refusal> {
        let wanted = request.limits();
        let isolation = convert::isolation_wanted(request.isolation);
        let (memory, pids) = limits::defaults(isolation, &self.capabilities);
        if let Some(cores) = wanted.cpus {
            Cpus::from_cores(cores).map_err(|error| invalid(format!("`cpus`: {error}")))?;
        }
        Ok(Limits {
            memory: wanted.memory_bytes.or(memory),
            cpus: wanted.cpus,
            pids: wanted.pids.or(pids),
            disk: wanted.disk_bytes,
            timeout: timeout(wanted.timeout_ms, "timeout")?,
            silence_timeout: timeout(wanted.silence_timeout_ms, "silenceTimeoutMs")?,
            log: Some(wanted.log_bytes.unwrap_or(limits::LOG.get())),
        })
    }

    fn read_only_paths(
        &self,
        request: &CommandRequest,
        other_root: Option<&rootfs::Rootfs>,
    ) -> Result<Vec<PathBuf>, Refusal> {
        let mut paths = match other_root {
            None => self.toolchains.clone(),
            Some(_) => Vec::new(),
        };
        for path in &request.read_only_paths {
            let path = absolute(path, "readOnlyPaths")?;
            let real = path.canonicalize().map_err(|error| {
                invalid(format!("failed to show `{}`: {error}", path.display()))
            })?;
            if self.state_dir.starts_with(&real) || real.starts_with(&self.state_dir) {
                let fact = format!("`{}` would show the worker's state inside", path.display());
                return Err(invalid(fact).hint("name the places the command needs, one by one"));
            }
            paths.push(path.to_owned());
        }
        Ok(paths)
    }
}

impl Caller for HostEnvironment {
    fn get(&self, name: &str) -> Option<OsString> {
        let found = self.variables.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.into())
    }

    fn names(&self) -> Vec<String> {
        self.variables
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    }
}

fn invalid(error: impl Into<String>) -> Refusal {
    Refusal::new(error_code::INVALID_REQUEST, error)
}

fn absolute<'a>(path: &'a str, field: &str) -> Result<&'a Path, Refusal> {
    let path = Path::new(path);
    if path.is_absolute() {
        return Ok(path);
    }
    let fact = format!("`{field}` has the relative path `{}`", path.display());
    Err(invalid(fact).hint("give a path from the root; the worker has no current directory"))
}

/// A relative one starts at the workspace.
fn cwd(request: &CommandRequest, workspace: &Path) -> Result<Option<PathBuf>, Refusal> {
    let Some(cwd) = &request.cwd else {
        return Ok(None);
    };
    if cwd.is_empty() {
        return Err(invalid("`cwd` is empty").hint("leave it out to start in the workspace"));
    }
    Ok(Some(workspace.join(cwd)))
}

fn network(request: &CommandRequest) -> Result<Network, Refusal> {
    let network = convert::network_wanted(&request.network);
    if let Network::Allow(domains) = &network {
        AllowList::parse(domains)
            .map_err(|error| Refusal::caused(error_code::INVALID_REQUEST, &error))?;
    }
    Ok(network)
}

fn timeout(ms: Option<u64>, field: &str) -> Result<Option<Duration>, Refusal> {
    match ms {
        Some(0) => Err(invalid(format!("`{field}` is zero"))
            .hint("a time to stop after must be more than zero; leave it out for none")),
        Some(ms) => Ok(Some(Duration::from_millis(ms))),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(request: &str) -> Result<ExecSpec, Refusal> {
        let host = HostEnvironment {
            home: PathBuf::from("/nonexistent"),
            variables: vec![
                ("PATH".into(), "/usr/bin".into()),
                ("TOKEN".into(), "x".into()),
                ("TZ".into(), "UTC".into()),
            ],
        };
        let planner = Planner {
            inherited: Inherited::of(&host),
            home_resolved: host.home.clone(),
            host,
            state_dir: PathBuf::from("/var/lib/cogo-test"),
            rootfs_dir: PathBuf::from("/var/lib/cogo-test/rootfs"),
            capabilities: CgroupCapabilities::default(),
            toolchains: Vec::new(),
        };
        let request: CommandRequest = serde_json::from_str(request).unwrap();
        planner.spec(&request, Path::new("/fresh"))
    }

    #[test]
    fn little_is_needed_and_the_rest_has_defaults() {
        let spec = plan(r#"{"command":"true","timeout":1500,"env":{"A":"b"}}"#).unwrap();
        assert_eq!(spec.argv, ["/bin/sh", "-c", "true"]);
        assert_eq!(spec.workspace.path, Path::new("/fresh"));
        assert_eq!(spec.limits.timeout, Some(Duration::from_millis(1500)));
        assert_eq!(spec.limits.pids, Some(limits::PIDS));
        assert_eq!(spec.limits.log, Some(limits::LOG.get()));
        assert_eq!(spec.grace_period, limits::GRACE);
        let names: Vec<&str> = spec.env.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["TZ", "PATH", "A"], "and no secret of the worker's");
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_hint() {
        for request in [
            "{}",
            r#"{"argv":[]}"#,
            r#"{"command":"x","workspace":"src"}"#,
            r#"{"command":"x","workspace":"/nonexistent"}"#,
            r#"{"command":"x","workspace":"/"}"#,
            r#"{"command":"x","cwd":""}"#,
            r#"{"command":"x","timeout":0}"#,
            r#"{"command":"x","readOnlyPaths":["etc"]}"#,
            r#"{"command":"x","rootfs":"missing"}"#,
        ] {
            let refusal = plan(request).unwrap_err();
            assert_eq!(refusal.code, error_code::INVALID_REQUEST, "{request}");
            assert!(refusal.hint.is_some(), "{request}: {refusal:?}");
        }
        for request in [
            r#"{"command":"x","limits":{"cpus":-1}}"#,
            r#"{"command":"x","network":{"allow":["a b"]}}"#,
        ] {
            assert!(plan(request).is_err(), "{request}");
        }
    }
}
