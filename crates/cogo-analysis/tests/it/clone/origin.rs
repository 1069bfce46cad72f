//! A repository to clone from, made by the `git` program.

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Origin {
    directory: tempfile::TempDir,
}

impl Origin {
    /// A repository with one commit of these files.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let origin = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(origin.path()).unwrap();
        origin.git(&["init", "-q", "-b", "main"]);
        origin.git(&["config", "uploadpack.allowAnySHA1InWant", "true"]);
        origin.commit(files);
        origin
    }

    pub(crate) fn parent(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("origin")
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// Writes files and commits everything.
    pub(crate) fn commit(&self, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = self.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", "change"]);
    }

    /// Runs `git` without anybody's settings and returns what it prints.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null")
            .envs([
                ("GIT_AUTHOR_NAME", "Ada"),
                ("GIT_AUTHOR_EMAIL", "ada@example.org"),
            ])
            .envs([
                ("GIT_COMMITTER_NAME", "Ada"),
                ("GIT_COMMITTER_EMAIL", "ada@example.org"),
            ])
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Overwrites every object.
    pub(crate) fn damage(&self) {
        let objects = self.path().join(".git/objects");
        for entry in std::fs::read_dir(objects).unwrap() {
            let directory = entry.unwrap().path();
            for object in std::fs::read_dir(directory).unwrap() {
                let object = object.unwrap().path();
                std::fs::remove_file(&object).unwrap();
                std::fs::write(&object, "damaged").unwrap();
            }
        }
    }
}
