-- Groups of petitions, and what people have paused.

CREATE TABLE grouping (
    petition INTEGER PRIMARY KEY,
    name     TEXT NOT NULL
) STRICT;

CREATE INDEX grouping_name ON grouping (name, petition);

-- `all`, `group:<name>` or `petition:<seq>`.
CREATE TABLE pause (
    name TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;

CREATE TRIGGER petition_forgotten AFTER DELETE ON petition BEGIN
    DELETE FROM grouping WHERE petition = OLD.seq;
    DELETE FROM pause WHERE name = 'petition:' || OLD.seq;
END;
