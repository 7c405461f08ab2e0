-- Groups of petitions as they were declared: how many of each may run at once; NULL for any number.

CREATE TABLE slots (
    name  TEXT PRIMARY KEY,
    count INTEGER
) STRICT, WITHOUT ROWID;
