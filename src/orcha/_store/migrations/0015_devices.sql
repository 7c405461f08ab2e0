-- Which devices of the service's resources each attempt got. What a petition needs of a resource may be a part of a
-- device, or say what the device must have: it is a text then.

CREATE TABLE device (
    petition INTEGER NOT NULL,
    attempt  INTEGER NOT NULL,
    resource TEXT    NOT NULL,
    names    TEXT    NOT NULL,
    PRIMARY KEY (petition, attempt, resource)
) STRICT, WITHOUT ROWID;

DROP TRIGGER needs_forgotten;
CREATE TABLE wanted (
    petition INTEGER NOT NULL,
    resource TEXT    NOT NULL,
    amount   ANY     NOT NULL,
    PRIMARY KEY (petition, resource)
) STRICT, WITHOUT ROWID;
INSERT INTO wanted (petition, resource, amount) SELECT petition, resource, amount FROM need;
DROP TABLE need;
ALTER TABLE wanted RENAME TO need;

CREATE TRIGGER needs_forgotten AFTER DELETE ON petition BEGIN
    DELETE FROM need WHERE petition = OLD.seq;
    DELETE FROM device WHERE petition = OLD.seq;
END;
