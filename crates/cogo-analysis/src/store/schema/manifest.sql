CREATE TABLE manifest (
    path      TEXT PRIMARY KEY,
    ecosystem TEXT NOT NULL,             -- cargo, npm, pypi, go, maven, gradle
    package   TEXT,
    version   TEXT,
    license   TEXT,                      -- SPDX, as the manifest says
    problem   TEXT                       -- why it was not read
) WITHOUT ROWID;

CREATE TABLE dependency (
    manifest    TEXT NOT NULL REFERENCES manifest ON DELETE CASCADE,
    name        TEXT NOT NULL,
    requirement TEXT,                    -- as written there; NULL: any version
    kind        TEXT NOT NULL,           -- normal, development, build, optional, peer
    is_exact    INTEGER NOT NULL,        -- the requirement allows one version only
    is_locked   INTEGER NOT NULL         -- from a lock file: what is used, not what is asked for
);
CREATE INDEX dependency_by_manifest ON dependency (manifest);
CREATE INDEX dependency_by_name ON dependency (name);

CREATE TABLE license_file (
    path TEXT PRIMARY KEY,
    spdx TEXT                            -- NULL: a text that is not known
) WITHOUT ROWID;
