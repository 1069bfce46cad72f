//! `build.gradle`, `build.gradle.kts` and `gradle.lockfile`. A build file is a program; its usual
//! forms of a dependency are read, others are not seen.

use std::sync::LazyLock;

use regex::Regex;

use super::{Dependency, Kind, Manifest, ManifestError};

static DEPENDENCY: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r#"(?m)^\s*(\w*(?:[iI]mplementation|[aA]pi|[cC]ompile|[cC]ompileOnly|[rR]untimeOnly|[rR]untime|annotationProcessor|kapt|ksp|classpath))\s*\(?\s*['"]([\w.\-]+):([\w.\-]+)(?::([^'":@]+))?"#;
    Regex::new(pattern).expect("the pattern is fixed")
});

static FIELD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?m)^(group|version)\s*=?\s*['"]([^'"]+)['"]"#).expect("the pattern is fixed")
});

#[expect(clippy::unnecessary_wraps, reason = "as all readers")]
pub(super) fn build(text: &str) -> Result<Manifest, ManifestError> {
    let dependencies = DEPENDENCY.captures_iter(text).map(|found| {
        let version = found.get(4).map(|version| version.as_str());
        let is_exact = version.is_some_and(|text| !text.contains(['+', '[', ',', '(', '$']));
        let name = format!("{}:{}", &found[2], &found[3]);
        Dependency::asked(&name, version, kind(&found[1]), is_exact)
    });
    let version = FIELD
        .captures_iter(text)
        .find(|found| &found[1] == "version");
    Ok(Manifest {
        version: version.map(|found| found[2].to_owned()),
        dependencies: dependencies.collect(),
        ..Manifest::default()
    })
}

fn kind(configuration: &str) -> Kind {
    let lower = configuration.to_ascii_lowercase();
    if lower.contains("test") {
        Kind::Development
    } else if lower.ends_with("compileonly") {
        Kind::Peer
    } else if ["annotationprocessor", "kapt", "ksp", "classpath"].contains(&&*lower) {
        Kind::Build
    } else {
        Kind::Normal
    }
}

#[expect(clippy::unnecessary_wraps, reason = "as all readers")]
pub(super) fn lock(text: &str) -> Result<Manifest, ManifestError> {
    let locked = text.lines().filter_map(|line| {
        let (coordinates, configurations) = line.split_once('=')?;
        let (name, version) = coordinates.rsplit_once(':')?;
        let is_test = configurations
            .split(',')
            .all(|name| name.starts_with("test"));
        let kind = if is_test {
            Kind::Development
        } else {
            Kind::Normal
        };
        Some(Dependency::locked(name, version, kind))
    });
    Ok(Manifest {
        dependencies: locked.collect(),
        ..Manifest::default()
    })
}
