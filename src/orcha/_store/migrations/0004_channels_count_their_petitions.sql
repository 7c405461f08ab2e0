-- A channel knows how many petitions name it, instead of a row for each of them: one page less at every acceptance.

CREATE TABLE counted (
    id    BLOB PRIMARY KEY,
    owner TEXT    NOT NULL,
    own   INTEGER NOT NULL, -- 1 where it belongs to one petition and closes with its final value
    named INTEGER NOT NULL  -- petitions that name it: with the last of them it goes
) STRICT, WITHOUT ROWID;

INSERT INTO counted (id, owner, own, named)
SELECT channel.id, channel.owner, channel.petition NOT NULL, coalesce(naming.petitions, 0)
FROM channel
LEFT JOIN (SELECT channel, count(*) AS petitions FROM petition GROUP BY channel) AS naming ON naming.channel = channel.id;

DROP TABLE channel;
DROP TABLE sharing;
ALTER TABLE counted RENAME TO channel;
