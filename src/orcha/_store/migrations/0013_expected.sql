-- How many seconds an attempt of a petition will probably take, where who asked for it said so.

CREATE TABLE expected (
    petition INTEGER PRIMARY KEY,
    seconds  REAL NOT NULL
) STRICT;

CREATE TRIGGER expected_forgotten AFTER DELETE ON petition BEGIN
    DELETE FROM expected WHERE petition = OLD.seq;
END;
