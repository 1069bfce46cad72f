//! Whether a request can be met at all, before anything is made.

use std::path::{Path, PathBuf};

use super::invalid;
use crate::cgroup::{CgroupCapabilities, CgroupVersion};
use crate::spec::{ExecSpec, Isolation, Limits, Network, WorkspaceMode};
use crate::start::{Refusal, RefusalKind, Secret};

/// Below this, not even a shell starts reliably.
const MEMORY_MIN: u64 = 4 << 20;
/// One for the command itself.
const PIDS_MIN: u32 = 1;
/// The kernel's smallest CPU quota is 1 ms per 100 ms.
const CPUS_MIN: f64 = 0.01;
/// A few directories have to fit.
const DISK_MIN: u64 = 64 << 10;

const NAME_A_PROGRAM: &str = "name a program to run";
const NAME_A_DIRECTORY: &str = "name an existing directory by its absolute path";

/// Refuses what can never work.
pub(super) fn check_spec(spec: &ExecSpec, secrets: &[Secret]) -> Result<(), Refusal> {
    match spec.argv.first() {
        None => return Err(invalid("no command was given", NAME_A_PROGRAM)),
        Some(program) if program.is_empty() => {
            return Err(invalid("the command is an empty string", NAME_A_PROGRAM));
        }
        Some(_) => {}
    }
    check_strings(spec, secrets)?;
    check_limits(&spec.limits)?;
    check_directory(&spec.workspace.path, "workspace")?;
    check_cwd(spec)?;
    if let Some(rootfs) = &spec.rootfs {
        check_directory(rootfs, "root file system")?;
    }
    if let Network::Allow(domains) = &spec.network {
        crate::proxy::AllowList::parse(domains).map_err(|e| {
            invalid(
                format!("the list of allowed domains is wrong: {e}"),
                "list hosts such as `example.org` or `*.example.org`",
            )
        })?;
    }
    if spec.isolation == Isolation::None {
        check_unisolated(spec)?;
    }
    Ok(())
}

fn check_strings(spec: &ExecSpec, secrets: &[Secret]) -> Result<(), Refusal> {
    if spec.argv.iter().any(|argument| argument.contains('\0')) {
        return Err(invalid(
            "an argument contains a NUL byte",
            "no program can be given one; use a file",
        ));
    }
    let secrets = secrets.iter().map(|secret| (&secret.name, &secret.value));
    for (name, value) in spec
        .env
        .iter()
        .map(|(name, value)| (name, value))
        .chain(secrets)
    {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(invalid(
                format!("`{name}` cannot be an environment variable"),
                "a name has no `=`, and neither name nor value a NUL byte",
            ));
        }
    }
    Ok(())
}

fn check_limits(limits: &Limits) -> Result<(), Refusal> {
    let too_low = |name: &str, given: String, minimum: String| {
        let message = format!("{name} limit {given} is below the minimum {minimum}");
        Err(invalid(message, "raise the limit or leave it out"))
    };
    if let Some(memory) = limits.memory.filter(|memory| *memory < MEMORY_MIN) {
        return too_low("memory", size(memory), size(MEMORY_MIN));
    }
    if let Some(pids) = limits.pids.filter(|pids| *pids < PIDS_MIN) {
        return too_low("pids", pids.to_string(), PIDS_MIN.to_string());
    }
    if let Some(cpus) = limits.cpus.filter(|cpus| cpus.is_nan() || *cpus < CPUS_MIN) {
        return too_low("cpus", cpus.to_string(), CPUS_MIN.to_string());
    }
    if let Some(disk) = limits.disk.filter(|disk| *disk < DISK_MIN) {
        return too_low("disk", size(disk), size(DISK_MIN));
    }
    if let Some(log) = limits.log.filter(|log| *log < crate::log::BYTES_MAX_MIN) {
        return too_low("log", size(log), size(crate::log::BYTES_MAX_MIN));
    }
    if limits.timeout.is_some_and(|timeout| timeout.is_zero())
        || limits
            .silence_timeout
            .is_some_and(|timeout| timeout.is_zero())
    {
        return Err(invalid(
            "a timeout of zero would end the command before it starts",
            "raise the limit or leave it out",
        ));
    }
    Ok(())
}

/// Exact, in the largest unit that is.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = |(unit, _): &&(u64, &str)| bytes > 0 && bytes.is_multiple_of(*unit);
    match UNITS.iter().find(whole) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} B"),
    }
}

fn check_directory(path: &Path, what: &str) -> Result<(), Refusal> {
    if !path.is_absolute() {
        return Err(invalid(
            format!("{what} `{}` is not an absolute path", path.display()),
            NAME_A_DIRECTORY,
        ));
    }
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(not_found(format!(
            "{what} `{}` is not a directory",
            path.display()
        ))),
        Err(e) => Err(not_found(format!(
            "{what} `{}` cannot be used: {e}",
            path.display()
        ))),
    }
}

/// What lies elsewhere, or is made in a session's copy, is seen from inside only.
fn check_cwd(spec: &ExecSpec) -> Result<(), Refusal> {
    let workspace = &spec.workspace;
    let in_workspace = |cwd: &&PathBuf| cwd.starts_with(&workspace.path);
    let Some(cwd) = spec.cwd.as_ref().filter(in_workspace) else {
        return Ok(());
    };
    // A link may lead to a place inside.
    let is_missing = std::fs::symlink_metadata(cwd)
        .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    if workspace.mode != WorkspaceMode::Copy && is_missing {
        let missing = format!("working directory `{}` does not exist", cwd.display());
        return Err(not_found(missing));
    }
    Ok(())
}

fn not_found(message: String) -> Refusal {
    Refusal {
        kind: RefusalKind::NotFound,
        message,
        hint: Some(NAME_A_DIRECTORY.to_owned()),
    }
}

/// Without namespaces there is no private network, no overlay, no other root.
fn check_unisolated(spec: &ExecSpec) -> Result<(), Refusal> {
    let needs_namespaces = spec.network != Network::Host
        || spec.workspace.mode != WorkspaceMode::Direct
        || spec.rootfs.is_some()
        || spec.limits.disk.is_some();
    if needs_namespaces {
        return Err(invalid(
            "isolation `none` runs on the host itself: it has the host's network and files, \
             no disk limit, no copy of the workspace and no other root",
            "use isolation `standard`, or add --net host and leave out \
             --copy, --read-only, --disk and --rootfs",
        ));
    }
    Ok(())
}

/// Refuses what an exec cannot have apart from its session.
pub(super) fn check_share(spec: &ExecSpec, session: &ExecSpec) -> Result<(), Refusal> {
    let Limits {
        memory,
        cpus,
        pids,
        disk,
        ..
    } = spec.limits;
    let own_limits = memory.is_some() || cpus.is_some() || pids.is_some() || disk.is_some();
    let other_place = spec.workspace != session.workspace
        || spec.network != session.network
        || spec.isolation != session.isolation
        || spec.rootfs != session.rootfs
        || spec.home != session.home;
    if own_limits || other_place {
        return Err(invalid(
            "workspace, network, isolation and limits of memory, cpus, pids and disk belong to \
             the session",
            "set them when the session is opened",
        ));
    }
    Ok(())
}

/// Refuses what this host cannot enforce.
pub(super) fn check_host(
    isolation: Isolation,
    limits: &Limits,
    cgroups: &CgroupCapabilities,
) -> Result<(), Refusal> {
    let strict = isolation == Isolation::Strict;
    if strict && crate::landlock::landlock_abi().is_none() {
        return Err(unsupported("the kernel does not offer Landlock", None));
    }
    let reason = || cgroups.reason();
    // Without control groups the weaker tiers bound each process instead of the tree.
    let rlimits_do = !strict && cgroups.version == CgroupVersion::None;
    if (strict || limits.memory.is_some()) && !cgroups.memory && !rlimits_do {
        return Err(unsupported(
            "memory of a process tree cannot be limited here",
            reason(),
        ));
    }
    if (strict || limits.pids.is_some()) && !cgroups.pids && !rlimits_do {
        return Err(unsupported(
            "the number of processes cannot be limited here",
            reason(),
        ));
    }
    if limits.cpus.is_some() && !cgroups.cpu {
        return Err(unsupported("CPU time cannot be limited here", reason()));
    }
    Ok(())
}

fn unsupported(fact: &str, reason: Option<String>) -> Refusal {
    Refusal {
        kind: RefusalKind::Unsupported,
        message: reason.map_or(fact.to_owned(), |reason| format!("{fact}: {reason}")),
        hint: Some(
            "`cogo doctor` says what is missing; `--isolation standard` does without".to_owned(),
        ),
    }
}
