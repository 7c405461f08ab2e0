-- Messages that are asked for again and again, and what became of the instants of each: an instant has one row, so that
-- it is never fired twice. How a firing's petition ended stays known here when its own row is forgotten.

CREATE TABLE schedule (
    name        TEXT PRIMARY KEY,
    owner       TEXT    NOT NULL,
    manager     TEXT    NOT NULL,
    expression  TEXT    NOT NULL,
    zone        TEXT, -- NULL for that of the machine
    overlap     INTEGER NOT NULL,
    missed      INTEGER NOT NULL,
    extras      BLOB    NOT NULL,
    made        REAL    NOT NULL,
    fired_until REAL    NOT NULL,
    is_paused   INTEGER NOT NULL
) STRICT;

CREATE TABLE firing (
    schedule TEXT    NOT NULL,
    instant  REAL    NOT NULL,
    decided  REAL    NOT NULL,
    petition INTEGER, -- NULL where it has none: `note` says why
    id       TEXT,
    note     TEXT,
    outcome  INTEGER,
    code     INTEGER,
    ended    REAL,
    PRIMARY KEY (schedule, instant)
) STRICT, WITHOUT ROWID;

CREATE INDEX firing_petition ON firing (petition) WHERE petition NOT NULL;

CREATE TRIGGER firings_forgotten AFTER DELETE ON schedule BEGIN
    DELETE FROM firing WHERE schedule = OLD.name;
END;

-- A hundred of each schedule.
CREATE TRIGGER firings_bounded AFTER INSERT ON firing BEGIN
    DELETE FROM firing
    WHERE schedule = NEW.schedule
      AND instant <= (
          SELECT instant FROM firing WHERE schedule = NEW.schedule ORDER BY instant DESC LIMIT 1 OFFSET 100
      );
END;

CREATE TRIGGER firing_outlives_petition AFTER DELETE ON petition BEGIN
    UPDATE firing SET outcome = OLD.outcome, code = OLD.code, ended = OLD.ended WHERE petition = OLD.seq;
END;
