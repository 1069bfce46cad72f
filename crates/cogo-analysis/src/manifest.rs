//! What a repository says about itself: packages, dependencies, licences and owners.
//!
//! Manifests are read as data. None is run, so a `build.gradle` is read by its usual forms only.

mod cargo;
mod go;
mod gradle;
mod license;
mod maven;
mod npm;
mod owners;
mod python;
mod store;

pub use license::{identify, is_license_file};
pub use owners::Owners;
pub use store::{DependencyUse, Stored, dependencies, refresh, store};

use serde::Serialize;

/// Largest manifest that is read; lock files of large projects have some megabytes.
pub const BYTES_MAX: u64 = 32 << 20;

/// Whose packages a manifest is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ecosystem {
    /// Rust.
    Cargo,
    /// JavaScript and TypeScript.
    Npm,
    /// Python.
    Pypi,
    /// Go.
    Go,
    /// Java, by Maven.
    Maven,
    /// Java and Kotlin, by Gradle.
    Gradle,
}

impl Ecosystem {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cargo => "cargo",
            Self::Npm => "npm",
            Self::Pypi => "pypi",
            Self::Go => "go",
            Self::Maven => "maven",
            Self::Gradle => "gradle",
        }
    }
}

/// What a dependency is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// To run.
    Normal,
    /// To develop and test.
    Development,
    /// To build.
    Build,
    /// Only with a feature.
    Optional,
    /// To be there already.
    Peer,
}

impl Kind {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Development => "development",
            Self::Build => "build",
            Self::Optional => "optional",
            Self::Peer => "peer",
        }
    }
}

/// A package that another one needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its name; `group:artifact` for Maven and Gradle.
    pub name: String,
    /// Which versions, as written; `None` is any.
    pub requirement: Option<String>,
    /// What for.
    pub kind: Kind,
    /// Whether the requirement allows one version only.
    pub is_exact: bool,
    /// Whether it is from a lock file: what is used, not what is asked for.
    pub is_locked: bool,
}

impl Dependency {
    fn asked(name: &str, requirement: Option<&str>, kind: Kind, is_exact: bool) -> Self {
        let requirement = requirement.map(str::trim).filter(|text| !text.is_empty());
        Self {
            name: name.trim().to_owned(),
            requirement: requirement.map(str::to_owned),
            kind,
            is_exact: is_exact && requirement.is_some(),
            is_locked: false,
        }
    }

    fn locked(name: &str, version: &str, kind: Kind) -> Self {
        Self {
            name: name.to_owned(),
            requirement: Some(version.to_owned()),
            kind,
            is_exact: true,
            is_locked: true,
        }
    }
}

/// What one manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Manifest {
    /// The package it describes.
    pub package: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its licence, as an SPDX expression where it is one.
    pub license: Option<String>,
    /// What it depends on.
    pub dependencies: Vec<Dependency>,
}

/// Why a manifest cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is no TOML.
    #[error("it is no TOML: {}", .0.message())]
    Toml(#[from] toml::de::Error),
    /// It is no JSON.
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is no XML.
    #[error("it is no XML: {0}")]
    Xml(#[from] quick_xml::Error),
}

type Reader = fn(&str) -> Result<Manifest, ManifestError>;

/// Which manifest a path is, by its file name.
pub fn ecosystem(path: &str) -> Option<Ecosystem> {
    reader(path).map(|(ecosystem, _)| ecosystem)
}

fn reader(path: &str) -> Option<(Ecosystem, Reader)> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let reader: (Ecosystem, Reader) = match name {
        "Cargo.toml" => (Ecosystem::Cargo, cargo::manifest),
        "Cargo.lock" => (Ecosystem::Cargo, cargo::lock),
        "package.json" => (Ecosystem::Npm, npm::manifest),
        "package-lock.json" | "npm-shrinkwrap.json" => (Ecosystem::Npm, npm::lock),
        "yarn.lock" => (Ecosystem::Npm, npm::yarn_lock),
        "pyproject.toml" => (Ecosystem::Pypi, python::pyproject),
        "setup.cfg" => (Ecosystem::Pypi, python::setup_cfg),
        "poetry.lock" | "uv.lock" => (Ecosystem::Pypi, python::lock),
        "go.mod" => (Ecosystem::Go, go::module),
        "pom.xml" => (Ecosystem::Maven, maven::pom),
        "build.gradle" | "build.gradle.kts" => (Ecosystem::Gradle, gradle::build),
        "gradle.lockfile" => (Ecosystem::Gradle, gradle::lock),
        _ if is_requirements(name) => (Ecosystem::Pypi, python::requirements),
        _ => return None,
    };
    Some(reader)
}

fn is_requirements(name: &str) -> bool {
    name.strip_suffix(".txt").is_some_and(|stem| {
        stem == "requirements"
            || stem.starts_with("requirements-")
            || stem.starts_with("requirements_")
            || stem.ends_with("-requirements")
    })
}

/// Reads a manifest; `None` if the path is none.
///
/// # Errors
///
/// [`ManifestError`] if it is not what its name says.
pub fn read(path: &str, text: &str) -> Option<Result<Manifest, ManifestError>> {
    reader(path).map(|(_, reader)| reader(text))
}

#[cfg(test)]
mod tests;
