//! How strong a sandbox has to be, as a user says it.

use clap::ValueEnum;
use cogo_protocol::exec;
use cogo_sandbox::spec;

/// How strong the sandbox has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsolationOption {
    /// Namespaces, seccomp, Landlock and enforced limits, all of them
    #[default]
    Strict,
    /// Namespaces and seccomp; Landlock and limits where the host offers them
    Standard,
    /// Supervision alone: no protection, and the host's network
    None,
}

impl IsolationOption {
    /// Its name on a command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Standard => "standard",
            Self::None => "none",
        }
    }
}

impl From<IsolationOption> for spec::Isolation {
    fn from(option: IsolationOption) -> Self {
        match option {
            IsolationOption::Strict => Self::Strict,
            IsolationOption::Standard => Self::Standard,
            IsolationOption::None => Self::None,
        }
    }
}

impl From<IsolationOption> for exec::Isolation {
    fn from(option: IsolationOption) -> Self {
        match option {
            IsolationOption::Strict => Self::Strict,
            IsolationOption::Standard => Self::Standard,
            IsolationOption::None => Self::None,
        }
    }
}
