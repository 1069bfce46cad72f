//! Dependencies between our crates equal the table in `ARCHITECTURE.md`, and point one way.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::architecture::{self, PAGE, Table};
use crate::workspace::{Member, Workspace};

/// Checks the workspace.
pub(crate) fn run() -> Result<()> {
    let table = architecture::table(&architecture::load()?)?;
    let mut findings = differences(&table, &Workspace::load()?.members);
    findings.extend(cycles(&table));
    crate::report(&findings)
}

/// Arrows that only the manifests have, and arrows that only the table has.
fn differences(table: &Table, members: &[Member]) -> Vec<String> {
    let none = BTreeSet::new();
    let mut findings = Vec::new();
    for member in members {
        let name = &member.name;
        let allowed = table.get(name).unwrap_or(&none);
        for other in member.depends_on.difference(allowed) {
            findings.push(format!(
                "`{name}` depends on `{other}`, which {PAGE} does not allow: an arrow is a design \
                 decision, made in a change of its own"
            ));
        }
        for other in allowed.difference(&member.depends_on) {
            findings.push(format!(
                "{PAGE} has an arrow from `{name}` to `{other}` that is not used"
            ));
        }
    }
    findings
}

/// Crates of the table that lead back to themselves. Cargo itself allows this through tests.
fn cycles(table: &Table) -> Vec<String> {
    let leads_back = |start: &String| {
        let mut open: Vec<&String> = table[start].iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = open.pop() {
            if name == start {
                return true;
            }
            if seen.insert(name) {
                open.extend(table.get(name).into_iter().flatten());
            }
        }
        false
    };
    let names = table.keys().filter(|name| leads_back(name));
    names
        .map(|name| format!("the arrows of `{name}` in {PAGE} lead back to it"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, &[&str])]) -> Table {
        rows.iter()
            .map(|(name, others)| ((*name).to_owned(), names(others)))
            .collect()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn member(name: &str, depends_on: &[&str]) -> Member {
        Member {
            name: name.to_owned(),
            depends_on: names(depends_on),
            ..Member::default()
        }
    }

    #[test]
    fn equal_arrows_pass() {
        let table = table(&[("a", &[]), ("b", &["a"])]);
        assert!(differences(&table, &[member("a", &[]), member("b", &["a"])]).is_empty());
        assert!(cycles(&table).is_empty());
    }

    #[test]
    fn new_arrow_is_found() {
        let found = differences(&table(&[("a", &[]), ("b", &[])]), &[member("a", &["b"])]);
        assert!(found[0].starts_with("`a` depends on `b`"), "{found:?}");
    }

    #[test]
    fn arrow_of_an_unlisted_crate_is_found() {
        assert_eq!(
            differences(&table(&[("b", &[])]), &[member("a", &["b"])]).len(),
            1
        );
    }

    #[test]
    fn unused_arrow_is_found() {
        let found = differences(&table(&[("a", &["b"]), ("b", &[])]), &[member("a", &[])]);
        assert!(found[0].contains("from `a` to `b`"), "{found:?}");
    }

    #[test]
    fn cycle_is_found_at_each_of_its_crates() {
        let table = table(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])]);
        let found = cycles(&table);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("`b`") && found[1].contains("`c`"));
    }
}
