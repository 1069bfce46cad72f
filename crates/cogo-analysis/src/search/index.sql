CREATE TABLE document (
    id    INTEGER PRIMARY KEY,
    path  TEXT NOT NULL UNIQUE,
    stamp BLOB NOT NULL                  -- of content and symbols: equal means nothing to do
);

CREATE TABLE chunk (
    id          INTEGER PRIMARY KEY,
    document_id INTEGER NOT NULL REFERENCES document,
    symbol      TEXT,
    kind        TEXT,
    line        INTEGER NOT NULL,
    end_line    INTEGER NOT NULL,
    hash        BLOB NOT NULL,           -- of what is embedded
    text        TEXT NOT NULL
);
CREATE INDEX chunk_by_document ON chunk (document_id);
CREATE INDEX chunk_by_hash ON chunk (hash);

-- Words, taken apart before they come here; what they were is in `chunk`.
CREATE VIRTUAL TABLE word USING fts5 (
    symbol, path, text,
    content = '', contentless_delete = 1, tokenize = 'porter unicode61'
);

CREATE TABLE IF NOT EXISTS model (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- Outlives the chunks: what was embedded once never is again.
CREATE TABLE IF NOT EXISTS vector (
    model_id INTEGER NOT NULL REFERENCES model,
    hash     BLOB NOT NULL,
    value    BLOB NOT NULL,              -- scale, then one byte a dimension
    PRIMARY KEY (model_id, hash)
) WITHOUT ROWID;
