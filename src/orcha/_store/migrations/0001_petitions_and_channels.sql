-- Petitions, their channels, and what is needed to know one start of the service from another.
-- Tokens and channel ids begin with their time of birth, so every index here grows at its right edge.

CREATE TABLE petition (
    seq          INTEGER PRIMARY KEY,
    token        BLOB    NOT NULL UNIQUE,
    id           TEXT    NOT NULL,
    id_is_int    INTEGER NOT NULL,
    manager      TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    channel      BLOB    NOT NULL,
    state        INTEGER NOT NULL CHECK (state BETWEEN 1 AND 6),
    attempt      INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,
    priority     ANY     NOT NULL CHECK (typeof(priority) IN ('integer', 'real')),
    on_interrupt INTEGER NOT NULL,
    submitted    REAL    NOT NULL,
    started      REAL,
    ended        REAL,
    outcome      INTEGER,
    code         INTEGER,
    hook_pending INTEGER NOT NULL DEFAULT 0,
    slot_held    INTEGER NOT NULL DEFAULT 0,
    reason       TEXT,
    extras       BLOB    NOT NULL
) STRICT;

-- The few rows that somebody or something is busy with: found at once among a million that wait.
CREATE INDEX petition_active ON petition (seq) WHERE state BETWEEN 2 AND 5 OR hook_pending OR slot_held;

-- Ended ones by their end, for retention.
CREATE INDEX petition_ended ON petition (ended) WHERE state = 6;

CREATE TABLE channel (
    id       BLOB PRIMARY KEY,
    owner    TEXT NOT NULL,
    petition INTEGER -- seq of the one petition it belongs to, NULL for a channel that petitions share
) STRICT, WITHOUT ROWID;

-- Who else names a channel: a row for each petition that did not bring the channel as its own.
CREATE TABLE sharing (
    channel  BLOB    NOT NULL,
    petition INTEGER NOT NULL,
    PRIMARY KEY (channel, petition)
) STRICT, WITHOUT ROWID;

CREATE TABLE record (
    channel BLOB    NOT NULL,
    first   INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    data    BLOB    NOT NULL,
    PRIMARY KEY (channel, first)
) STRICT, WITHOUT ROWID;

-- Cancelled before their submit came.
CREATE TABLE tombstone (
    token BLOB PRIMARY KEY,
    until REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX tombstone_until ON tombstone (until);

CREATE TABLE incarnation (
    epoch   INTEGER PRIMARY KEY AUTOINCREMENT,
    nonce   INTEGER NOT NULL,
    boot_id TEXT    NOT NULL,
    uid     INTEGER NOT NULL,
    started REAL    NOT NULL
) STRICT;

-- Sequence numbers below this one were used, also by rows that are gone.
CREATE TABLE used (
    seq INTEGER NOT NULL
) STRICT;

INSERT INTO used (seq) VALUES (1);
