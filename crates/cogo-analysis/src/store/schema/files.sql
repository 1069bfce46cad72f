-- What is true of the whole repository: `root`, `completed`, `head`, …
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- What was found in a content, by the id that git gives it. Outlives the files that had it, so that
-- going back to another branch parses nothing.
CREATE TABLE blob (
    id       INTEGER PRIMARY KEY,
    hash     BLOB NOT NULL,              -- 20 bytes: SHA-1 of "blob <length>\0" and the content
    language TEXT NOT NULL,
    facts    BLOB NOT NULL,              -- definitions, references and imports; see `facts.rs`
    UNIQUE (hash, language)
);

CREATE TABLE file (
    id          INTEGER PRIMARY KEY,
    path        TEXT NOT NULL UNIQUE,    -- from the root, with `/`
    language    TEXT,                    -- NULL: none that is parsed
    origin      TEXT NOT NULL,           -- source, generated, vendored, binary
    skipped     TEXT,                    -- why it was not parsed; NULL where it was
    hash        BLOB,                    -- of the content, as in `blob`
    size        INTEGER NOT NULL,
    lines       INTEGER NOT NULL DEFAULT 0,
    -- With the size: the same stamps mean the same content, and it is not read again.
    modified_ns INTEGER NOT NULL,
    changed_ns  INTEGER NOT NULL,
    inode       INTEGER NOT NULL,
    is_test     INTEGER NOT NULL DEFAULT 0,
    module      TEXT,                    -- what others import it by, e.g. `crate::store::schema`
    -- Hashes of the names its edges were found by, sorted, four bytes each. When definitions of a
    -- name change, the files that asked for it are resolved again, and no others.
    lookups     BLOB,
    -- 0 until its edges are stored. A killed analysis goes on with these.
    is_resolved INTEGER NOT NULL DEFAULT 0
);
