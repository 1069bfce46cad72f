-- Work beside tasks: runs of plans, repairs, analyses.

CREATE TABLE job (
    -- Place in the order of submission.
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    is_final INTEGER NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE INDEX job_open ON job (number) WHERE is_final = 0;
