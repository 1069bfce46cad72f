//! `pyproject.toml`, `setup.cfg`, requirement files and the lock files of Poetry and uv.

use toml::{Table, Value};

use super::{Dependency, Kind, Manifest, ManifestError};

pub(super) fn pyproject(text: &str) -> Result<Manifest, ManifestError> {
    let root: Table = text.parse()?;
    let empty = Table::new();
    let at = |path: &[&str]| {
        let found = path
            .iter()
            .try_fold(&root, |table, key| table.get(*key)?.as_table());
        found.unwrap_or(&empty)
    };
    let (project, poetry) = (at(&["project"]), at(&["tool", "poetry"]));
    let field = |name: &str| {
        let value = project.get(name).or_else(|| poetry.get(name))?;
        let text = value.as_str().or_else(|| value.get("text")?.as_str())?;
        Some(text.to_owned()).filter(|text| !text.contains('\n'))
    };
    let mut manifest = Manifest {
        package: field("name"),
        version: field("version"),
        license: field("license"),
        dependencies: Vec::new(),
    };
    let dependencies = &mut manifest.dependencies;
    dependencies.extend(strings(project.get("dependencies"), Kind::Normal));
    for group in at(&["project", "optional-dependencies"]).values() {
        dependencies.extend(strings(Some(group), Kind::Optional));
    }
    for group in at(&["dependency-groups"]).values() {
        dependencies.extend(strings(Some(group), Kind::Development));
    }
    dependencies.extend(strings(at(&["build-system"]).get("requires"), Kind::Build));
    dependencies.extend(poetry_table(
        at(&["tool", "poetry", "dependencies"]),
        Kind::Normal,
    ));
    dependencies.extend(poetry_table(
        at(&["tool", "poetry", "dev-dependencies"]),
        Kind::Development,
    ));
    for group in at(&["tool", "poetry", "group"]).values() {
        let group = group
            .get("dependencies")
            .and_then(Value::as_table)
            .unwrap_or(&empty);
        dependencies.extend(poetry_table(group, Kind::Development));
    }
    Ok(manifest)
}

fn strings(value: Option<&Value>, kind: Kind) -> impl Iterator<Item = Dependency> {
    let list = value.and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str)
        .filter_map(move |text| requirement(text, kind))
}

fn poetry_table(table: &Table, kind: Kind) -> impl Iterator<Item = Dependency> {
    let named = table.iter().filter(|(name, _)| *name != "python");
    named.map(move |(name, value)| {
        let version = value.as_str().or_else(|| value.get("version")?.as_str());
        let version = version.filter(|version| *version != "*");
        let is_optional = value.get("optional").and_then(Value::as_bool) == Some(true);
        let kind = if is_optional { Kind::Optional } else { kind };
        let is_exact = version.is_some_and(|text| {
            let text = text.trim_start_matches('=');
            text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains([',', '*'])
        });
        Dependency::asked(&normalized(name), version, kind, is_exact)
    })
}

/// One requirement of the form `name[extra] >=1,<2; marker` or `name @ url`.
fn requirement(text: &str, kind: Kind) -> Option<Dependency> {
    let text = text.split(';').next().unwrap_or_default().trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    rest = rest.trim_start();
    if rest.starts_with('[') {
        rest = rest.split_once(']').map_or("", |(_, rest)| rest);
    }
    let rest = rest.trim().trim_matches(['(', ')']).trim();
    let is_exact = rest.starts_with("==") && !rest.contains([',', '*']);
    Some(Dependency::asked(
        &normalized(name),
        Some(rest),
        kind,
        is_exact,
    ))
}

/// Names that the index treats as equal are equal.
fn normalized(name: &str) -> String {
    let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

#[expect(clippy::unnecessary_wraps, reason = "as all readers")]
pub(super) fn requirements(text: &str) -> Result<Manifest, ManifestError> {
    let whole = text.replace("\\\n", " ");
    let lines = whole.lines().filter_map(|line| {
        let line = line.split(" #").next().unwrap_or_default().trim();
        let line = line.split(" --hash").next().unwrap_or_default();
        if line.starts_with(['#', '-']) {
            return None;
        }
        requirement(line, Kind::Normal)
    });
    Ok(Manifest {
        dependencies: lines.collect(),
        ..Manifest::default()
    })
}

#[expect(clippy::unnecessary_wraps, reason = "as all readers")]
pub(super) fn setup_cfg(text: &str) -> Result<Manifest, ManifestError> {
    let mut manifest = Manifest::default();
    let (mut section, mut key) = (String::new(), String::new());
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            (section, key) = (name.to_owned(), String::new());
            continue;
        }
        let mut value = trimmed;
        if !line.starts_with([' ', '\t'])
            && let Some((name, rest)) = trimmed.split_once('=')
        {
            name.trim().clone_into(&mut key);
            value = rest.trim();
        }
        let kind = match (&*section, &*key) {
            ("metadata", "name") => {
                manifest.package = told(value);
                continue;
            }
            ("metadata", "version") => {
                manifest.version = told(value);
                continue;
            }
            ("metadata", "license") => {
                manifest.license = told(value);
                continue;
            }
            ("options", "install_requires") => Kind::Normal,
            ("options", "setup_requires") => Kind::Build,
            ("options", "tests_require") => Kind::Development,
            ("options.extras_require", _) => Kind::Optional,
            _ => continue,
        };
        manifest.dependencies.extend(requirement(value, kind));
    }
    Ok(manifest)
}

/// `attr: package.version` and `file: VERSION` say where, not what.
fn told(value: &str) -> Option<String> {
    let is_elsewhere = value.starts_with("attr:") || value.starts_with("file:");
    (!value.is_empty() && !is_elsewhere).then(|| value.to_owned())
}

pub(super) fn lock(text: &str) -> Result<Manifest, ManifestError> {
    let root: Table = text.parse()?;
    let packages = root.get("package").and_then(Value::as_array);
    let locked = packages.into_iter().flatten().filter_map(|package| {
        let source = package.get("source");
        let is_ours = source.is_some_and(|source| {
            source.get("virtual").is_some() || source.get("editable").is_some()
        });
        let field = |name: &str| package.get(name)?.as_str();
        let locked =
            Dependency::locked(&normalized(field("name")?), field("version")?, Kind::Normal);
        (!is_ours).then_some(locked)
    });
    Ok(Manifest {
        dependencies: locked.collect(),
        ..Manifest::default()
    })
}
