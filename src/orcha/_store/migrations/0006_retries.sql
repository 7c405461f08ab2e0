-- What is kept of a petition that is tried again, where its attempts are actions of the service: a row in `command`
-- says that the last attempt was a command, and is gone by.

CREATE TABLE retry (
    seq     INTEGER PRIMARY KEY,
    due     REAL,    -- wall-clock time of the next attempt, NULL where none is waited for
    retries INTEGER NOT NULL,
    history TEXT     -- a JSON list of what is known of ended attempts
) STRICT;

CREATE INDEX retry_due ON retry (due) WHERE due NOT NULL;

CREATE TRIGGER petition_not_retried AFTER DELETE ON petition BEGIN
    DELETE FROM retry WHERE seq = OLD.seq;
END;
