-- Which petitions wait for the end of which others. How a petition ended stays known here when its own row is forgotten,
-- as long as a petition that named it is kept.

CREATE TABLE dependency (
    petition     INTEGER NOT NULL,
    after        INTEGER NOT NULL,
    id           TEXT    NOT NULL,
    must_succeed INTEGER NOT NULL,
    if_fails     INTEGER NOT NULL,
    outcome      INTEGER,
    PRIMARY KEY (petition, after)
) STRICT, WITHOUT ROWID;

CREATE INDEX dependency_after ON dependency (after);

CREATE TRIGGER dependencies_forgotten AFTER DELETE ON petition BEGIN
    DELETE FROM dependency WHERE petition = OLD.seq;
    UPDATE dependency SET outcome = OLD.outcome WHERE after = OLD.seq;
END;
