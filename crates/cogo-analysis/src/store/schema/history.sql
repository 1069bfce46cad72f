-- What commits tell about files. `meta.history_head` is the commit up to which they were read.
CREATE TABLE history_file (
    path        TEXT PRIMARY KEY,
    commits     INTEGER NOT NULL,
    first_at    INTEGER NOT NULL,        -- seconds since 1970
    last_at     INTEGER NOT NULL,
    last_author TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE history_author (
    path    TEXT NOT NULL,
    author  TEXT NOT NULL,
    commits INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (path, author)
) WITHOUT ROWID;

-- Files that changed in one commit, in both orders.
CREATE TABLE history_pair (
    path    TEXT NOT NULL,
    other   TEXT NOT NULL,
    commits INTEGER NOT NULL,
    PRIMARY KEY (path, other)
) WITHOUT ROWID;
