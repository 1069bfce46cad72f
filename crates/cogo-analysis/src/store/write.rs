//! Keeps what was found in files. Ids of symbols stay as long as their definitions do, so that
//! edges of other files stay right.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension as _, params};

use crate::facts::{Definition, Facts};
use crate::scan::{Origin, Stamp};
use crate::store::StoreError;

/// A file, and what was found in it.
#[derive(Debug)]
pub struct FileRecord<'a> {
    /// From the root.
    pub path: &'a str,
    /// The name of its language.
    pub language: Option<&'static str>,
    /// Where it comes from.
    pub origin: Origin,
    /// Why it was not parsed.
    pub skipped: Option<&'a str>,
    /// The id of its content.
    pub hash: Option<[u8; 20]>,
    /// What the file system says.
    pub stamp: Stamp,
    /// Whether it holds tests.
    pub is_test: bool,
    /// What was found in it.
    pub facts: &'a Facts,
    /// The facts as they are kept, where they are not kept yet.
    pub new_blob: Option<&'a [u8]>,
}

/// Names whose definitions changed, as hashes. Files that were resolved by one of them are due.
#[derive(Debug, Default)]
pub struct Affected {
    hashes: BTreeSet<u32>,
    everything: bool,
}

/// The hash of a name in the record of what a file was resolved by.
pub fn name_hash(name: &str) -> u32 {
    crc32fast::hash(name.as_bytes())
}

/// What is asked for to find a file by its stem or folder, as a name.
pub fn stem_key(stem: &str) -> String {
    format!("/{stem}")
}

/// What is asked for to see what a file imports, as a name.
pub fn imports_key(path: &str) -> String {
    format!("^{path}")
}

/// Files whose content says where modules are.
pub fn is_manifest(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, "Cargo.toml" | "package.json" | "go.mod")
}

impl Affected {
    fn name(&mut self, name: &str) {
        self.hashes.insert(name_hash(name));
    }

    /// A file came or went.
    fn path(&mut self, path: &str) {
        let mut parts = path.rsplit('/');
        let name = parts.next().unwrap_or(path);
        let stem = name.split('.').next().unwrap_or(name);
        self.name(&stem_key(stem));
        for folder in parts {
            self.name(&stem_key(folder));
        }
        self.everything |= is_manifest(path);
    }

    /// Whether nothing changed that others could have seen.
    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty() && !self.everything
    }

    /// Marks the files that have to be resolved again.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    pub fn mark(&self, connection: &Connection) -> Result<(), StoreError> {
        if self.everything {
            connection.execute("UPDATE file SET is_resolved = 0", [])?;
            return Ok(());
        }
        if self.hashes.is_empty() {
            return Ok(());
        }
        let mut due = Vec::new();
        let mut read =
            connection.prepare_cached("SELECT id, lookups FROM file WHERE is_resolved = 1")?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            let lookups = row
                .get_ref(1)?
                .as_blob_or_null()
                .ok()
                .flatten()
                .unwrap_or_default();
            if self.meets(lookups) {
                due.push(row.get::<_, i64>(0)?);
            }
        }
        let mut mark = connection.prepare_cached("UPDATE file SET is_resolved = 0 WHERE id = ?")?;
        for id in due {
            mark.execute([id])?;
        }
        Ok(())
    }

    fn meets(&self, lookups: &[u8]) -> bool {
        lookups.chunks_exact(4).any(|bytes| {
            let hash = u32::from_le_bytes(bytes.try_into().unwrap_or_default());
            self.hashes.contains(&hash)
        })
    }
}

/// A symbol that is stored already.
struct Old {
    id: i64,
    parent_id: Option<i64>,
    what: What,
}

/// What others see of a definition.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct What {
    kind: String,
    qualified: String,
    name: String,
    owner: Option<String>,
    type_name: Option<String>,
    bases: Option<String>,
    is_exported: bool,
    is_default: bool,
}

/// Keeps a file and what was found in it, and adds to the names that are affected.
///
/// # Errors
///
/// When SQLite fails.
pub fn file_store(
    connection: &Connection,
    file: &FileRecord<'_>,
    affected: &mut Affected,
) -> Result<i64, StoreError> {
    if let (Some(blob), Some(hash), Some(language)) = (file.new_blob, file.hash, file.language) {
        connection
            .prepare_cached("INSERT OR IGNORE INTO blob (hash, language, facts) VALUES (?, ?, ?)")?
            .execute(params![hash, language, blob])?;
    }
    let (file_id, is_new) = file_row(connection, file)?;
    if is_new || is_manifest(file.path) {
        affected.path(file.path);
    }
    symbols(connection, file_id, file.facts, affected)?;
    imports(connection, file_id, file, affected)?;
    Ok(file_id)
}

fn file_row(connection: &Connection, file: &FileRecord<'_>) -> Result<(i64, bool), StoreError> {
    let old = connection
        .prepare_cached("SELECT id FROM file WHERE path = ?")?
        .query_row([file.path], |row| row.get::<_, i64>(0))
        .optional()?;
    let package = file.facts.package.map(|id| file.facts.name(id));
    let values = params![
        file.path,
        file.language,
        file.origin.name(),
        file.skipped,
        file.hash,
        file.stamp.size as i64,
        file.facts.lines,
        file.stamp.modified_ns,
        file.stamp.changed_ns,
        file.stamp.inode as i64,
        file.is_test,
        package,
    ];
    let Some(id) = old else {
        connection
            .prepare_cached(
                "INSERT INTO file (path, language, origin, skipped, hash, size, lines, modified_ns,
                     changed_ns, inode, is_test, module, is_resolved)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
            )?
            .execute(values)?;
        return Ok((connection.last_insert_rowid(), true));
    };
    connection
        .prepare_cached(
            "UPDATE file SET language = ?2, origin = ?3, skipped = ?4, hash = ?5, size = ?6,
                 lines = ?7, modified_ns = ?8, changed_ns = ?9, inode = ?10, is_test = ?11,
                 module = ?12, is_resolved = 0
             WHERE path = ?1",
        )?
        .execute(values)?;
    Ok((id, false))
}

/// Records that a file has other stamps and the same content.
///
/// # Errors
///
/// When SQLite fails.
pub fn file_restamp(connection: &Connection, path: &str, stamp: Stamp) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE file SET size = ?, modified_ns = ?, changed_ns = ?, inode = ? WHERE path = ?",
        )?
        .execute(params![
            stamp.size as i64,
            stamp.modified_ns,
            stamp.changed_ns,
            stamp.inode as i64,
            path
        ])?;
    Ok(())
}

/// Forgets a file.
///
/// # Errors
///
/// When SQLite fails.
pub fn file_remove(
    connection: &Connection,
    path: &str,
    affected: &mut Affected,
) -> Result<(), StoreError> {
    let mut names = connection.prepare_cached(
        "SELECT DISTINCT name FROM symbol WHERE file_id = (SELECT id FROM file WHERE path = ?)",
    )?;
    let mut rows = names.query([path])?;
    while let Some(row) = rows.next()? {
        affected.name(row.get_ref(0)?.as_str().unwrap_or_default());
    }
    affected.path(path);
    affected.name(&imports_key(path));
    connection
        .prepare_cached("DELETE FROM file WHERE path = ?")?
        .execute([path])?;
    Ok(())
}

fn symbols(
    connection: &Connection,
    file_id: i64,
    facts: &Facts,
    affected: &mut Affected,
) -> Result<(), StoreError> {
    let old = old_symbols(connection, file_id)?;
    let new: Vec<What> = (0..facts.definitions.len())
        .map(|index| what(facts, index))
        .collect();
    // Of several with one name, the first stays the first.
    let mut by_key: HashMap<(&str, &str), Vec<&Old>> = HashMap::new();
    for symbol in old.iter().rev() {
        let key = (symbol.what.kind.as_str(), symbol.what.qualified.as_str());
        by_key.entry(key).or_default().push(symbol);
    }
    let mut ids: Vec<i64> = Vec::with_capacity(new.len());
    let mut kept = BTreeSet::new();
    for (index, what) in new.iter().enumerate() {
        let same = by_key
            .get_mut(&(what.kind.as_str(), what.qualified.as_str()))
            .and_then(Vec::pop);
        let id = if let Some(symbol) = same {
            kept.insert(symbol.id);
            if symbol.what != *what {
                affected.name(&what.name);
            }
            symbol_update(connection, symbol.id, facts, index, what)?;
            symbol.id
        } else {
            affected.name(&what.name);
            symbol_insert(connection, file_id, facts, index, what)?
        };
        ids.push(id);
    }
    for symbol in old.iter().filter(|symbol| !kept.contains(&symbol.id)) {
        affected.name(&symbol.what.name);
        connection
            .prepare_cached("DELETE FROM symbol WHERE id = ?")?
            .execute([symbol.id])?;
    }
    parents(connection, facts, &ids, &old, affected)
}

fn old_symbols(connection: &Connection, file_id: i64) -> Result<Vec<Old>, StoreError> {
    let mut read = connection.prepare_cached(
        "SELECT id, kind, qualified, name, owner, type_name, bases, is_exported,
                signature LIKE 'export default%', parent_id
         FROM symbol WHERE file_id = ? ORDER BY position",
    )?;
    let rows = read.query_map([file_id], |row| {
        Ok(Old {
            id: row.get(0)?,
            parent_id: row.get(9)?,
            what: What {
                kind: row.get(1)?,
                qualified: row.get(2)?,
                name: row.get(3)?,
                owner: row.get(4)?,
                type_name: row.get(5)?,
                bases: row.get(6)?,
                is_exported: row.get(7)?,
                is_default: row.get(8)?,
            },
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn what(facts: &Facts, index: usize) -> What {
    let definition = &facts.definitions[index];
    let bases: Vec<&str> = definition.bases.iter().map(|id| facts.name(*id)).collect();
    What {
        kind: definition.kind.name().to_owned(),
        qualified: facts.qualified(index),
        name: facts.name(definition.name).to_owned(),
        owner: definition.owner.map(|id| facts.name(id).to_owned()),
        type_name: definition.type_name.map(|id| facts.name(id).to_owned()),
        bases: (!bases.is_empty()).then(|| bases.join(" ")),
        is_exported: definition.is_exported,
        is_default: definition.signature.starts_with("export default"),
    }
}

fn symbol_insert(
    connection: &Connection,
    file_id: i64,
    facts: &Facts,
    index: usize,
    what: &What,
) -> Result<i64, StoreError> {
    let found: &Definition = &facts.definitions[index];
    connection
        .prepare_cached(
            "INSERT INTO symbol (file_id, position, owner, name, qualified, kind, line, column,
                 end_line, start_byte, end_byte, signature, doc, bases, type_name, is_exported,
                 is_test)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            file_id,
            index as i64,
            what.owner,
            what.name,
            what.qualified,
            what.kind,
            found.line,
            found.column,
            found.end_line,
            found.start_byte,
            found.end_byte,
            found.signature,
            found.doc,
            what.bases,
            what.type_name,
            found.is_exported,
            found.is_test,
        ])?;
    Ok(connection.last_insert_rowid())
}

fn symbol_update(
    connection: &Connection,
    id: i64,
    facts: &Facts,
    index: usize,
    what: &What,
) -> Result<(), StoreError> {
    let found: &Definition = &facts.definitions[index];
    connection
        .prepare_cached(
            "UPDATE symbol SET position = ?2, owner = ?3, line = ?4, column = ?5, end_line = ?6,
                 start_byte = ?7, end_byte = ?8, signature = ?9, doc = ?10, bases = ?11,
                 type_name = ?12, is_exported = ?13, is_test = ?14
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            index as i64,
            what.owner,
            found.line,
            found.column,
            found.end_line,
            found.start_byte,
            found.end_byte,
            found.signature,
            found.doc,
            what.bases,
            what.type_name,
            found.is_exported,
            found.is_test,
        ])?;
    Ok(())
}

/// Says in which symbol each is. The type of an `impl` in the same file is around its methods.
fn parents(
    connection: &Connection,
    facts: &Facts,
    ids: &[i64],
    old: &[Old],
    affected: &mut Affected,
) -> Result<(), StoreError> {
    let mut types: HashMap<u32, usize> = HashMap::new();
    for (index, definition) in facts.definitions.iter().enumerate() {
        if definition.kind.is_type() {
            types.entry(definition.name).or_insert(index);
        }
    }
    let before: HashMap<i64, Option<i64>> = old
        .iter()
        .map(|symbol| (symbol.id, symbol.parent_id))
        .collect();
    for (index, definition) in facts.definitions.iter().enumerate() {
        let of_owner = definition
            .owner
            .and_then(|owner| types.get(&owner).copied());
        let parent = of_owner.or(definition.parent.map(|parent| parent as usize));
        let parent_id = parent.map(|parent| ids[parent]);
        let known = before.get(&ids[index]).copied();
        if known.unwrap_or(None) == parent_id {
            continue;
        }
        if known.is_some() {
            affected.name(facts.name(definition.name));
        }
        connection
            .prepare_cached("UPDATE symbol SET parent_id = ? WHERE id = ?")?
            .execute(params![parent_id, ids[index]])?;
    }
    Ok(())
}

type ImportRow = (String, Option<String>, Option<String>, bool);

fn imports(
    connection: &Connection,
    file_id: i64,
    file: &FileRecord<'_>,
    affected: &mut Affected,
) -> Result<(), StoreError> {
    let facts = file.facts;
    let mut read = connection.prepare_cached(
        "SELECT module, name, alias, is_wildcard FROM import WHERE file_id = ? ORDER BY rowid",
    )?;
    let rows = read.query_map([file_id], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    let old: Vec<ImportRow> = rows.collect::<Result<_, _>>()?;
    let text = |id: Option<u32>| id.map(|id| facts.name(id).to_owned());
    let new: Vec<ImportRow> = facts
        .imports
        .iter()
        .map(|import| {
            let module = facts.name(import.module).to_owned();
            (
                module,
                text(import.name),
                text(import.alias),
                import.is_wildcard,
            )
        })
        .collect();
    if old != new {
        affected.name(&imports_key(file.path));
    }
    connection
        .prepare_cached("DELETE FROM import WHERE file_id = ?")?
        .execute([file_id])?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO import (file_id, module, name, alias, is_wildcard, line)
         VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for ((module, name, alias, is_wildcard), import) in new.iter().zip(&facts.imports) {
        insert.execute(params![
            file_id,
            module,
            name,
            alias,
            is_wildcard,
            import.line
        ])?;
    }
    Ok(())
}
