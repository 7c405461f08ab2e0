-- What clients did and tried: who, by which key and door and from which host, when, what to, why, and what came of it.
-- `ids` and `owners` are JSON arrays: the first of what it was done to, and whose petitions these were.

CREATE TABLE audit (
    number   INTEGER PRIMARY KEY,
    at       REAL    NOT NULL,
    who      TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    door     TEXT    NOT NULL,
    host     TEXT    NOT NULL,
    verb     TEXT    NOT NULL,
    ids      TEXT    NOT NULL,
    count    INTEGER NOT NULL,
    owners   TEXT    NOT NULL,
    why      TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    petition INTEGER
) STRICT;

CREATE INDEX audit_at ON audit (at);
CREATE INDEX audit_petition ON audit (petition) WHERE petition NOT NULL;

-- A petition's row says who asked for it and when, so an accepted submit is kept once. When the petition is forgotten,
-- that is what is left of it; an element of an array was asked for with its array.

CREATE TRIGGER submit_is_left BEFORE DELETE ON petition
WHEN NOT EXISTS (SELECT 1 FROM audit WHERE petition = OLD.seq)
    AND NOT EXISTS (SELECT 1 FROM element WHERE petition = OLD.seq)
BEGIN
    INSERT INTO audit (at, who, key, door, host, verb, ids, count, owners, why, outcome, reason, petition)
    VALUES (
        OLD.submitted, OLD.owner, '', '', '', 'submit', json_array(OLD.id), 1, json_array(OLD.owner), '', 'done', '',
        OLD.seq
    );
END;
