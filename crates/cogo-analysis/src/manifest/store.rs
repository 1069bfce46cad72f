//! Manifests in the store.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::Serialize;

use super::{BYTES_MAX, Manifest, ecosystem, identify, is_license_file, read};

/// What was stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Manifests that were read.
    pub manifests: usize,
    /// Manifests that are not what their name says.
    pub damaged: usize,
    /// Dependencies in all of them.
    pub dependencies: usize,
}

/// Under which the state of all manifests is kept.
const STATE_KEY: &str = "manifests";

/// Stores what manifests and licence files say, if one of them is not what it was when they were
/// read last. `files` are all files of the repository, each with what changes when it does.
///
/// # Errors
///
/// What SQLite says; what was known before stays.
pub fn refresh<'a, S: Hash>(
    connection: &mut Connection,
    root: &Path,
    files: impl Iterator<Item = (&'a str, S)>,
) -> Result<Option<Stored>, rusqlite::Error> {
    let mut files: Vec<(&str, S)> = files
        .filter(|(path, _)| is_license_file(path) || ecosystem(path).is_some())
        .collect();
    files.sort_unstable_by_key(|(path, _)| *path);
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    let state = format!("{:016x}", hasher.finish());
    let known: Option<String> = connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([STATE_KEY], |row| row.get(0))
        .optional()?;
    if known.as_ref() == Some(&state) {
        return Ok(None);
    }
    let stored = store(connection, root, files.iter().map(|(path, _)| *path))?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?
        .execute([STATE_KEY, &state])?;
    Ok(Some(stored))
}

/// Reads the manifests and licence files among `paths`, from `root`, and stores them in place of
/// what was known before.
///
/// # Errors
///
/// What SQLite says; what was known before stays.
pub fn store<'a>(
    connection: &mut Connection,
    root: &Path,
    paths: impl Iterator<Item = &'a str>,
) -> Result<Stored, rusqlite::Error> {
    let transaction = connection.transaction()?;
    transaction
        .execute_batch("DELETE FROM dependency; DELETE FROM manifest; DELETE FROM license_file;")?;
    let mut stored = Stored::default();
    for path in paths {
        if is_license_file(path) {
            let text = text(root, path);
            transaction
                .prepare_cached("INSERT OR REPLACE INTO license_file VALUES (?1, ?2)")?
                .execute(params![path, text.as_deref().and_then(identify)])?;
        }
        if ecosystem(path).is_some() {
            add(&transaction, root, path, &mut stored)?;
        }
    }
    transaction.commit()?;
    Ok(stored)
}

fn add(
    transaction: &Transaction,
    root: &Path,
    path: &str,
    stored: &mut Stored,
) -> Result<(), rusqlite::Error> {
    let Some(ecosystem) = ecosystem(path) else {
        return Ok(());
    };
    let result = match text(root, path) {
        Some(text) => read(path, &text).map(|read| read.map_err(|error| error.to_string())),
        None => Some(Err("it is too large, or no text".to_owned())),
    };
    let (manifest, problem) = match result {
        Some(Ok(manifest)) => (manifest, None),
        Some(Err(problem)) => (Manifest::default(), Some(problem)),
        None => return Ok(()),
    };
    match problem {
        None => stored.manifests += 1,
        Some(_) => stored.damaged += 1,
    }
    transaction
        .prepare_cached("INSERT OR REPLACE INTO manifest VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            path,
            ecosystem.name(),
            manifest.package,
            manifest.version,
            manifest.license,
            problem
        ])?;
    let mut insert =
        transaction.prepare_cached("INSERT INTO dependency VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for dependency in &manifest.dependencies {
        insert.execute(params![
            path,
            dependency.name,
            dependency.requirement,
            dependency.kind.name(),
            dependency.is_exact,
            dependency.is_locked
        ])?;
    }
    stored.dependencies += manifest.dependencies.len();
    Ok(())
}

fn text(root: &Path, path: &str) -> Option<String> {
    let file = root.join(path);
    let metadata = std::fs::symlink_metadata(&file).ok()?;
    if !metadata.is_file() || metadata.len() > BYTES_MAX {
        return None;
    }
    std::fs::read_to_string(file).ok()
}

/// A package that is depended on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DependencyUse {
    /// Its name.
    pub name: String,
    /// What is asked for, as it is written there; `None` for any version.
    pub requirement: Option<String>,
    /// What for: `normal`, `development`, `build`, `optional` or `peer`.
    pub kind: String,
    /// Whose package it is: `cargo`, `npm`, …
    pub ecosystem: String,
    /// The manifest that says so.
    pub manifest: String,
    /// Whether that is a lock file, which says what is used and not what is asked for.
    pub is_locked: bool,
}

/// What the manifests depend on, of that name or all, with what lock files say or without.
///
/// # Errors
///
/// What SQLite says.
pub fn dependencies(
    connection: &Connection,
    name: Option<&str>,
    is_locked: bool,
) -> Result<Vec<DependencyUse>, rusqlite::Error> {
    let sql = "SELECT name, requirement, kind, ecosystem, manifest, is_locked
               FROM dependency JOIN manifest ON manifest.path = dependency.manifest
               WHERE (?1 IS NULL OR name = ?1) AND is_locked <= ?2
               ORDER BY name, manifest, kind";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![name, is_locked], |row| {
        Ok(DependencyUse {
            name: row.get(0)?,
            requirement: row.get(1)?,
            kind: row.get(2)?,
            ecosystem: row.get(3)?,
            manifest: row.get(4)?,
            is_locked: row.get(5)?,
        })
    })?;
    rows.collect()
}
