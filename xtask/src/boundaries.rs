//! What a crate must never contain, as far as a program can tell.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::rust_source::{self, PathUse};
use crate::workspace::{Member, Workspace};

/// The crate that may hold `unsafe`.
const UNSAFE_CRATE: &str = "cogo-sandbox";
/// The crates that may read arguments and environment: programs.
const PROGRAMS: [&str; 3] = ["cogo", "cogo-bench", "xtask"];
/// The crate that holds data only.
const DATA_CRATE: &str = "cogo-protocol";
/// The crates that never run on a runtime.
const CRATES_WITHOUT_RUNTIME: [&str; 2] = ["cogo-sandbox", "cogo-protocol"];

const RUNTIMES: [&str; 11] = [
    "actix-rt",
    "async-executor",
    "async-global-executor",
    "async-io",
    "async-std",
    "compio",
    "futures-executor",
    "glommio",
    "monoio",
    "smol",
    "tokio",
];

/// The parts of `std::env` that depend on neither arguments nor variables.
const PURE_ENV: [&str; 6] = [
    "consts",
    "current_exe",
    "join_paths",
    "split_paths",
    "JoinPathsError",
    "SplitPaths",
];

/// The parts of `std` that reach outside of the process.
const IO_MODULES: [&str; 7] = ["env", "fs", "io", "net", "os", "process", "thread"];
const CLOCKS: [&str; 2] = ["Instant", "SystemTime"];

/// Checks the workspace.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load()?;
    let mut findings = runtimes(&workspace);
    findings.extend(workspace_lint(&manifest(&workspace.root)?));
    for member in &workspace.members {
        let folder = workspace.root.join(&member.folder);
        findings.extend(unsafe_lint(&member.name, &manifest(&folder)?));
        findings.extend(forbidden_paths(member, &folder)?);
    }
    crate::report(&findings)
}

fn manifest(folder: &Path) -> Result<toml::Table> {
    let file = folder.join("Cargo.toml");
    let text = fs::read_to_string(&file);
    let text = text.with_context(|| format!("failed to read `{}`", file.display()))?;
    text.parse()
        .with_context(|| format!("failed to read `{}`", file.display()))
}

fn runtimes(workspace: &Workspace) -> Vec<String> {
    let mut findings = Vec::new();
    for name in CRATES_WITHOUT_RUNTIME {
        let tree = workspace.dependency_tree(name);
        let found = RUNTIMES.iter().filter(|runtime| tree.contains(*runtime));
        findings.extend(found.map(|runtime| format!("`{name}` pulls in the runtime `{runtime}`")));
    }
    findings
}

/// The workspace's lints forbid `unsafe`, which no `allow` in a source file can undo.
fn workspace_lint(manifest: &toml::Table) -> Option<String> {
    let level = lint(manifest, &["workspace", "lints", "rust", "unsafe_code"]);
    (level != Some("forbid"))
        .then(|| "the workspace's lints do not forbid `unsafe_code`".to_owned())
}

/// A crate keeps to the workspace's lints, or is the one whose `unsafe` blocks give their reason.
fn unsafe_lint(name: &str, manifest: &toml::Table) -> Option<String> {
    if name == UNSAFE_CRATE {
        let level = lint(manifest, &["lints", "clippy", "undocumented_unsafe_blocks"]);
        return (level != Some("deny"))
            .then(|| format!("`{name}` does not deny `undocumented_unsafe_blocks`"));
    }
    let inherited = manifest
        .get("lints")
        .and_then(|lints| lints.get("workspace")?.as_bool());
    (inherited != Some(true)).then(|| {
        format!("`{name}` does not take the workspace's lints, which forbid `unsafe_code`")
    })
}

/// The level of a lint, which is a text or a table with one.
fn lint<'a>(manifest: &'a toml::Table, keys: &[&str]) -> Option<&'a str> {
    let (first, rest) = keys.split_first()?;
    let value = rest
        .iter()
        .try_fold(manifest.get(*first)?, |value, key| value.get(key))?;
    value.as_str().or_else(|| value.get("level")?.as_str())
}

fn forbidden_paths(member: &Member, folder: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (file, source) in rust_source::sources_in(&folder.join("src"))? {
        let shown = member
            .folder
            .join(file.strip_prefix(folder).unwrap_or(&file));
        for path in &source.paths {
            // A `src/bin` is a program's own entry, whatever crate it lies in.
            let program = PROGRAMS.contains(&&*member.name) || is_program_entry(&shown);
            if let Some(reason) = forbidden(&member.name, program, path) {
                let place = format!("{}:{}", shown.display(), path.line);
                findings.push(format!("{place}: `{}`: {reason}", path.segments.join("::")));
            }
        }
    }
    Ok(findings)
}

fn is_program_entry(file: &Path) -> bool {
    file.parent()
        .is_some_and(|folder| folder.ends_with("src/bin"))
}

fn forbidden(member: &str, program: bool, path: &PathUse) -> Option<&'static str> {
    if member == DATA_CRATE && does_io(path) {
        return Some("cogo-protocol holds data, neither I/O nor clocks");
    }
    if !program && reads_environment(path) {
        return Some("only the program `cogo` reads arguments and environment; take it as a value");
    }
    None
}

fn does_io(path: &PathUse) -> bool {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["std", module, ..] if IO_MODULES.contains(&module) => true,
        ["std", "time", clock, ..] | [clock, "now"] => CLOCKS.contains(&clock),
        _ => false,
    }
}

fn reads_environment(path: &PathUse) -> bool {
    let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
    match segments[..] {
        // Under another name its later uses would not be recognized.
        ["std", "env"] | ["std", "env", "self"] => path.renamed,
        ["std", "env", item, ..] | ["env", item, ..] => !PURE_ENV.contains(&item),
        [.., "getenv" | "secure_getenv" | "environ"] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::rust_source::RustSource;
    use crate::workspace::Package;

    use super::*;

    fn found(member: &str, text: &str) -> usize {
        let paths = RustSource::parse(text).paths;
        paths
            .iter()
            .filter(|path| forbidden(member, PROGRAMS.contains(&member), path).is_some())
            .count()
    }

    fn table(text: &str) -> toml::Table {
        text.parse().unwrap()
    }

    #[test]
    fn environment_is_read_by_the_program_alone() {
        for text in [
            "use std::env; fn f() { env::var(\"X\") }",
            "use std::{env, fs}; fn f() { env::vars_os() }",
            "fn f() { std::env::args() }",
            "use std::env::{var, consts};",
            "use std::env::*;",
            "use std::env as e;",
            "use std::env::{self as e};",
            "unsafe { libc::getenv(name) }",
        ] {
            assert_eq!(found("cogo-sandbox", text), 1, "{text}");
            assert_eq!(found("cogo", text), 0, "{text}");
        }
    }

    #[test]
    fn what_does_not_depend_on_the_environment_is_free() {
        for text in [
            "use std::env; fn f() { env::current_exe() }",
            "fn f() { std::env::consts::ARCH }",
            "fn f() { env!(\"CARGO_PKG_VERSION\") }",
            "fn f() { crate::env::build(); spec.env.push(x) }",
            "#[cfg(test)] mod tests { fn f() { std::env::temp_dir() } }",
        ] {
            assert_eq!(found("cogo-sandbox", text), 0, "{text}");
        }
    }

    #[test]
    fn data_crate_does_no_io_and_reads_no_clock() {
        for text in [
            "use std::fs;",
            "use std::{fmt, net::IpAddr};",
            "fn f() { std::process::id() }",
            "use std::time::{Duration, Instant};",
        ] {
            assert_eq!(found("cogo-protocol", text), 1, "{text}");
        }
        assert_eq!(found("cogo-protocol", "use std::{fmt, time::Duration};"), 0);
        assert_eq!(found("cogo-sandbox", "use std::fs;"), 0);
    }

    #[test]
    fn indirect_runtime_is_found() {
        let mut workspace = Workspace::default();
        for (name, depends_on) in [("cogo-sandbox", "x"), ("x", "tokio"), ("tokio", "")] {
            let depends_on = vec![depends_on.to_owned()];
            let package = Package {
                name: name.to_owned(),
                depends_on,
                ..Package::default()
            };
            workspace.packages.insert(name.to_owned(), package);
        }
        assert_eq!(
            runtimes(&workspace),
            ["`cogo-sandbox` pulls in the runtime `tokio`"]
        );

        workspace.packages.remove("tokio");
        assert!(runtimes(&workspace).is_empty());
    }

    #[test]
    fn crate_without_the_workspace_lints_is_found() {
        assert_eq!(
            unsafe_lint("cogo", &table("[lints]\nworkspace = true\n")),
            None
        );
        assert!(unsafe_lint("cogo", &table("[lints]\nworkspace = false\n")).is_some());
        assert!(unsafe_lint("cogo", &table("[package]\nname = \"cogo\"\n")).is_some());
    }

    #[test]
    fn sandbox_must_deny_unexplained_unsafe() {
        let with = |level: &str| {
            table(&format!(
                "[lints.clippy]\nundocumented_unsafe_blocks = \"{level}\"\n"
            ))
        };
        assert_eq!(unsafe_lint("cogo-sandbox", &with("deny")), None);
        assert!(unsafe_lint("cogo-sandbox", &with("warn")).is_some());
    }

    #[test]
    fn workspace_must_forbid_unsafe() {
        let with = |level: &str| table(&format!("[workspace.lints.rust]\nunsafe_code = {level}\n"));
        assert_eq!(workspace_lint(&with("\"forbid\"")), None);
        assert_eq!(workspace_lint(&with("{ level = \"forbid\" }")), None);
        assert!(workspace_lint(&with("\"deny\"")).is_some());
        assert!(workspace_lint(&table("[workspace]\n")).is_some());
    }

    #[test]
    fn an_entry_of_a_program_is_told_from_a_module() {
        assert!(is_program_entry(Path::new("crates/a/src/bin/tool.rs")));
        assert!(!is_program_entry(Path::new("crates/a/src/tool.rs")));
    }
}
