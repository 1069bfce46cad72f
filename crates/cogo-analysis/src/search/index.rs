//! The stored index: chunks, their words and their vectors, in a SQLite file of its own.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::vectors::pack;
use super::words::{query_words, words};
use super::{
    Chunk, Embedder, Mode, OnProgress, Progress, SearchError, Span, Stage, VectorTable, chunks,
    fuse,
};

const TABLES: &str = include_str!("index.sql");
/// Counted up when the tables or the cutting of chunks change.
const VERSION: i32 = 1;
/// Files that are stored in one transaction.
const FILES_A_TRANSACTION: usize = 256;
/// Chunks that are embedded and stored at once. A killed process loses at most these.
const EMBEDDED_AT_ONCE: usize = 32;
/// How many candidates each order gives to the fusion.
const CANDIDATES: usize = 100;
/// What a word in a symbol's name, in the path and in the text counts.
const WEIGHTS: &str = "4.0, 1.5, 1.0";

/// A file as the index wants it.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// From the root, with `/`.
    pub path: String,
    /// Changes when the content or its symbols do: a file with a known stamp is not read.
    pub stamp: Vec<u8>,
    /// Its symbols.
    pub spans: Vec<Span>,
}

/// What an update did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Updated {
    /// Files that were read.
    pub files: usize,
    /// Files that are gone.
    pub removed: usize,
    /// Whether it was ended before its end. What is done stays, the next update goes on.
    pub is_cancelled: bool,
}

/// How much of the index has vectors of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Chunks there are.
    pub chunks: usize,
    /// Chunks with a vector.
    pub embedded: usize,
}

/// A chunk that answers a query.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hit {
    /// The file, from the root.
    pub path: String,
    /// First line, from 1.
    pub line: usize,
    /// Last line.
    pub end_line: usize,
    /// The symbol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// What the symbol is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The higher the better; comparable within one answer only.
    pub score: f64,
    /// The text.
    pub text: String,
}

/// The index of one repository.
#[derive(Debug)]
pub struct Index {
    connection: Connection,
    // Vectors of the model that was asked for last, kept for the next question.
    loaded: Option<(String, VectorTable)>,
}

impl Index {
    /// Opens the index in a directory. One of another version, or a damaged one, is made anew.
    ///
    /// # Errors
    ///
    /// [`SearchError::Directory`] and [`SearchError::Sqlite`].
    pub fn open(directory: &Path) -> Result<Self, SearchError> {
        std::fs::create_dir_all(directory).map_err(|source| SearchError::Directory {
            path: directory.to_owned(),
            source,
        })?;
        let file = directory.join("search.db");
        let connection = match connect(&file) {
            Ok(connection) => connection,
            Err(rusqlite::Error::SqliteFailure(error, _))
                if error.code == rusqlite::ErrorCode::NotADatabase
                    || error.code == rusqlite::ErrorCode::DatabaseCorrupt =>
            {
                for ending in ["", "-wal", "-shm"] {
                    // What is left makes the next line fail, which is told.
                    let _ = std::fs::remove_file(directory.join(format!("search.db{ending}")));
                }
                connect(&file)?
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            connection,
            loaded: None,
        })
    }

    /// Makes the index hold these files and no others. `read` gives the text of a path, or `None`
    /// if there is none to index.
    ///
    /// # Errors
    ///
    /// [`SearchError::Sqlite`]; what was stored before stays.
    pub fn update(
        &mut self,
        files: &[SourceFile],
        read: &dyn Fn(&str) -> Option<String>,
        on_progress: OnProgress,
    ) -> Result<Updated, SearchError> {
        let known = self.stamps()?;
        let wanted: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        let gone: Vec<&String> = known
            .keys()
            .filter(|path| !wanted.contains(path.as_str()))
            .collect();
        let changed: Vec<&SourceFile> = files
            .iter()
            .filter(|file| known.get(&file.path) != Some(&file.stamp))
            .collect();
        let mut updated = Updated::default();
        if gone.is_empty() && changed.is_empty() {
            return Ok(updated);
        }
        self.loaded = None;
        let transaction = self.connection.transaction()?;
        for path in &gone {
            remove(&transaction, path)?;
        }
        transaction.commit()?;
        updated.removed = gone.len();
        for batch in changed.chunks(FILES_A_TRANSACTION) {
            let progress = Progress {
                stage: Stage::Indexing,
                done: updated.files,
                total: changed.len(),
            };
            if on_progress(progress).is_break() {
                updated.is_cancelled = true;
                return Ok(updated);
            }
            let transaction = self.connection.transaction()?;
            for file in batch {
                remove(&transaction, &file.path)?;
                insert(
                    &transaction,
                    file,
                    read(&file.path).as_deref().unwrap_or_default(),
                )?;
            }
            transaction.commit()?;
            updated.files += batch.len();
        }
        Ok(updated)
    }

    /// Embeds what this model has not embedded yet, short texts first, and stores vectors as they
    /// come: a later call goes on where an ended one stopped.
    ///
    /// # Errors
    ///
    /// What the model says, and [`SearchError::Sqlite`].
    pub fn embed(
        &mut self,
        embedder: &dyn Embedder,
        on_progress: OnProgress,
    ) -> Result<ControlFlow<()>, SearchError> {
        let model = self.model_id(embedder.name())?;
        let missing = self.missing(model)?;
        for (at, batch) in missing.chunks(EMBEDDED_AT_ONCE).enumerate() {
            let progress = Progress {
                stage: Stage::Embedding,
                done: at * EMBEDDED_AT_ONCE,
                total: missing.len(),
            };
            if on_progress(progress).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let texts = self.embedded_texts(batch)?;
            let vectors = embedder.embed(&texts)?;
            let transaction = self.connection.transaction()?;
            for ((_, hash), vector) in batch.iter().zip(vectors) {
                transaction
                    .prepare_cached("INSERT OR IGNORE INTO vector VALUES (?1, ?2, ?3)")?
                    .execute(params![model, hash, pack(&vector)])?;
            }
            transaction.commit()?;
            self.loaded = None;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// How much of the index has vectors of this model.
    ///
    /// # Errors
    ///
    /// [`SearchError::Sqlite`].
    pub fn coverage(&self, model: &str) -> Result<Coverage, SearchError> {
        let sql = "SELECT count(*), count(vector.hash) FROM chunk
                   LEFT JOIN vector ON vector.hash = chunk.hash
                       AND vector.model_id = (SELECT id FROM model WHERE name = ?1)";
        let counts = self.connection.query_row(sql, [model], |row| {
            Ok(Coverage {
                chunks: row.get(0)?,
                embedded: row.get(1)?,
            })
        })?;
        Ok(counts)
    }

    /// Answers a question, best hit first, at most one hit a symbol. Without an embedder a hybrid
    /// question is answered by words alone, and a semantic one not at all.
    ///
    /// # Errors
    ///
    /// [`SearchError::EmptyQuery`], what the model says, and [`SearchError::Sqlite`].
    pub fn search(
        &mut self,
        query: &str,
        mode: Mode,
        embedder: Option<&dyn Embedder>,
        limit: usize,
    ) -> Result<Vec<Hit>, SearchError> {
        let candidates = CANDIDATES.max(limit.saturating_mul(4));
        let lexical = match mode {
            Mode::Semantic => Vec::new(),
            Mode::Lexical | Mode::Hybrid => self.by_words(query, candidates)?,
        };
        let semantic = match (mode, embedder) {
            (Mode::Lexical, _) | (_, None) => Vec::new(),
            (Mode::Semantic | Mode::Hybrid, Some(embedder)) => {
                self.by_meaning(query, embedder, candidates)?
            }
        };
        let fused = fuse(&[(&lexical, 1.0), (&semantic, 1.0)]);
        self.hits(fused, limit)
    }

    fn by_words(&self, query: &str, limit: usize) -> Result<Vec<i64>, SearchError> {
        let words = query_words(query);
        if words.is_empty() {
            return Err(SearchError::EmptyQuery(query.to_owned()));
        }
        // Quoted, so that a word such as `NOT` is a word and not an operator.
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let sql = format!(
            "SELECT rowid FROM word WHERE word MATCH ?1 ORDER BY bm25(word, {WEIGHTS}) LIMIT ?2"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(params![quoted.join(" OR "), limit], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn by_meaning(
        &mut self,
        query: &str,
        embedder: &dyn Embedder,
        limit: usize,
    ) -> Result<Vec<i64>, SearchError> {
        if self
            .loaded
            .as_ref()
            .is_none_or(|(name, _)| name != embedder.name())
        {
            let table = self.load(embedder)?;
            self.loaded = Some((embedder.name().to_owned(), table));
        }
        let vector = embedder.embed(&[super::embeddable(query)])?;
        let (Some(vector), Some((_, table))) = (vector.first(), &self.loaded) else {
            return Ok(Vec::new());
        };
        Ok(table
            .nearest(vector, limit)
            .iter()
            .map(|hit| hit.id)
            .collect())
    }

    fn load(&self, embedder: &dyn Embedder) -> Result<VectorTable, SearchError> {
        let mut table = VectorTable::new(embedder.dimensions());
        let sql = "SELECT chunk.id, value FROM chunk JOIN vector ON vector.hash = chunk.hash
                   WHERE model_id = (SELECT id FROM model WHERE name = ?1)";
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([embedder.name()])?;
        while let Some(row) = rows.next()? {
            let packed = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            table.push_packed(row.get(0)?, packed);
        }
        Ok(table)
    }

    fn hits(&self, fused: Vec<(i64, f64)>, limit: usize) -> Result<Vec<Hit>, SearchError> {
        let mut seen = HashSet::new();
        let mut hits = Vec::new();
        for (id, score) in fused {
            if hits.len() == limit {
                break;
            }
            let hit = self.hit(id, score)?;
            let is_new = hit
                .symbol
                .as_ref()
                .is_none_or(|symbol| seen.insert((hit.path.clone(), symbol.clone())));
            if is_new {
                hits.push(hit);
            }
        }
        Ok(hits)
    }

    fn hit(&self, id: i64, score: f64) -> Result<Hit, SearchError> {
        let sql = "SELECT path, line, end_line, symbol, kind, text FROM chunk
                   JOIN document ON document.id = document_id WHERE chunk.id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let hit = statement.query_row([id], |row| {
            Ok(Hit {
                path: row.get(0)?,
                line: row.get(1)?,
                end_line: row.get(2)?,
                symbol: row.get(3)?,
                kind: row.get(4)?,
                score,
                text: row.get(5)?,
            })
        })?;
        Ok(hit)
    }

    fn stamps(&self) -> Result<HashMap<String, Vec<u8>>, SearchError> {
        let mut statement = self
            .connection
            .prepare("SELECT path, stamp FROM document")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn model_id(&self, name: &str) -> Result<i64, SearchError> {
        self.connection
            .execute("INSERT OR IGNORE INTO model (name) VALUES (?1)", [name])?;
        let sql = "SELECT id FROM model WHERE name = ?1";
        Ok(self.connection.query_row(sql, [name], |row| row.get(0))?)
    }

    /// A chunk of each text without a vector. Texts of one length together waste the least padding.
    fn missing(&self, model: i64) -> Result<Vec<(i64, Vec<u8>)>, SearchError> {
        let sql = "SELECT min(id), hash FROM chunk
                   WHERE hash NOT IN (SELECT hash FROM vector WHERE model_id = ?1)
                   GROUP BY hash ORDER BY length(text)";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([model], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn embedded_texts(&self, batch: &[(i64, Vec<u8>)]) -> Result<Vec<String>, SearchError> {
        let texts = batch.iter().map(|(id, _)| {
            let hit = self.hit(*id, 0.0)?;
            let chunk = Chunk {
                symbol: hit.symbol,
                kind: hit.kind,
                line: hit.line,
                end_line: hit.end_line,
                text: hit.text,
            };
            Ok(chunk.embedded_text(&hit.path))
        });
        texts.collect()
    }
}

fn connect(file: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_secs(30))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = NORMAL;
         PRAGMA foreign_keys = ON;",
    )?;
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != VERSION {
        // Vectors stay: they are keyed by their text, whatever the chunks become.
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE;
             DROP TABLE IF EXISTS word; DROP TABLE IF EXISTS chunk; DROP TABLE IF EXISTS document;
             {TABLES} PRAGMA user_version = {VERSION}; COMMIT;"
        ))?;
    }
    Ok(connection)
}

fn remove(transaction: &Transaction, path: &str) -> Result<(), rusqlite::Error> {
    let sql = "SELECT id FROM document WHERE path = ?1";
    let mut find = transaction.prepare_cached(sql)?;
    let Some(id) = find
        .query_row([path], |row| row.get::<_, i64>(0))
        .optional()?
    else {
        return Ok(());
    };
    transaction
        .prepare_cached(
            "DELETE FROM word WHERE rowid IN (SELECT id FROM chunk WHERE document_id = ?1)",
        )?
        .execute([id])?;
    transaction
        .prepare_cached("DELETE FROM chunk WHERE document_id = ?1")?
        .execute([id])?;
    transaction
        .prepare_cached("DELETE FROM document WHERE id = ?1")?
        .execute([id])?;
    Ok(())
}

fn insert(transaction: &Transaction, file: &SourceFile, text: &str) -> Result<(), rusqlite::Error> {
    transaction
        .prepare_cached("INSERT INTO document (path, stamp) VALUES (?1, ?2)")?
        .execute(params![file.path, file.stamp])?;
    let document = transaction.last_insert_rowid();
    let path_words = words(&file.path).join(" ");
    for chunk in chunks(text, &file.spans) {
        let sql = "INSERT INTO chunk (document_id, symbol, kind, line, end_line, hash, text)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        transaction.prepare_cached(sql)?.execute(params![
            document,
            chunk.symbol,
            chunk.kind,
            chunk.line,
            chunk.end_line,
            chunk.hash(&file.path),
            chunk.text
        ])?;
        let symbol_words = words(chunk.symbol.as_deref().unwrap_or_default()).join(" ");
        transaction
            .prepare_cached("INSERT INTO word (rowid, symbol, path, text) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                transaction.last_insert_rowid(),
                symbol_words,
                path_words,
                words(&chunk.text).join(" ")
            ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
