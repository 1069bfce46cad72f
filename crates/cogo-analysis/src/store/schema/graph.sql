-- A definition. Its id stays the same as long as its file has one of the same name, kind and parent.
CREATE TABLE symbol (
    id          INTEGER PRIMARY KEY,
    file_id     INTEGER NOT NULL REFERENCES file ON DELETE CASCADE,
    position    INTEGER NOT NULL,        -- among the definitions of its file, from 0
    parent_id   INTEGER,                 -- the symbol around it
    owner       TEXT,                    -- the type it is a member of, where that is elsewhere
    name        TEXT NOT NULL,
    qualified   TEXT NOT NULL,           -- within its module: `Store::open`
    kind        TEXT NOT NULL,           -- function, method, class, struct, …
    line        INTEGER NOT NULL,        -- of its name, from 1
    column      INTEGER NOT NULL,        -- of its name, in bytes from 0
    end_line    INTEGER NOT NULL,
    start_byte  INTEGER NOT NULL,        -- of all of it, documentation excluded
    end_byte    INTEGER NOT NULL,
    signature   TEXT NOT NULL,           -- its first line or so
    doc         TEXT,
    bases       TEXT,                    -- the types it extends, with spaces between
    type_name   TEXT,                    -- what a function returns, what a field or variable is
    is_exported INTEGER NOT NULL,
    is_test     INTEGER NOT NULL
);
CREATE INDEX symbol_by_file ON symbol (file_id);
CREATE INDEX symbol_by_name ON symbol (name);
CREATE INDEX symbol_by_parent ON symbol (parent_id) WHERE parent_id IS NOT NULL;

-- Who uses what. Several targets of one place share its confidence: ambiguous stays ambiguous.
CREATE TABLE edge (
    id         INTEGER PRIMARY KEY,
    file_id    INTEGER NOT NULL REFERENCES file ON DELETE CASCADE,  -- where it is written
    source_id  INTEGER,                  -- the symbol around the place; NULL: the file itself
    target_id  INTEGER NOT NULL,
    kind       TEXT NOT NULL,            -- calls, references, inherits, imports
    line       INTEGER NOT NULL,
    column     INTEGER NOT NULL,
    confidence REAL NOT NULL             -- above 0, at most 1
);
CREATE INDEX edge_by_file ON edge (file_id);
CREATE INDEX edge_by_source ON edge (source_id, kind);
CREATE INDEX edge_by_target ON edge (target_id, kind);

-- Which file imports which, with the module's name as it is written there.
CREATE TABLE import (
    file_id   INTEGER NOT NULL REFERENCES file ON DELETE CASCADE,
    module    TEXT NOT NULL,
    name      TEXT,                      -- what of the module; NULL: the module itself
    alias     TEXT,                      -- what it is called here, where that differs
    is_wildcard INTEGER NOT NULL,        -- everything of the module
    target_id INTEGER,                   -- a file of this repository; NULL: something outside of it
    line      INTEGER NOT NULL
);
CREATE INDEX import_by_file ON import (file_id);
CREATE INDEX import_by_target ON import (target_id) WHERE target_id IS NOT NULL;
