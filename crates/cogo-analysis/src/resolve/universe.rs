//! All definitions of a repository, by name, and its files.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use rusqlite::{Connection, Row};

use crate::facts::Kind;
use crate::language::Language;
use crate::store::StoreError;
use crate::store::write::{imports_key, name_hash, stem_key};

/// A definition, as far as others see it.
#[derive(Debug)]
pub struct Symbol {
    /// Its id in the store.
    pub id: i64,
    /// Where it is.
    pub file_id: i64,
    /// The symbol around it.
    pub parent_id: Option<i64>,
    /// The type it is a member of, where that is elsewhere.
    pub owner: Option<Box<str>>,
    /// Its name.
    pub name: Box<str>,
    /// What it is.
    pub kind: Kind,
    /// What it returns or is.
    pub type_name: Option<Box<str>>,
    /// What it extends.
    pub bases: Vec<Box<str>>,
    /// Whether others can use it.
    pub is_exported: bool,
    /// Whether it is what a module exports without a name.
    pub is_default: bool,
}

/// A file of the repository.
#[derive(Debug)]
pub struct File {
    /// Its id in the store.
    pub id: i64,
    /// From the root.
    pub path: Box<str>,
    /// Its language.
    pub language: Option<Language>,
    /// The package it says to be in.
    pub package: Option<Box<str>>,
}

impl File {
    /// The folder it is in, without a `/` at its end.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Its name up to the first dot.
    pub fn stem(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        name.split('.').next().unwrap_or(name)
    }
}

/// An import that others may look through.
#[derive(Debug)]
pub struct ReExport {
    /// The module as written.
    pub module: Box<str>,
    /// What of it.
    pub name: Option<Box<str>>,
    /// What it is called there.
    pub alias: Option<Box<str>>,
    /// All of it.
    pub is_wildcard: bool,
}

/// What was asked while a file was resolved.
#[derive(Debug, Default)]
pub struct Asked {
    hashes: RefCell<BTreeSet<u32>>,
    missing: RefCell<HashSet<String>>,
}

impl Asked {
    fn note(&self, name: &str) {
        self.hashes.borrow_mut().insert(name_hash(name));
    }

    /// The names as they are kept: sorted hashes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let hashes = self.hashes.borrow();
        hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect()
    }

    /// Names whose definitions were not loaded yet.
    pub fn take_missing(&self) -> HashSet<String> {
        self.missing.take()
    }
}

/// A package of a workspace: its name, and the folder of its manifest.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) folder: String,
    pub(crate) manifest: &'static str,
}

/// All that names can mean.
#[derive(Debug, Default)]
pub struct Universe {
    files: HashMap<i64, File>,
    by_path: HashMap<Box<str>, i64>,
    by_stem: HashMap<Box<str>, Vec<i64>>,
    by_folder: HashMap<Box<str>, Vec<i64>>,
    by_package: HashMap<Box<str>, Vec<i64>>,
    imports: HashMap<i64, Vec<ReExport>>,
    symbols: HashMap<Box<str>, Vec<Symbol>>,
    /// The names of symbols that may be around others.
    names: HashMap<i64, Box<str>>,
    is_complete: bool,
    pub(crate) packages: Vec<Package>,
}

const SYMBOL: &str = "SELECT id, file_id, parent_id, owner, name, kind, type_name, bases, \
    is_exported, signature LIKE 'export default%' FROM symbol";

impl Universe {
    /// Loads the files, and no definitions yet.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    pub fn load(connection: &Connection, root: &Path) -> Result<Self, StoreError> {
        let mut universe = Self::default();
        let mut read = connection
            .prepare_cached("SELECT id, path, language, module FROM file ORDER BY path")?;
        let rows = read.query_map([], |row| {
            let language: Option<String> = row.get(2)?;
            Ok(File {
                id: row.get(0)?,
                path: row.get(1)?,
                language: language.as_deref().and_then(Language::from_name),
                package: row.get(3)?,
            })
        })?;
        for file in rows {
            universe.add(file?, root);
        }
        let mut read = connection.prepare_cached(
            "SELECT file_id, module, name, alias, is_wildcard FROM import ORDER BY rowid",
        )?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            universe
                .imports
                .entry(row.get(0)?)
                .or_default()
                .push(ReExport {
                    module: row.get(1)?,
                    name: row.get(2)?,
                    alias: row.get(3)?,
                    is_wildcard: row.get(4)?,
                });
        }
        Ok(universe)
    }

    fn add(&mut self, file: File, root: &Path) {
        if let Some(package) = package_of(&file, root) {
            self.packages.push(package);
        }
        if file.language.is_some_and(Language::is_code) {
            self.by_path.insert(file.path.clone(), file.id);
            self.by_stem
                .entry(file.stem().into())
                .or_default()
                .push(file.id);
            self.by_folder
                .entry(file.folder().into())
                .or_default()
                .push(file.id);
            if let Some(package) = &file.package {
                self.by_package
                    .entry(package.clone())
                    .or_default()
                    .push(file.id);
            }
        }
        self.files.insert(file.id, file);
    }

    /// Loads all definitions.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    pub fn load_all(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.symbols.clear();
        let mut read = connection.prepare(&format!("{SYMBOL} ORDER BY id"))?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            let symbol = symbol(row)?;
            if symbol.kind.is_type() {
                self.names.insert(symbol.id, symbol.name.clone());
            }
            match self.symbols.get_mut(&symbol.name) {
                Some(same) => same.push(symbol),
                None => {
                    self.symbols.insert(symbol.name.clone(), vec![symbol]);
                }
            }
        }
        self.is_complete = true;
        Ok(())
    }

    /// Loads the definitions of these names.
    ///
    /// # Errors
    ///
    /// When SQLite fails.
    pub fn load_names(
        &mut self,
        connection: &Connection,
        names: HashSet<String>,
    ) -> Result<(), StoreError> {
        let mut read =
            connection.prepare_cached(&format!("{SYMBOL} WHERE name = ? ORDER BY id"))?;
        let mut parents = connection
            .prepare_cached("SELECT p.id, p.name FROM symbol s JOIN symbol p ON p.id = s.parent_id WHERE s.name = ?")?;
        for name in names {
            let rows = parents.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?;
            for row in rows {
                let (id, parent) = row?;
                self.names.insert(id, parent);
            }
            let rows = read.query_map([&name], symbol)?;
            let found = rows.collect::<Result<_, _>>()?;
            self.symbols.insert(name.into(), found);
        }
        Ok(())
    }

    /// The file with this id.
    pub fn file(&self, id: i64) -> Option<&File> {
        self.files.get(&id)
    }

    /// All definitions of a name.
    pub(crate) fn named(&self, asked: &Asked, name: &str) -> &[Symbol] {
        asked.note(name);
        if let Some(found) = self.symbols.get(name) {
            found
        } else {
            if !self.is_complete {
                asked.missing.borrow_mut().insert(name.to_owned());
            }
            &[]
        }
    }

    /// A type that is around a definition whose name was asked for.
    pub(crate) fn by_id(&self, asked: &Asked, id: i64) -> Option<&Symbol> {
        let name = self.names.get(&id)?;
        self.named(asked, name)
            .iter()
            .find(|symbol| symbol.id == id)
    }

    /// The file at a path.
    pub(crate) fn at(&self, asked: &Asked, path: &str) -> Option<i64> {
        let name = path.rsplit('/').next().unwrap_or(path);
        asked.note(&stem_key(name.split('.').next().unwrap_or(name)));
        self.by_path.get(path).copied()
    }

    /// The files with a stem.
    pub(crate) fn with_stem(&self, asked: &Asked, stem: &str) -> &[i64] {
        asked.note(&stem_key(stem));
        self.by_stem.get(stem).map_or(&[], Vec::as_slice)
    }

    /// The files in a folder.
    pub(crate) fn in_folder(&self, asked: &Asked, folder: &str) -> &[i64] {
        asked.note(&stem_key(folder.rsplit('/').next().unwrap_or(folder)));
        self.by_folder.get(folder).map_or(&[], Vec::as_slice)
    }

    /// The folders that files of code are in.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.by_folder.keys().map(|folder| &**folder)
    }

    /// The files that say to be in a package.
    pub(crate) fn in_package(&self, asked: &Asked, package: &str) -> &[i64] {
        let last = package.rsplit(['.', '\\']).next().unwrap_or(package);
        asked.note(&stem_key(last));
        self.by_package.get(package).map_or(&[], Vec::as_slice)
    }

    /// What a file takes from others.
    pub(crate) fn imports_of(&self, asked: &Asked, file: &File) -> &[ReExport] {
        asked.note(&imports_key(&file.path));
        self.imports.get(&file.id).map_or(&[], Vec::as_slice)
    }
}

fn symbol(row: &Row<'_>) -> Result<Symbol, rusqlite::Error> {
    let kind = row.get_ref(5)?.as_str()?;
    let bases = row.get_ref(7)?.as_str_or_null()?.unwrap_or_default();
    Ok(Symbol {
        id: row.get(0)?,
        file_id: row.get(1)?,
        parent_id: row.get(2)?,
        owner: row.get(3)?,
        name: row.get(4)?,
        kind: Kind::from_name(kind).unwrap_or(Kind::Variable),
        type_name: row.get(6)?,
        bases: bases
            .split(' ')
            .filter(|base| !base.is_empty())
            .map(Box::from)
            .collect(),
        is_exported: row.get(8)?,
        is_default: row.get(9)?,
    })
}

/// The package that a manifest names.
fn package_of(file: &File, root: &Path) -> Option<Package> {
    const SIZE_MAX: u64 = 1 << 20;
    let name = file.path.rsplit('/').next()?;
    let manifest = ["Cargo.toml", "package.json", "go.mod"]
        .into_iter()
        .find(|manifest| *manifest == name)?;
    let location = root.join(&*file.path);
    if std::fs::metadata(&location).ok()?.len() > SIZE_MAX {
        return None;
    }
    let text = std::fs::read_to_string(location).ok()?;
    let name = match manifest {
        "Cargo.toml" => crate_name(&text)?,
        "package.json" => {
            let json: serde_json::Value = serde_json::from_str(&text).ok()?;
            json["name"].as_str()?.to_owned()
        }
        _ => text
            .lines()
            .find_map(|line| line.trim().strip_prefix("module "))?
            .trim()
            .to_owned(),
    };
    Some(Package {
        name,
        folder: file.folder().to_owned(),
        manifest,
    })
}

/// The name of a crate as code writes it.
fn crate_name(manifest: &str) -> Option<String> {
    let mut in_package = false;
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            in_package = line == "[package]";
        } else if in_package
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "name"
        {
            let name = value.trim().trim_matches('"');
            return Some(name.replace('-', "_"));
        }
    }
    None
}
