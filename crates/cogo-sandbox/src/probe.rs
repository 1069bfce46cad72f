//! What this host can enforce, found by trying it.
//!
//! Kernel versions and settings say what should work; containers, security modules and
//! distributions decide what does. So each feature is used once, in a child process whose
//! namespaces vanish with it, and settings are read only to explain a refusal.
//!
//! Call [`HostReport::probe`] from a process with one thread, before any runtime starts: it forks.
//! (The children make system calls only and allocate nothing, so that tests can call it too.)

pub(crate) mod attempt;
mod kernel;
mod mounts;
mod namespaces;

use serde::{Deserialize, Serialize};

use self::attempt::Failure;
use crate::spec::Isolation;

/// What this host offers, and which isolation that makes possible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// The kernel's release, as in `uname -r`.
    pub kernel: String,
    /// The machine's architecture, as in `uname -m`.
    pub architecture: String,
    /// The user that asked. Root can do more, and so can be refused more.
    pub uid: u32,
    /// Every feature that was tried.
    pub checks: Vec<Check>,
    /// Each isolation, strongest first.
    pub tiers: Vec<Tier>,
}

/// One feature of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What was tried, such as `user namespaces`.
    pub name: String,
    /// How it went.
    pub status: Status,
    /// The weakest isolation that cannot do without it; `None` if all can, at the price that
    /// `detail` names.
    pub needed_from: Option<Isolation>,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How well a feature works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All of it.
    Ok,
    /// It works, but does less than it could. An isolation that needs it is still offered.
    Weaker,
    /// Not at all.
    Missing,
}

/// Whether an isolation can be offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// The isolation.
    pub isolation: Isolation,
    /// Names of the missing checks that it needs. Empty: it is offered.
    pub missing: Vec<String>,
}

impl HostReport {
    /// Tries everything. Takes some milliseconds and leaves nothing behind.
    ///
    /// What cgroups can do is found elsewhere and passed in; without such checks, strict isolation
    /// is not offered.
    pub fn probe(cgroups: Vec<Check>) -> Self {
        let name = rustix::system::uname();
        let user = namespaces::user();
        let mut inside = namespaces::kinds();
        inside.extend(mounts::checks());
        if user.status == Status::Missing {
            inside.iter_mut().for_each(blame_user_namespace);
        }
        let mut checks = vec![user];
        checks.append(&mut inside);
        checks.extend(kernel::checks());
        checks.extend(if cgroups.is_empty() {
            vec![cgroups_unknown()]
        } else {
            cgroups
        });
        let tiers = [Isolation::Strict, Isolation::Standard, Isolation::None]
            .map(|isolation| Tier {
                isolation,
                missing: blocking(&checks, isolation)
                    .map(|check| check.name.clone())
                    .collect(),
            })
            .into();
        Self {
            kernel: name.release().to_string_lossy().into_owned(),
            architecture: name.machine().to_string_lossy().into_owned(),
            uid: rustix::process::geteuid().as_raw(),
            checks,
            tiers,
        }
    }

    /// Whether the isolation can be enforced here.
    ///
    /// # Errors
    ///
    /// The missing checks that it needs.
    pub fn supports(&self, isolation: Isolation) -> Result<(), Vec<Check>> {
        let missing: Vec<Check> = blocking(&self.checks, isolation).cloned().collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(missing)
        }
    }
}

fn blocking(checks: &[Check], isolation: Isolation) -> impl Iterator<Item = &Check> {
    checks.iter().filter(move |check| {
        let needed = check
            .needed_from
            .is_some_and(|from| strength(isolation) >= strength(from));
        needed && check.status == Status::Missing
    })
}

fn strength(isolation: Isolation) -> u8 {
    match isolation {
        Isolation::None => 0,
        Isolation::Standard => 1,
        Isolation::Strict => 2,
    }
}

/// What is tried inside a user namespace fails without one, and its own hint would mislead.
fn blame_user_namespace(check: &mut Check) {
    if check.status == Status::Missing {
        check.detail = "needs a user namespace".into();
        check.hint = None;
    }
}

fn cgroups_unknown() -> Check {
    Check {
        name: "cgroups".into(),
        status: Status::Missing,
        needed_from: Some(Isolation::Strict),
        detail: "not looked for".into(),
        hint: None,
    }
}

impl Check {
    /// A check from an attempt: `works` is the detail when it succeeded.
    fn tried(
        name: &str,
        needed_from: Option<Isolation>,
        result: Result<(), Failure>,
        works: &str,
    ) -> Self {
        let (status, detail) = match result {
            Ok(()) => (Status::Ok, works.to_owned()),
            Err(failure) => (Status::Missing, failure.to_string()),
        };
        Self {
            name: name.into(),
            status,
            needed_from,
            detail,
            hint: None,
        }
    }

    /// Adds what to do if the feature is not all there.
    fn hint(mut self, hint: impl FnOnce() -> Option<String>) -> Self {
        if self.status != Status::Ok {
            self.hint = hint();
        }
        self
    }
}

#[cfg(test)]
mod tests;
