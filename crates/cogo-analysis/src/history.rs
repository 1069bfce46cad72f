//! What the commits of a repository tell about its files: how often they change, with which others,
//! and by whom.
//!
//! Commits are read newest first up to a bound, merges are passed over, and an update reads only
//! what is new since the last one. A history that was rewritten is read anew. A renamed file begins
//! a new history.

use std::ops::ControlFlow;
use std::path::Path;

use gix::ObjectId;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde::Serialize;

use crate::repository::CloneError;

/// Where the last commit that was read is kept.
const HEAD_KEY: &str = "history_head";
/// How often progress is told.
const TOLD_EVERY: usize = 64;

/// Bounds of what is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Commits that are read at most in one update.
    pub commits_max: usize,
    /// A commit with more files says nothing about which belong together.
    pub pair_files_max: usize,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        Self {
            commits_max: 5000,
            pair_files_max: 30,
        }
    }
}

/// What an update read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryUpdate {
    /// Commits that were read.
    pub commits: usize,
    /// Whether everything before was forgotten, because the history was rewritten or is new.
    pub is_anew: bool,
}

/// Why the history was not read. What was known before stays.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// A commit or tree cannot be read.
    #[error("failed to read the history")]
    Read(#[source] gix::Error),
    /// SQLite failed.
    #[error("failed to store the history")]
    Sqlite(#[from] rusqlite::Error),
    /// The repository is damaged.
    #[error(transparent)]
    Repository(#[from] CloneError),
    /// The caller ended it.
    #[error("reading the history was cancelled")]
    Cancelled,
}

impl From<gix::Error> for HistoryError {
    fn from(error: gix::Error) -> Self {
        Self::Read(error)
    }
}

/// How a file changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileHistory {
    /// The file.
    pub path: String,
    /// Commits that changed it.
    pub commits: usize,
    /// When the first of them was made, in seconds since 1970.
    pub first_at: i64,
    /// When the last.
    pub last_at: i64,
    /// By whom the last.
    pub last_author: String,
}

/// A file that changes together with another.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoChange {
    /// The other file.
    pub path: String,
    /// Commits that changed both.
    pub commits: usize,
    /// Of the commits that changed the first file, the share that changed this one too.
    pub share: f64,
}

/// Somebody who changed a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Author {
    /// The name in the commits.
    pub name: String,
    /// Commits of theirs that changed it.
    pub commits: usize,
    /// The last one, in seconds since 1970.
    pub last_at: i64,
}

/// A file that is large and changes often: where mistakes are likely.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HotSpot {
    /// The file.
    pub path: String,
    /// Commits that changed it.
    pub commits: usize,
    /// Its lines.
    pub lines: usize,
}

/// Reads what is new in the history of the repository whose git directory, or whose work tree, is
/// at `path`, from `commit` or else from what is checked out. `None` if there is no repository, or
/// none with commits.
///
/// # Errors
///
/// Every variant of [`HistoryError`], and [`HistoryError::Repository`] for one that is damaged.
pub fn update_at(
    path: &Path,
    commit: Option<&str>,
    connection: &mut Connection,
    options: HistoryOptions,
    on_commit: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<Option<HistoryUpdate>, HistoryError> {
    let is_git_dir = path.join("objects").is_dir();
    if !is_git_dir && !path.join(".git").exists() {
        return Ok(None);
    }
    let repository = crate::repository::open(path)?;
    let head = match commit {
        Some(commit) => ObjectId::from_hex(commit.as_bytes()).ok(),
        // Nothing is checked out before the first commit.
        None => repository.head_id().ok().map(gix::Id::detach),
    };
    let Some(head) = head else {
        return Ok(None);
    };
    update(&repository, head, connection, options, on_commit).map(Some)
}

/// Reads the commits from `head` back to those that are known, all or nothing.
///
/// # Errors
///
/// Every variant of [`HistoryError`].
pub fn update(
    repository: &gix::Repository,
    head: ObjectId,
    connection: &mut Connection,
    options: HistoryOptions,
    on_commit: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<HistoryUpdate, HistoryError> {
    let transaction = connection.transaction()?;
    let known = known_head(&transaction)?;
    if known == Some(head) {
        return Ok(HistoryUpdate::default());
    }
    let base = known.filter(|&known| is_ancestor(repository, known, head));
    if base.is_none() {
        transaction.execute_batch(
            "DELETE FROM history_file; DELETE FROM history_author; DELETE FROM history_pair;",
        )?;
    }
    let mut update = HistoryUpdate {
        commits: 0,
        is_anew: base.is_none(),
    };
    let newest_first = gix::revision::walk::Sorting::ByCommitTime(
        gix::traverse::commit::simple::CommitTimeOrder::NewestFirst,
    );
    let walk = repository
        .rev_walk([head])
        .sorting(newest_first)
        .with_hidden(base)
        .all()?;
    for commit in walk.take(options.commits_max) {
        if update.commits.is_multiple_of(TOLD_EVERY) && on_commit(update.commits).is_break() {
            return Err(HistoryError::Cancelled);
        }
        let commit = commit?.object()?;
        if let Some(change) = Change::of(repository, &commit)? {
            store(&transaction, &change, options)?;
        }
        update.commits += 1;
    }
    transaction.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
        params![HEAD_KEY, head.to_string()],
    )?;
    transaction.commit()?;
    Ok(update)
}

fn known_head(connection: &Connection) -> Result<Option<ObjectId>, rusqlite::Error> {
    let sql = "SELECT value FROM meta WHERE key = ?1";
    let text = connection
        .query_row(sql, [HEAD_KEY], |row| row.get::<_, String>(0))
        .optional()?;
    Ok(text.and_then(|text| ObjectId::from_hex(text.as_bytes()).ok()))
}

fn is_ancestor(repository: &gix::Repository, known: ObjectId, head: ObjectId) -> bool {
    repository
        .merge_base(known, head)
        .is_ok_and(|base| base.is_some_and(|base| base.detach() == known))
}

/// What one commit did.
struct Change {
    at: i64,
    author: String,
    paths: Vec<String>,
}

impl Change {
    /// `None` for a merge, and where a shallow clone ends.
    fn of(repository: &gix::Repository, commit: &gix::Commit<'_>) -> gix::Result<Option<Self>> {
        let mut parents = commit.parent_ids();
        let old = match (parents.next(), parents.next()) {
            (None, _) => None,
            (Some(parent), None) => match repository.find_commit(parent) {
                Ok(parent) => Some(parent.tree()?),
                Err(_) => return Ok(None),
            },
            (Some(_), Some(_)) => return Ok(None),
        };
        let new = commit.tree()?;
        let options = gix::diff::Options::default();
        let changes = repository.diff_tree_to_tree(old.as_ref(), &new, options)?;
        let files = changes
            .iter()
            .filter(|change| !change.entry_mode().is_tree());
        let paths = files.filter_map(|change| std::str::from_utf8(change.location()).ok());
        let author = commit.author()?;
        Ok(Some(Self {
            at: commit.time()?.seconds,
            author: author.name.to_string(),
            paths: paths.map(str::to_owned).collect(),
        }))
    }
}

fn store(
    transaction: &Transaction,
    change: &Change,
    options: HistoryOptions,
) -> Result<(), rusqlite::Error> {
    let mut file = transaction.prepare_cached(
        "INSERT INTO history_file VALUES (?1, 1, ?2, ?2, ?3)
         ON CONFLICT (path) DO UPDATE SET commits = commits + 1,
             first_at = min(first_at, excluded.first_at),
             last_author = iif(excluded.last_at > last_at, excluded.last_author, last_author),
             last_at = max(last_at, excluded.last_at)",
    )?;
    let mut author = transaction.prepare_cached(
        "INSERT INTO history_author VALUES (?1, ?2, 1, ?3)
         ON CONFLICT (path, author) DO UPDATE SET commits = commits + 1,
             last_at = max(last_at, excluded.last_at)",
    )?;
    let mut pair = transaction.prepare_cached(
        "INSERT INTO history_pair VALUES (?1, ?2, 1)
         ON CONFLICT (path, other) DO UPDATE SET commits = commits + 1",
    )?;
    for path in &change.paths {
        file.execute(params![path, change.at, change.author])?;
        author.execute(params![path, change.author, change.at])?;
        if change.paths.len() <= options.pair_files_max {
            for other in change.paths.iter().filter(|&other| other != path) {
                pair.execute(params![path, other])?;
            }
        }
    }
    Ok(())
}

/// The files that changed most often.
///
/// # Errors
///
/// What SQLite says.
pub fn churn(connection: &Connection, limit: usize) -> Result<Vec<FileHistory>, rusqlite::Error> {
    let sql = "SELECT path, commits, first_at, last_at, last_author FROM history_file
               ORDER BY commits DESC, path LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([limit], |row| {
        Ok(FileHistory {
            path: row.get(0)?,
            commits: row.get(1)?,
            first_at: row.get(2)?,
            last_at: row.get(3)?,
            last_author: row.get(4)?,
        })
    })?;
    rows.collect()
}

/// The files that changed together with this one, most often first.
///
/// # Errors
///
/// What SQLite says.
pub fn co_changes(
    connection: &Connection,
    path: &str,
    limit: usize,
) -> Result<Vec<CoChange>, rusqlite::Error> {
    let sql = "SELECT other, pair.commits, CAST(pair.commits AS REAL) / file.commits
               FROM history_pair AS pair JOIN history_file AS file USING (path)
               WHERE path = ?1 ORDER BY pair.commits DESC, other LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map(params![path, limit], |row| {
        Ok(CoChange {
            path: row.get(0)?,
            commits: row.get(1)?,
            share: row.get(2)?,
        })
    })?;
    rows.collect()
}

/// Who changed a file, the last one first.
///
/// # Errors
///
/// What SQLite says.
pub fn authors(connection: &Connection, path: &str) -> Result<Vec<Author>, rusqlite::Error> {
    let sql = "SELECT author, commits, last_at FROM history_author
               WHERE path = ?1 ORDER BY last_at DESC, author";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([path], |row| {
        Ok(Author {
            name: row.get(0)?,
            commits: row.get(1)?,
            last_at: row.get(2)?,
        })
    })?;
    rows.collect()
}

/// Source files of today by commits times lines, the hottest first.
///
/// # Errors
///
/// What SQLite says.
pub fn hot_spots(connection: &Connection, limit: usize) -> Result<Vec<HotSpot>, rusqlite::Error> {
    let sql = "SELECT path, commits, lines FROM history_file JOIN file USING (path)
               WHERE origin = 'source' AND language IS NOT NULL
               ORDER BY commits * lines DESC, path LIMIT ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([limit], |row| {
        Ok(HotSpot {
            path: row.get(0)?,
            commits: row.get(1)?,
            lines: row.get(2)?,
        })
    })?;
    rows.collect()
}
