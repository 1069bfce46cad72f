//! Runs cargo and other programs for the commands.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// Runs cargo in the root and expects success.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    succeed(&mut cargo_command(arguments))
}

/// The cargo command that `arguments` describe, to be run in the root.
pub(crate) fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(workspace::cargo());
    command.args(arguments).current_dir(workspace::root());
    command
}

/// Whether `cargo NAME` is installed and works.
pub(crate) fn has_subcommand(name: &str) -> bool {
    let output = cargo_command(&[name, "--version"]).output();
    output.is_ok_and(|output| output.status.success())
}

/// Runs a command without input and expects success.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let shown = format!("`{}`", command.get_program().display());
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("failed to start {shown}"))?;
    ensure!(status.success(), "{shown} ended with {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failing_command_is_an_error() {
        assert!(succeed(&mut Command::new("true")).is_ok());
        assert!(succeed(&mut Command::new("false")).is_err());
        assert!(succeed(&mut Command::new("/does/not/exist")).is_err());
    }

    #[test]
    fn missing_subcommand_is_noticed() {
        assert!(has_subcommand("fmt"));
        assert!(!has_subcommand("does-not-exist"));
    }
}
