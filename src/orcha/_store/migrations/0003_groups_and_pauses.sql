-- Groups of petitions, what people have paused, and keys of which one petition waits or runs at a time.

CREATE TABLE grouping (
    petition INTEGER PRIMARY KEY,
    name     TEXT NOT NULL
) STRICT;

CREATE INDEX grouping_name ON grouping (name, petition);

-- `all`, `group:<name>` or `petition:<seq>`.
CREATE TABLE pause (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TABLE once (
    petition INTEGER PRIMARY KEY,
    key      TEXT NOT NULL
) STRICT;

CREATE TRIGGER petition_forgotten AFTER DELETE ON petition BEGIN
    DELETE FROM grouping WHERE petition = OLD.seq;
    DELETE FROM once WHERE petition = OLD.seq;
    DELETE FROM pause WHERE name = 'petition:' || OLD.seq;
END;
