-- A record is JSON. Beside it stand the columns that are searched.

CREATE TABLE task (
    -- Place in the order of submission, no two tasks share one.
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    record TEXT NOT NULL
) STRICT;

CREATE INDEX task_by_state ON task (state, number);

-- The request of a task where it is big, so that it is not written again with each change of the
-- task's state. The record then holds an empty one.
CREATE TABLE task_request (
    id TEXT NOT NULL UNIQUE,
    request TEXT NOT NULL
) STRICT;

CREATE TABLE worker (
    id TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
) STRICT;

CREATE TABLE event (
    number INTEGER PRIMARY KEY,
    record TEXT NOT NULL
) STRICT;

-- One row: the highest number of an event that was ever trimmed, so that numbers go on from there.
CREATE TABLE event_trimmed (
    number INTEGER NOT NULL
) STRICT;

INSERT INTO event_trimmed (number) VALUES (0);

CREATE TABLE token (
    name TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL
) STRICT;
