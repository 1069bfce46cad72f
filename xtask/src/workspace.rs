//! The workspace as cargo sees it: our crates, and everything they pull in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The parts of `cargo metadata` that the checks need.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    /// The folder that holds the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
    /// Our crates.
    pub(crate) members: Vec<Member>,
    /// Every crate of the lock file that is built for some platform, ours among them, by id.
    pub(crate) packages: BTreeMap<String, Package>,
}

/// One of our crates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: String,
    /// Its folder, relative to the root.
    pub(crate) folder: PathBuf,
    /// Those of our crates that it depends on, whether to run, to build or to test.
    pub(crate) depends_on: BTreeSet<String>,
}

/// Any crate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// The license expression it declares.
    pub(crate) license: Option<String>,
    /// The registry or repository it comes from; `None` for a path.
    pub(crate) source: Option<String>,
    /// The ids of the crates it depends on.
    pub(crate) depends_on: Vec<String>,
}

impl Workspace {
    /// Asks cargo about the workspace that this program was built from.
    pub(crate) fn load() -> Result<Self> {
        let output = Command::new(cargo())
            .args([
                "metadata",
                "--format-version",
                "1",
                "--locked",
                "--all-features",
            ])
            .current_dir(root())
            .output()
            .context("failed to run `cargo metadata`")?;
        ensure!(
            output.status.success(),
            "`cargo metadata` failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let metadata = serde_json::from_slice(&output.stdout)
            .context("failed to read the output of `cargo metadata`")?;
        Self::from_metadata(&metadata)
    }

    fn from_metadata(metadata: &Value) -> Result<Self> {
        let root = PathBuf::from(text(metadata, "workspace_root")?);
        let member_ids: BTreeSet<&str> = list(metadata, "workspace_members")?
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let described = list(metadata, "packages")?;
        let ours: BTreeSet<&str> = described
            .iter()
            .filter(|package| {
                package["id"]
                    .as_str()
                    .is_some_and(|id| member_ids.contains(id))
            })
            .filter_map(|package| package["name"].as_str())
            .collect();

        let mut workspace = Self {
            root,
            ..Self::default()
        };
        for package in described {
            let id = text(package, "id")?;
            if member_ids.contains(id) {
                workspace
                    .members
                    .push(member(package, &workspace.root, &ours)?);
            }
            workspace
                .packages
                .insert(id.to_owned(), self::package(package)?);
        }
        for node in list(&metadata["resolve"], "nodes")? {
            let dependencies = list(node, "dependencies")?.iter().filter_map(Value::as_str);
            if let Some(package) = workspace.packages.get_mut(text(node, "id")?) {
                package.depends_on = dependencies.map(str::to_owned).collect();
            }
        }
        Ok(workspace)
    }

    /// The names of all crates that one of ours pulls in, directly or not.
    pub(crate) fn dependency_tree(&self, member: &str) -> BTreeSet<&str> {
        let mut open: Vec<&Package> = self
            .packages
            .values()
            .filter(|package| package.name == member)
            .collect();
        let mut seen = BTreeSet::new();
        while let Some(package) = open.pop() {
            for id in &package.depends_on {
                if seen.insert(id.as_str()) {
                    open.extend(self.packages.get(id));
                }
            }
        }
        seen.iter()
            .filter_map(|id| self.packages.get(*id))
            .map(|found| &*found.name)
            .collect()
    }
}

/// The cargo that started this program, so that all steps use one toolchain.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask
        .parent()
        .expect("xtask lies in the workspace")
        .to_path_buf()
}

fn member(package: &Value, root: &Path, ours: &BTreeSet<&str>) -> Result<Member> {
    let manifest = Path::new(text(package, "manifest_path")?);
    let folder = manifest.parent().context("a manifest without a folder")?;
    let depends_on = list(package, "dependencies")?
        .iter()
        .filter(|dependency| dependency["source"].is_null())
        .filter_map(|dependency| dependency["name"].as_str())
        .filter(|name| ours.contains(name))
        .map(str::to_owned)
        .collect();
    Ok(Member {
        name: text(package, "name")?.to_owned(),
        folder: folder
            .strip_prefix(root)
            .context("a member outside of the root")?
            .to_path_buf(),
        depends_on,
    })
}

fn package(package: &Value) -> Result<Package> {
    Ok(Package {
        name: text(package, "name")?.to_owned(),
        version: text(package, "version")?.to_owned(),
        license: package["license"].as_str().map(str::to_owned),
        source: package["source"].as_str().map(str::to_owned),
        depends_on: Vec::new(),
    })
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key]
        .as_str()
        .with_context(|| format!("cargo metadata has no text at `{key}`"))
}

fn list<'a>(value: &'a Value, key: &str) -> Result<&'a Vec<Value>> {
    value[key]
        .as_array()
        .with_context(|| format!("cargo metadata has no list at `{key}`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn package_json(name: &str, manifest: &str, dependencies: &Value) -> Value {
        json!({
            "id": name, "name": name, "version": "1.0.0", "license": "MIT", "source": null,
            "manifest_path": manifest, "dependencies": dependencies,
        })
    }

    fn example() -> Workspace {
        let ours = |name, kind| json!({ "name": name, "source": null, "kind": kind });
        let theirs = |name| json!({ "name": name, "source": "registry", "kind": null });
        let metadata = json!({
            "workspace_root": "/w",
            "workspace_members": ["a", "b"],
            "packages": [
                package_json("a", "/w/crates/a/Cargo.toml", &json!([theirs("c")])),
                package_json("b", "/w/crates/b/Cargo.toml", &json!([ours("a", "dev")])),
                package_json("c", "/registry/c/Cargo.toml", &json!([theirs("d")])),
                package_json("d", "/registry/d/Cargo.toml", &json!([])),
            ],
            "resolve": { "nodes": [
                { "id": "a", "dependencies": ["c"] },
                { "id": "b", "dependencies": ["a"] },
                { "id": "c", "dependencies": ["d"] },
                { "id": "d", "dependencies": [] },
            ] },
        });
        Workspace::from_metadata(&metadata).unwrap()
    }

    #[test]
    fn our_dependencies_include_those_of_tests_and_exclude_other_crates() {
        let workspace = example();
        assert_eq!(workspace.members[0].depends_on, BTreeSet::new());
        assert_eq!(
            workspace.members[1].depends_on,
            BTreeSet::from(["a".to_owned()])
        );
        assert_eq!(workspace.members[1].folder, Path::new("crates/b"));
    }

    #[test]
    fn dependency_tree_reaches_indirect_crates() {
        assert_eq!(
            example().dependency_tree("b"),
            BTreeSet::from(["a", "c", "d"])
        );
        assert_eq!(example().dependency_tree("c"), BTreeSet::from(["d"]));
    }
}
