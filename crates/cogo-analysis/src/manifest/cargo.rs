//! `Cargo.toml` and `Cargo.lock`.

use toml::{Table, Value};

use super::{Dependency, Kind, Manifest, ManifestError};

const SECTIONS: [(&str, Kind); 3] = [
    ("dependencies", Kind::Normal),
    ("dev-dependencies", Kind::Development),
    ("build-dependencies", Kind::Build),
];

pub(super) fn manifest(text: &str) -> Result<Manifest, ManifestError> {
    let root: Table = text.parse()?;
    let package = root.get("package").and_then(Value::as_table);
    let shared = root.get("workspace").and_then(Value::as_table);
    let mut manifest = Manifest::default();
    let field = |name: &str| package?.get(name)?.as_str().map(str::to_owned);
    manifest.package = field("name");
    manifest.version = field("version");
    manifest.license = field("license");
    let platforms = root.get("target").and_then(Value::as_table);
    let tables = [Some(&root), shared].into_iter().flatten().chain(
        platforms
            .into_iter()
            .flat_map(Table::values)
            .filter_map(Value::as_table),
    );
    for table in tables {
        for (section, kind) in SECTIONS {
            let section = table.get(section).and_then(Value::as_table);
            let named = section.into_iter().flatten();
            manifest
                .dependencies
                .extend(named.map(|(name, value)| dependency(name, value, kind)));
        }
    }
    Ok(manifest)
}

fn dependency(name: &str, value: &Value, kind: Kind) -> Dependency {
    let field = |name: &str| value.get(name).and_then(Value::as_str);
    let requirement = value.as_str().or_else(|| field("version"));
    let is_optional = value.get("optional").and_then(Value::as_bool) == Some(true);
    Dependency::asked(
        field("package").unwrap_or(name),
        requirement,
        if is_optional { Kind::Optional } else { kind },
        requirement.is_some_and(|text| text.trim_start().starts_with('=') && !text.contains(',')),
    )
}

pub(super) fn lock(text: &str) -> Result<Manifest, ManifestError> {
    let root: Table = text.parse()?;
    let packages = root.get("package").and_then(Value::as_array);
    let locked = packages.into_iter().flatten().filter_map(|package| {
        let field = |name: &str| package.get(name)?.as_str();
        // One without a source is a package of this repository.
        field("source")?;
        Some(Dependency::locked(
            field("name")?,
            field("version")?,
            Kind::Normal,
        ))
    });
    Ok(Manifest {
        dependencies: locked.collect(),
        ..Manifest::default()
    })
}
