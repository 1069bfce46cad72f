//! `ARCHITECTURE.md` is a map: what it names exists, and no crate is missing from it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::architecture::{self, PAGE, Table};
use crate::workspace;

/// Checks the workspace.
pub(crate) fn run() -> Result<()> {
    let root = workspace::root();
    let page = architecture::load()?;
    let mut findings = differences(&architecture::table(&page)?, &crates_in(&root)?);
    findings.extend(missing_paths(&page, |path| root.join(path).exists()));
    crate::report(&findings)
}

/// The names of the folders that hold a crate.
fn crates_in(root: &Path) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::from(["xtask".to_owned()]);
    for entry in fs::read_dir(root.join("crates")).context("failed to list `crates`")? {
        let entry = entry.context("failed to list `crates`")?;
        if entry.path().join("Cargo.toml").exists() {
            names.insert(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

fn differences(table: &Table, tree: &BTreeSet<String>) -> Vec<String> {
    let listed: BTreeSet<String> = table.keys().cloned().collect();
    let unlisted = tree.difference(&listed);
    let unlisted = unlisted.map(|name| format!("crate `{name}` is missing from {PAGE}"));
    let absent = listed.difference(tree);
    let absent = absent.map(|name| format!("{PAGE} lists `{name}`, which is not in the tree"));
    unlisted.chain(absent).collect()
}

/// Paths of this repository that the page names and that do not exist.
fn missing_paths(page: &str, exists: impl Fn(&str) -> bool) -> Vec<String> {
    // Text in backticks is every second part.
    let quoted = page.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|text| is_path_of_ours(text));
    let missing = paths.filter(|path| !exists(path));
    missing
        .map(|path| format!("{PAGE} names `{path}`, which does not exist"))
        .collect()
}

fn is_path_of_ours(text: &str) -> bool {
    let tops = ["crates/", "docs/", "examples/", "scripts/", "xtask/"];
    tops.iter().any(|top| text.starts_with(top)) && !text.contains(['*', '<', ' ', '…'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(names: &[&str]) -> Table {
        names
            .iter()
            .map(|&name| (name.to_owned(), BTreeSet::new()))
            .collect()
    }

    fn tree(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn equal_lists_pass() {
        assert!(differences(&table(&["a", "b"]), &tree(&["a", "b"])).is_empty());
    }

    #[test]
    fn crate_missing_from_the_page_is_found() {
        let found = differences(&table(&["a"]), &tree(&["a", "b"]));
        assert_eq!(found, ["crate `b` is missing from ARCHITECTURE.md"]);
    }

    #[test]
    fn crate_missing_from_the_tree_is_found() {
        let found = differences(&table(&["a", "b"]), &tree(&["a"]));
        assert_eq!(
            found,
            ["ARCHITECTURE.md lists `b`, which is not in the tree"]
        );
    }

    #[test]
    fn missing_path_is_found_and_other_quoted_text_is_not_a_path() {
        let page = "`crates/a` and `crates/b/src/log.rs`, but `crates/*`, `log/` and `a word`";
        let found = missing_paths(page, |path| path == "crates/a");
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("`crates/b/src/log.rs`"), "{found:?}");
    }
}
