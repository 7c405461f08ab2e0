-- What petitions need of the service's resources: after a restart what runs is counted before they are made again.

CREATE TABLE need (
    petition INTEGER NOT NULL,
    resource TEXT    NOT NULL,
    amount   INTEGER NOT NULL,
    PRIMARY KEY (petition, resource)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER needs_forgotten AFTER DELETE ON petition BEGIN
    DELETE FROM need WHERE petition = OLD.seq;
END;
