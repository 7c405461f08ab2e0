-- What people changed of petitions after these were accepted: when, who, and of each field what it was and became (JSON).

CREATE TABLE alteration (
    number   INTEGER PRIMARY KEY,
    petition INTEGER NOT NULL,
    at       REAL    NOT NULL,
    who      TEXT    NOT NULL,
    what     TEXT    NOT NULL
) STRICT;

CREATE INDEX alteration_petition ON alteration (petition);

CREATE TRIGGER alterations_forgotten AFTER DELETE ON petition BEGIN
    DELETE FROM alteration WHERE petition = OLD.seq;
END;
