//! Writes a first plan by looking at a repository: which tools it is built with, and what they
//! are usually asked to do.

use std::path::Path;

/// What the result of Cargo's tests depends on.
const RUST_INPUTS: [&str; 3] = ["**/*.rs", "**/Cargo.toml", "Cargo.lock"];

/// Where Cargo gets crates from.
const RUST_REGISTRY: [&str; 2] = ["index.crates.io", "static.crates.io"];

/// A step that a repository suggests.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Suggestion {
    id: String,
    kind: &'static str,
    run: String,
    needs: Vec<String>,
    inputs: Vec<&'static str>,
    /// It has to reach the tool's registry.
    domains: Vec<&'static str>,
}

/// What a repository's files tell of it.
pub struct Repository<'a> {
    root: &'a Path,
}

impl<'a> Repository<'a> {
    /// The repository in this directory.
    pub fn new(root: &'a Path) -> Self {
        Self { root }
    }

    /// A plan in YAML; nothing if no tool is recognised.
    pub fn plan(&self) -> Option<String> {
        let suggestions: Vec<Suggestion> = [
            self.cargo(),
            self.node(),
            self.python(),
            self.go(),
            self.maven(),
            self.gradle(),
            self.cmake(),
            self.make(),
        ]
        .concat();
        (!suggestions.is_empty()).then(|| self.write(&suggestions))
    }

    fn has(&self, name: &str) -> bool {
        self.root.join(name).is_file()
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.root.join(name)).unwrap_or_default()
    }

    fn cargo(&self) -> Vec<Suggestion> {
        if !self.has("Cargo.toml") {
            return Vec::new();
        }
        let build = Suggestion::new("cargo-build", "build", "cargo build").reaching(&RUST_REGISTRY);
        let test = Suggestion::new("cargo-test", "test", "cargo test")
            .after(&["cargo-build"])
            .reading(&RUST_INPUTS)
            .reaching(&RUST_REGISTRY);
        vec![build, test]
    }

    fn node(&self) -> Vec<Suggestion> {
        if !self.has("package.json") {
            return Vec::new();
        }
        let (tool, install) = if self.has("pnpm-lock.yaml") {
            ("pnpm", "pnpm install --frozen-lockfile")
        } else if self.has("yarn.lock") {
            ("yarn", "yarn install --frozen-lockfile")
        } else if self.has("package-lock.json") {
            ("npm", "npm ci")
        } else {
            ("npm", "npm install")
        };
        let package: serde_json::Value =
            serde_json::from_str(&self.text("package.json")).unwrap_or_default();
        let mut suggestions = vec![
            Suggestion::new("node-install", "custom", install)
                .reaching(&["registry.npmjs.org", "registry.yarnpkg.com"]),
        ];
        for (script, kind) in [("build", "build"), ("test", "test")] {
            if package["scripts"][script].is_string() {
                let id = format!("node-{script}");
                let before = suggestions.last().map(|last| last.id.clone());
                let step = Suggestion::new(&id, kind, &format!("{tool} run {script}"));
                suggestions.push(step.after(&[before.as_deref().unwrap_or_default()]));
            }
        }
        suggestions
    }

    fn python(&self) -> Vec<Suggestion> {
        let is_project = ["pyproject.toml", "setup.py", "requirements.txt"]
            .iter()
            .any(|name| self.has(name));
        if !is_project {
            return Vec::new();
        }
        let install = if self.has("requirements.txt") {
            "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt"
        } else {
            "python3 -m venv .venv && .venv/bin/pip install -e ."
        };
        let uses_pytest = ["pyproject.toml", "requirements.txt", "setup.cfg", "tox.ini"]
            .iter()
            .any(|name| self.text(name).contains("pytest"));
        let test = if uses_pytest {
            ".venv/bin/python -m pytest"
        } else {
            ".venv/bin/python -m unittest"
        };
        vec![
            Suggestion::new("python-install", "custom", install)
                .reaching(&["pypi.org", "files.pythonhosted.org"]),
            Suggestion::new("python-test", "test", test).after(&["python-install"]),
        ]
    }

    fn go(&self) -> Vec<Suggestion> {
        if !self.has("go.mod") {
            return Vec::new();
        }
        vec![
            Suggestion::new("go-download", "custom", "go mod download")
                .reaching(&["proxy.golang.org", "sum.golang.org"]),
            Suggestion::new("go-build", "build", "go build ./...").after(&["go-download"]),
            Suggestion::new("go-test", "test", "go test ./...")
                .after(&["go-build"])
                .reading(&["**/*.go", "go.mod", "go.sum"]),
        ]
    }

    fn maven(&self) -> Vec<Suggestion> {
        if !self.has("pom.xml") {
            return Vec::new();
        }
        let tool = if self.has("mvnw") { "./mvnw" } else { "mvn" };
        let test = Suggestion::new("maven-test", "test", &format!("{tool} --batch-mode test"));
        vec![test.reaching(&["repo.maven.apache.org", "repo1.maven.org"])]
    }

    fn gradle(&self) -> Vec<Suggestion> {
        let is_project = ["build.gradle", "build.gradle.kts"]
            .iter()
            .any(|name| self.has(name));
        if !is_project {
            return Vec::new();
        }
        let tool = if self.has("gradlew") {
            "./gradlew"
        } else {
            "gradle"
        };
        let test = Suggestion::new("gradle-test", "test", &format!("{tool} --no-daemon test"));
        vec![test.reaching(&[
            "services.gradle.org",
            "plugins.gradle.org",
            "repo.maven.apache.org",
        ])]
    }

    fn cmake(&self) -> Vec<Suggestion> {
        if !self.has("CMakeLists.txt") {
            return Vec::new();
        }
        vec![
            Suggestion::new(
                "cmake-build",
                "build",
                "cmake -S . -B build && cmake --build build",
            ),
            Suggestion::new(
                "cmake-test",
                "test",
                "ctest --test-dir build --output-on-failure",
            )
            .after(&["cmake-build"]),
        ]
    }

    fn make(&self) -> Vec<Suggestion> {
        let makefile = ["Makefile", "makefile", "GNUmakefile"]
            .into_iter()
            .find(|name| self.has(name));
        // CMake and others write makefiles, too, and know better what is in them.
        let Some(makefile) = makefile.filter(|_| !self.has("CMakeLists.txt")) else {
            return Vec::new();
        };
        let text = self.text(makefile);
        let has_target = |name: &&str| {
            let rule = format!("{name}:");
            text.lines().any(|line| line.starts_with(&rule))
        };
        let mut suggestions = vec![Suggestion::new("make", "build", "make")];
        if let Some(name) = ["check", "test"].into_iter().find(has_target) {
            suggestions.push(
                Suggestion::new("make-test", "test", &format!("make {name}")).after(&["make"]),
            );
        }
        suggestions
    }

    fn write(&self, suggestions: &[Suggestion]) -> String {
        let name = self.root.file_name().map(|name| name.to_string_lossy());
        let mut text = format!(
            "# Made by `cogo plan init`; yours to change. `cogo plan schema` describes all fields.\n\
             name: {}\nsteps:\n",
            quoted(name.as_deref().unwrap_or("plan"))
        );
        for suggestion in suggestions {
            text.push_str(&suggestion.write());
        }
        text
    }
}

impl Suggestion {
    fn new(id: &str, kind: &'static str, run: &str) -> Self {
        Self {
            id: id.to_owned(),
            kind,
            run: run.to_owned(),
            needs: Vec::new(),
            inputs: Vec::new(),
            domains: Vec::new(),
        }
    }

    fn after(mut self, needs: &[&str]) -> Self {
        self.needs = needs.iter().map(|need| (*need).to_owned()).collect();
        self
    }

    fn reading(mut self, inputs: &[&'static str]) -> Self {
        self.inputs = inputs.to_vec();
        self
    }

    fn reaching(mut self, domains: &[&'static str]) -> Self {
        self.domains = domains.to_vec();
        self
    }

    fn write(&self) -> String {
        let list = |values: &[String]| values.join(", ");
        let mut text = format!("  - id: {}\n    type: {}\n", self.id, self.kind);
        text.push_str(&format!("    run: {}\n", quoted(&self.run)));
        if !self.needs.is_empty() {
            text.push_str(&format!("    needs: [{}]\n", list(&self.needs)));
        }
        if !self.inputs.is_empty() {
            let inputs: Vec<String> = self.inputs.iter().map(|input| quoted(input)).collect();
            text.push_str(&format!("    inputs: [{}]\n", list(&inputs)));
        }
        if !self.domains.is_empty() {
            text.push_str(&format!(
                "    network: {{ allow: [{}] }}\n",
                self.domains.join(", ")
            ));
        }
        text
    }
}

/// A text as YAML reads it back, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''").replace(['\n', '\r'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Graph;
    use crate::read::read;

    /// The ids of the steps suggested for a repository of these files.
    fn steps(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        let Some(text) = Repository::new(folder.path()).plan() else {
            return Vec::new();
        };
        let graph = Graph::new(read(&text).expect("a plan")).expect("a sound plan");
        graph.nodes.iter().map(|node| node.name.clone()).collect()
    }

    #[test]
    fn tools_are_recognised_by_their_files() {
        assert_eq!(steps(&[("Cargo.toml", "")]), ["cargo-build", "cargo-test"]);
        let package = r#"{"scripts":{"test":"node --test"}}"#;
        assert_eq!(
            steps(&[("package.json", package)]),
            ["node-install", "node-test"]
        );
        assert_eq!(steps(&[("package.json", "{")]), ["node-install"]);
        assert_eq!(
            steps(&[("pyproject.toml", ""), ("go.mod", "")]),
            [
                "python-install",
                "python-test",
                "go-download",
                "go-build",
                "go-test"
            ]
        );
        assert_eq!(steps(&[("pom.xml", "")]), ["maven-test"]);
        assert_eq!(steps(&[("build.gradle.kts", "")]), ["gradle-test"]);
        assert_eq!(
            steps(&[("Makefile", "all:\n\ntest: all\n")]),
            ["make", "make-test"]
        );
        assert_eq!(
            steps(&[("CMakeLists.txt", ""), ("Makefile", "")]),
            ["cmake-build", "cmake-test"]
        );
        assert_eq!(steps(&[("README.md", "")]), Vec::<String>::new());
    }
}
