//! Manifests in the store.

use std::path::Path;

use rusqlite::{Connection, Transaction, params};

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
