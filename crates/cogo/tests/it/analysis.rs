//! `cogo analyze` and the questions after it, from the command line.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::fixture::{Fixture, Ran, finish};

fn git(folder: &Path, arguments: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments);
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "Ada");
        command.env(format!("GIT_{who}_EMAIL"), "ada@example.org");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A small crate with a history of two commits.
fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("CODEOWNERS", "*.rs @ada\n");
    write(
        "Cargo.toml",
        "[package]\nname = 'shop'\nversion = '1.0.0'\n[dependencies]\nserde = '1.2'\n",
    );
    std::fs::create_dir(folder.path().join("src")).unwrap();
    write(
        "src/lib.rs",
        "pub fn total() -> u32 { price() }\nfn price() -> u32 { 1 }\n",
    );
    git(folder.path(), &["init", "-q"]);
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "one"]);
    write(
        "src/lib.rs",
        "pub fn total() -> u32 { price() + 1 }\n\nfn price() -> u32 {\n    1\n}\n",
    );
    git(folder.path(), &["commit", "-q", "-a", "-m", "two"]);
    folder
}

fn ask(world: &Fixture, repository: &Path, question: &[&str]) -> Vec<Value> {
    let root = repository.to_str().unwrap();
    let mut command = world.cogo(["query", "--json", "--repo", root]);
    let ran: Ran = finish(command.args(question));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let lines = ran.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_repository_is_analysed_once_and_answers() {
    let (world, folder) = (Fixture::new(), repository());
    let root = folder.path().to_str().unwrap();
    let analyse = || -> Value {
        let ran = finish(&mut world.cogo(["analyze", "--json", root]));
        assert_eq!(ran.code, Some(0), "{ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let first = analyse();
    assert_eq!(
        (&first["parsed"], &first["commits"]),
        (&2.into(), &2.into()),
        "{first}"
    );
    let second = analyse();
    assert_eq!(
        (&second["read"], &second["commits"]),
        (&0.into(), &0.into()),
        "{second}"
    );

    let callers = ask(&world, folder.path(), &["callers", "price"]);
    assert!(callers[0].to_string().contains("total"), "{callers:?}");
    let depends = ask(&world, folder.path(), &["depends"]);
    assert_eq!(depends[0]["name"], "serde");
    assert_eq!(depends[0]["requirement"], "1.2");
    let hot = ask(&world, folder.path(), &["hot"]);
    assert_eq!(
        (&hot[0]["path"], &hot[0]["commits"]),
        (&"src/lib.rs".into(), &2.into())
    );
    let history = ask(&world, folder.path(), &["history", "src/lib.rs"]);
    assert_eq!(history[0]["owners"][0], "@ada");
    assert_eq!(history[0]["authors"][0]["name"], "Ada");
}

#[test]
fn a_repository_is_analysed_by_its_url() {
    let (world, folder) = (Fixture::new(), repository());
    let url = format!("file://{}", folder.path().display());
    let ran = finish(&mut world.cogo(["analyze", "--json", &url]));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        (&found["parsed"], &found["commits"]),
        (&2.into(), &2.into()),
        "{found}"
    );
    let nowhere = finish(&mut world.cogo(["analyze", "file:///nowhere/at/all.git"]));
    assert_eq!(nowhere.code, Some(1), "{nowhere:?}");
    assert!(nowhere.stderr.contains("hint:"), "{nowhere:?}");
}
