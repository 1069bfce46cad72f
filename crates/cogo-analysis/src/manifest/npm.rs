//! `package.json`, `package-lock.json` and `yarn.lock`.

use serde_json::{Map, Value};

use super::{Dependency, Kind, Manifest, ManifestError};

const SECTIONS: [(&str, Kind); 4] = [
    ("dependencies", Kind::Normal),
    ("devDependencies", Kind::Development),
    ("optionalDependencies", Kind::Optional),
    ("peerDependencies", Kind::Peer),
];

pub(super) fn manifest(text: &str) -> Result<Manifest, ManifestError> {
    let root: Map<String, Value> = serde_json::from_str(text)?;
    let field = |name: &str| root.get(name).and_then(Value::as_str).map(str::to_owned);
    let mut manifest = Manifest {
        package: field("name"),
        version: field("version"),
        license: license(&root),
        dependencies: Vec::new(),
    };
    for (section, kind) in SECTIONS {
        let section = root.get(section).and_then(Value::as_object);
        manifest
            .dependencies
            .extend(section.into_iter().flatten().map(|(name, value)| {
                let requirement = value.as_str();
                Dependency::asked(name, requirement, kind, requirement.is_some_and(is_exact))
            }));
    }
    Ok(manifest)
}

/// Old packages have an object, or a list of them.
fn license(root: &Map<String, Value>) -> Option<String> {
    let first = root
        .get("license")
        .or_else(|| root.get("licenses")?.get(0))?;
    let name = first.as_str().or_else(|| first.get("type")?.as_str())?;
    Some(name.to_owned())
}

fn is_exact(requirement: &str) -> bool {
    let version = requirement.trim().trim_start_matches('=');
    version.split('.').count() == 3
        && version.starts_with(|c: char| c.is_ascii_digit())
        && !version.contains([' ', '|', '*', '<', '>', 'x', 'X'])
}

pub(super) fn lock(text: &str) -> Result<Manifest, ManifestError> {
    let root: Map<String, Value> = serde_json::from_str(text)?;
    let mut dependencies = Vec::new();
    if let Some(packages) = root.get("packages").and_then(Value::as_object) {
        for (place, package) in packages {
            let name = place.rsplit_once("node_modules/").map(|(_, name)| name);
            let name = package.get("name").and_then(Value::as_str).or(name);
            let is_ours = !place.contains("node_modules/");
            let version = package.get("version").and_then(Value::as_str);
            if let (false, Some(name), Some(version)) = (is_ours, name, version) {
                dependencies.push(Dependency::locked(name, version, locked_kind(package)));
            }
        }
    } else if let Some(first) = root.get("dependencies").and_then(Value::as_object) {
        // Version 1 nests. A list instead of recursion: how deep is the author's choice.
        let mut open = vec![first];
        while let Some(packages) = open.pop() {
            for (name, package) in packages {
                if let Some(version) = package.get("version").and_then(Value::as_str) {
                    dependencies.push(Dependency::locked(name, version, locked_kind(package)));
                }
                open.extend(package.get("dependencies").and_then(Value::as_object));
            }
        }
    }
    Ok(Manifest {
        dependencies,
        ..Manifest::default()
    })
}

fn locked_kind(package: &Value) -> Kind {
    let is = |name: &str| package.get(name).and_then(Value::as_bool) == Some(true);
    if is("dev") {
        Kind::Development
    } else if is("optional") {
        Kind::Optional
    } else if is("peer") {
        Kind::Peer
    } else {
        Kind::Normal
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as all readers")]
pub(super) fn yarn_lock(text: &str) -> Result<Manifest, ManifestError> {
    let mut dependencies = Vec::new();
    let mut name = None;
    for line in text.lines() {
        if !line.starts_with([' ', '#']) && line.ends_with(':') {
            let first = line.split(',').next().unwrap_or_default();
            let first = first.trim_matches(['"', ':', ' ']);
            // The `@` of a scope is the first letter.
            let end = first.char_indices().skip(1).find(|&(_, c)| c == '@');
            name = end.map(|(at, _)| &first[..at]);
        } else if let Some(rest) = line.trim_start().strip_prefix("version") {
            let version = rest.trim_matches([':', ' ', '"']);
            if let Some(name) = name.take().filter(|_| version != "0.0.0-use.local") {
                dependencies.push(Dependency::locked(name, version, Kind::Normal));
            }
        }
    }
    Ok(Manifest {
        dependencies,
        ..Manifest::default()
    })
}
