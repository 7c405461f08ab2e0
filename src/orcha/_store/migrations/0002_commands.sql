-- What is kept of a petition's command beside its row: a row here says that the petition's last attempt was one.

CREATE TABLE command (
    seq        INTEGER PRIMARY KEY,
    attempt    INTEGER NOT NULL,
    pid        INTEGER,
    start_time REAL,
    boot_id    TEXT,
    shim       TEXT,
    last_chunk INTEGER NOT NULL,
    due        REAL,    -- wall-clock time of the next attempt, NULL where none is waited for
    retries    INTEGER NOT NULL,
    losses     INTEGER NOT NULL,
    history    TEXT     -- a JSON list of what is known of ended attempts
) STRICT;

CREATE INDEX command_due ON command (due) WHERE due NOT NULL;
