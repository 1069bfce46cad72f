//! What an edit affects first: from files to packages to tests, by the layout of the repository.
//!
//! A narrowed command is run before the whole one, so a wrong guess costs time and never a result. It is
//! read from manifests and names alone; nothing of the repository is run for it.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::test_recovery::TestCommand;
use crate::test_results::TestTool;

/// The command that tells first about these files, paths below `workspace`. None if nothing narrower than
/// the whole is known.
pub fn first(argv: &[String], workspace: &Path, changed: &[PathBuf]) -> Option<Vec<String>> {
    let changed: Vec<&Path> = changed.iter().map(PathBuf::as_path).collect();
    if changed.is_empty() {
        return None;
    }
    if argv
        .first()
        .is_some_and(|program| program.rsplit('/').next() == Some("cargo"))
    {
        return cargo(argv, workspace, &changed);
    }
    let command = TestCommand::recognize(argv, workspace)?;
    let files = match command.tool {
        TestTool::Pytest => each(&changed, |file| python_test(workspace, file))?,
        TestTool::NodeTest => each(&changed, |file| {
            is_javascript_test(file).then(|| shown(file))
        })?,
        TestTool::Go => return go(argv, &changed),
        TestTool::Jest => {
            let files = each(&changed, |file| is_javascript(file).then(|| shown(file)))?;
            return Some([argv, &["--findRelatedTests".to_owned()], &files[..]].concat());
        }
        TestTool::Vitest => {
            let files = each(&changed, |file| is_javascript(file).then(|| shown(file)))?;
            let at = argv.iter().position(|argument| argument == "run")?;
            let mut related = argv.to_vec();
            related.splice(at..=at, ["related".to_owned(), "--run".to_owned()]);
            return Some([&related[..], &files].concat());
        }
        TestTool::Libtest | TestTool::Nextest | TestTool::Tap | TestTool::Junit => return None,
    };
    // Files that the command names already are for it to choose.
    let names_files = argv
        .iter()
        .skip(1)
        .any(|argument| workspace.join(argument).exists());
    (!names_files).then(|| [argv, &files[..]].concat())
}

/// What each file leads to. None as soon as one leads nowhere: the edit then may affect anything.
fn each(changed: &[&Path], lead: impl Fn(&Path) -> Option<String>) -> Option<Vec<String>> {
    let all: Option<BTreeSet<String>> = changed.iter().map(|file| lead(file)).collect();
    all.map(|all| all.into_iter().collect())
}

/// `-p` for the packages whose files were edited, and `--test` where it was one program of tests.
fn cargo(argv: &[String], workspace: &Path, changed: &[&Path]) -> Option<Vec<String>> {
    let at = argv.iter().position(|argument| {
        ["test", "t", "build", "b", "check", "c", "clippy", "run"].contains(&&**argument)
    })?;
    let end = argv
        .iter()
        .position(|argument| argument == "--")
        .unwrap_or(argv.len());
    let is_narrow = |argument: &String| {
        [
            "-p",
            "--package",
            "--manifest-path",
            "--test",
            "--lib",
            "--bin",
            "--doc",
            "--example",
        ]
        .contains(&argument.split('=').next().unwrap_or_default())
    };
    if argv[..end].iter().any(is_narrow) {
        return None;
    }
    let mut packages = BTreeSet::new();
    let mut tests = BTreeSet::new();
    for file in changed {
        let (package, folder) = package_of(workspace, file)?;
        packages.insert(package);
        tests.insert(test_program(file.strip_prefix(&folder).ok()?));
    }
    let is_workspace = packages.len() > 1 || has_members(workspace);
    let is_nextest = at > 0 && argv[at - 1] == "nextest";
    let is_test = is_nextest || ["test", "t"].contains(&&*argv[at]);
    let programs: Option<Vec<String>> = tests.into_iter().collect();
    let mut added = Vec::new();
    if is_workspace {
        added.extend(
            packages
                .into_iter()
                .flat_map(|name| ["-p".to_owned(), name]),
        );
    }
    if is_test && let Some(programs) = programs {
        added.extend(
            programs
                .into_iter()
                .flat_map(|name| ["--test".to_owned(), name]),
        );
    }
    if added.is_empty() {
        return None;
    }
    let mut narrowed = argv.to_vec();
    narrowed.retain(|argument| argument != "--workspace" && argument != "--all");
    let end = narrowed
        .iter()
        .position(|argument| argument == "--")
        .unwrap_or(narrowed.len());
    narrowed.splice(end..end, added);
    Some(narrowed)
}

/// The package that a file belongs to, and its folder.
fn package_of(workspace: &Path, file: &Path) -> Option<(String, PathBuf)> {
    let mut folder = file.parent();
    while let Some(path) = folder {
        if let Ok(text) = std::fs::read_to_string(workspace.join(path).join("Cargo.toml")) {
            let manifest: toml::Table = text.parse().ok()?;
            let name = manifest.get("package")?.get("name")?.as_str()?;
            return Some((name.to_owned(), path.to_owned()));
        }
        folder = path.parent();
    }
    None
}

fn has_members(workspace: &Path) -> bool {
    let text = std::fs::read_to_string(workspace.join("Cargo.toml")).unwrap_or_default();
    let manifest: toml::Table = text.parse().unwrap_or_default();
    let members = manifest
        .get("workspace")
        .and_then(|workspace| workspace.get("members"));
    members.is_some()
}

/// `tests/it.rs` and `tests/it/main.rs` are a program of tests, and what is below `tests/it/` is in it.
fn test_program(file: &Path) -> Option<String> {
    let mut parts = file.components().map(Component::as_os_str);
    if parts.next()? != "tests" {
        return None;
    }
    let name = Path::new(parts.next()?);
    Some(name.file_stem()?.to_str()?.to_owned())
}

/// A test file itself, or the one that is named after a module: `pay.py` is tested by `test_pay.py`.
fn python_test(workspace: &Path, file: &Path) -> Option<String> {
    if file.extension()? != "py" {
        return None;
    }
    let stem = file.file_stem()?.to_str()?;
    if stem.starts_with("test_") || stem.ends_with("_test") {
        return Some(shown(file));
    }
    let folder = file.parent()?;
    let name = format!("test_{stem}.py");
    let places = [
        folder.join(&name),
        folder.join("tests").join(&name),
        Path::new("tests").join(&name),
    ];
    places
        .iter()
        .find(|path| workspace.join(path).is_file())
        .map(|path| shown(path))
}

/// The packages whose files were edited, in place of `./...`.
fn go(argv: &[String], changed: &[&Path]) -> Option<Vec<String>> {
    let packages = each(changed, |file| {
        let folder = file
            .parent()
            .filter(|_| file.extension().is_some_and(|end| end == "go"))?;
        let folder = shown(folder);
        Some(if folder.is_empty() {
            ".".to_owned()
        } else {
            format!("./{folder}")
        })
    })?;
    let at = argv.iter().position(|argument| argument == "./...")?;
    let mut narrowed = argv.to_vec();
    narrowed.splice(at..=at, packages);
    Some(narrowed)
}

fn is_javascript(file: &Path) -> bool {
    let ends = [
        "js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "tsx", "vue", "svelte",
    ];
    file.extension()
        .is_some_and(|end| ends.iter().any(|known| end == *known))
}

fn is_javascript_test(file: &Path) -> bool {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    is_javascript(file)
        && [".test", ".spec", "-test", "_test"]
            .iter()
            .any(|end| stem.ends_with(end))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = place.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
            std::fs::write(path, text).expect("a file");
        }
        place
    }

    fn narrowed(place: &tempfile::TempDir, line: &str, changed: &[&str]) -> Option<String> {
        let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let changed: Vec<PathBuf> = changed.iter().map(PathBuf::from).collect();
        first(&argv, place.path(), &changed).map(|argv| argv.join(" "))
    }

    #[test]
    fn cargo_is_asked_for_packages_and_programs() {
        let place = folder(&[
            ("Cargo.toml", "[workspace]\nmembers = ['a', 'b']\n"),
            ("a/Cargo.toml", "[package]\nname = 'shop'\n"),
            ("b/Cargo.toml", "[package]\nname = 'till'\n"),
        ]);
        let check = |line, changed: &[&str]| narrowed(&place, line, changed);
        assert_eq!(
            check("cargo test --workspace -- --nocapture", &["a/src/lib.rs"]).as_deref(),
            Some("cargo test -p shop -- --nocapture")
        );
        assert_eq!(
            check("cargo nextest run", &["a/tests/it/x.rs", "b/tests/it.rs"]).as_deref(),
            Some("cargo nextest run -p shop -p till --test it")
        );
        assert_eq!(
            check("cargo clippy", &["a/tests/it.rs"]).as_deref(),
            Some("cargo clippy -p shop")
        );
        assert_eq!(check("cargo test -p till", &["a/src/lib.rs"]), None);
        assert_eq!(check("cargo test", &["README.md"]), None);
        assert_eq!(check("cargo test", &["a/src/lib.rs", "README.md"]), None);
    }

    #[test]
    fn a_single_package_is_narrowed_to_its_programs_only() {
        let place = folder(&[("Cargo.toml", "[package]\nname = 'shop'\n")]);
        assert_eq!(narrowed(&place, "cargo test", &["src/lib.rs"]), None);
        assert_eq!(
            narrowed(&place, "cargo test", &["tests/it.rs"]).as_deref(),
            Some("cargo test --test it")
        );
    }

    #[test]
    fn others_are_asked_for_files() {
        let place = folder(&[("tests/test_pay.py", ""), ("shop/pay.py", "")]);
        let check = |line, changed: &[&str]| narrowed(&place, line, changed);
        assert_eq!(
            check("pytest", &["shop/pay.py"]).as_deref(),
            Some("pytest tests/test_pay.py")
        );
        assert_eq!(check("pytest", &["shop/other.py"]), None);
        assert_eq!(check("pytest tests", &["shop/pay.py"]), None);
        assert_eq!(
            check("npx jest", &["src/pay.ts"]).as_deref(),
            Some("npx jest --findRelatedTests src/pay.ts")
        );
        assert_eq!(
            check("npx vitest run", &["src/pay.ts"]).as_deref(),
            Some("npx vitest related --run src/pay.ts")
        );
        assert_eq!(
            check("node --test", &["src/pay.test.mjs"]).as_deref(),
            Some("node --test src/pay.test.mjs")
        );
        assert_eq!(
            check("go test ./...", &["pay/pay.go", "main.go"]).as_deref(),
            Some("go test . ./pay")
        );
        assert_eq!(check("make", &["main.c"]), None);
    }
}
