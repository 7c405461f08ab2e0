-- Arrays: a petition that stands for many alike. Its elements have rows in `petition` only while they are about to run,
-- run, or are kept after their ends; `array_end` says for all how they ended, 256 elements a row, two bytes each.

CREATE TABLE array (
    petition INTEGER PRIMARY KEY,
    total    INTEGER NOT NULL,
    spec     TEXT    NOT NULL,
    outcome  INTEGER,
    code     INTEGER,
    reason   TEXT
) STRICT;

CREATE TABLE array_items (
    array INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    data  BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX array_items_place ON array_items (array, part);

CREATE TABLE array_end (
    array INTEGER NOT NULL,
    part  INTEGER NOT NULL,
    data  BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX array_end_place ON array_end (array, part);

CREATE TABLE element (
    petition INTEGER PRIMARY KEY,
    array    INTEGER NOT NULL,
    position INTEGER NOT NULL
) STRICT;

CREATE INDEX element_array ON element (array, petition);

CREATE TRIGGER arrays_forgotten AFTER DELETE ON petition BEGIN
    DELETE FROM array WHERE petition = OLD.seq;
    DELETE FROM array_items WHERE array = OLD.seq;
    DELETE FROM array_end WHERE array = OLD.seq;
    DELETE FROM element WHERE petition = OLD.seq;
END;
