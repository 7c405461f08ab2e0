-- What people decided while the service ran, as text, by kind and name: resources as they were set, what is drained.

CREATE TABLE decided (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
