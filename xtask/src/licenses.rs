//! Every crate we ship has a license and a source that `deny.toml` allows.
//!
//! The same file configures `cargo deny`, which also knows advisories and yanked versions; the
//! check runs it too where it is installed.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{cargo, has_subcommand};
use crate::workspace::{self, Package, Workspace};

/// Checks the workspace.
pub(crate) fn run() -> Result<()> {
    let text = fs::read_to_string(workspace::root().join("deny.toml"))
        .context("failed to read deny.toml")?;
    let policy = Policy::parse(&text)?;
    let workspace = Workspace::load()?;
    crate::report(&findings(&policy, workspace.packages.values()))?;
    run_cargo_deny()
}

/// What `deny.toml` allows.
struct Policy {
    licenses: Vec<String>,
    registries: Vec<String>,
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let table: toml::Table = text.parse().context("failed to read deny.toml")?;
        Ok(Self {
            licenses: texts(&table, "licenses", "allow")?,
            registries: texts(&table, "sources", "allow-registry")?,
        })
    }

    fn allows_license(&self, expression: &str) -> Result<bool> {
        let spaced = expression
            .replace('(', " ( ")
            .replace(')', " ) ")
            .replace('/', " OR ");
        let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
        let allowed = self.any_of(&mut words)?;
        ensure!(words.is_empty(), "unexpected `{}`", words.join(" "));
        Ok(allowed)
    }

    // The three levels of an SPDX expression. `words` is a stack whose top is the next word.

    fn any_of(&self, words: &mut Vec<&str>) -> Result<bool> {
        let mut allowed = self.all_of(words)?;
        while next_is(words, "OR") {
            allowed |= self.all_of(words)?;
        }
        Ok(allowed)
    }

    fn all_of(&self, words: &mut Vec<&str>) -> Result<bool> {
        let mut allowed = self.one(words)?;
        while next_is(words, "AND") {
            allowed &= self.one(words)?;
        }
        Ok(allowed)
    }

    fn one(&self, words: &mut Vec<&str>) -> Result<bool> {
        let mut name = match words.pop() {
            Some("(") => {
                let allowed = self.any_of(words)?;
                ensure!(next_is(words, ")"), "a parenthesis is not closed");
                return Ok(allowed);
            }
            None | Some(")" | "AND" | "OR" | "WITH") => bail!("a license name is missing"),
            Some(name) => name.to_owned(),
        };
        if next_is(words, "WITH") {
            let exception = words.pop().context("an exception's name is missing")?;
            name = format!("{name} WITH {exception}");
        }
        Ok(self.licenses.contains(&name))
    }

    fn allows_source(&self, source: &str) -> bool {
        // The sparse index is the same registry under another address.
        let source = match source.strip_prefix("sparse+https://index.crates.io") {
            Some(_) => "registry+https://github.com/rust-lang/crates.io-index",
            None => source,
        };
        let registry = source.strip_prefix("registry+");
        registry.is_some_and(|address| self.registries.iter().any(|allowed| allowed == address))
    }
}

fn findings<'a>(policy: &Policy, packages: impl Iterator<Item = &'a Package>) -> Vec<String> {
    packages
        .filter_map(|package| finding(policy, package))
        .collect()
}

fn finding(policy: &Policy, package: &Package) -> Option<String> {
    let title = format!("{} {}", package.name, package.version);
    if let Some(source) = &package.source
        && !policy.allows_source(source)
    {
        return Some(format!(
            "{title} comes from {source}, which deny.toml does not allow"
        ));
    }
    let Some(license) = &package.license else {
        return Some(format!("{title} declares no license expression"));
    };
    match policy.allows_license(license) {
        Ok(true) => None,
        Ok(false) => Some(format!(
            "{title} is under `{license}`, which deny.toml does not allow"
        )),
        Err(error) => Some(format!(
            "the license `{license}` of {title} is malformed: {error}"
        )),
    }
}

fn next_is(words: &mut Vec<&str>, expected: &str) -> bool {
    words.pop_if(|word| *word == expected).is_some()
}

fn texts(table: &toml::Table, section: &str, key: &str) -> Result<Vec<String>> {
    let list = table
        .get(section)
        .and_then(|section| section.get(key)?.as_array());
    let list = list.with_context(|| format!("deny.toml has no list `{section}.{key}`"))?;
    Ok(list
        .iter()
        .filter_map(|value| value.as_str())
        .map(str::to_owned)
        .collect())
}

fn run_cargo_deny() -> Result<()> {
    if has_subcommand("deny") {
        return cargo(&["deny", "check"]);
    }
    println!("cargo-deny is not installed: advisories and yanked crates are not checked");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn policy() -> Policy {
        Policy::parse(
            "[licenses]\nallow = [\"MIT\", \"Zlib\", \"Apache-2.0 WITH LLVM-exception\"]\n\
             [sources]\nallow-registry = [\"https://github.com/rust-lang/crates.io-index\"]\n",
        )
        .unwrap()
    }

    fn package(license: Option<&str>, source: Option<&str>) -> Package {
        Package {
            name: "x".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
            ..Package::default()
        }
    }

    #[test]
    fn one_allowed_alternative_is_enough() {
        for license in [
            "MIT",
            "GPL-3.0 OR MIT",
            "GPL-3.0/MIT",
            "(GPL-3.0 OR MIT) AND Zlib",
        ] {
            assert!(policy().allows_license(license).unwrap(), "{license}");
        }
    }

    #[test]
    fn every_required_license_must_be_allowed() {
        for license in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT AND (GPL-3.0 OR LGPL-3.0)",
            "MITX",
        ] {
            assert!(!policy().allows_license(license).unwrap(), "{license}");
        }
    }

    #[test]
    fn and_binds_tighter_than_or() {
        assert!(policy().allows_license("MIT OR Zlib AND GPL-3.0").unwrap());
        assert!(
            !policy()
                .allows_license("GPL-3.0 OR Zlib AND GPL-3.0")
                .unwrap()
        );
    }

    #[test]
    fn exception_is_part_of_the_license() {
        assert!(
            policy()
                .allows_license("Apache-2.0 WITH LLVM-exception")
                .unwrap()
        );
        assert!(!policy().allows_license("Apache-2.0").unwrap());
        assert!(!policy().allows_license("MIT WITH LLVM-exception").unwrap());
    }

    #[test]
    fn malformed_expression_is_a_finding() {
        for license in [
            "",
            "MIT OR",
            "(MIT",
            "MIT)",
            "MIT Zlib",
            "AND MIT",
            "Zlib WITH",
        ] {
            let found = finding(&policy(), &package(Some(license), Some(CRATES_IO)));
            assert!(
                found.is_some_and(|text| text.contains("malformed")),
                "{license}"
            );
        }
    }

    #[test]
    fn missing_license_is_a_finding() {
        assert!(finding(&policy(), &package(None, None)).is_some());
    }

    #[test]
    fn foreign_source_is_a_finding() {
        for source in [
            "git+https://example.com/x",
            "registry+https://example.com/index",
        ] {
            assert!(
                finding(&policy(), &package(Some("MIT"), Some(source))).is_some(),
                "{source}"
            );
        }
        for source in [
            None,
            Some(CRATES_IO),
            Some("sparse+https://index.crates.io/"),
        ] {
            assert_eq!(
                finding(&policy(), &package(Some("MIT"), source)),
                None,
                "{source:?}"
            );
        }
    }

    #[test]
    fn policy_without_a_list_is_refused() {
        assert!(Policy::parse("[licenses]\nallow = []\n").is_err());
    }
}
