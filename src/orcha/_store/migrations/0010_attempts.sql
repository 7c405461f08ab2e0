-- One table for what is kept of a petition's attempts, be they commands or actions: one history, and one time at which
-- the next attempt is due. A petition may have had attempts of both kinds.

ALTER TABLE command RENAME TO attempt;
ALTER TABLE attempt ADD COLUMN is_command INTEGER NOT NULL DEFAULT 1;

INSERT INTO attempt (seq, attempt, last_chunk, due, retries, losses, history, is_command)
SELECT retry.seq, petition.attempt, 0, retry.due, retry.retries, 0, retry.history, 0
FROM retry CROSS JOIN petition ON petition.seq = retry.seq
WHERE true
ON CONFLICT (seq) DO UPDATE SET
    due = coalesce(attempt.due, excluded.due),
    retries = attempt.retries + excluded.retries,
    history = (
        SELECT json_group_array(json(value))
        FROM (
            SELECT value, json_extract(value, '$.attempt') AS number FROM json_each(coalesce(attempt.history, '[]'))
            UNION ALL
            SELECT value, json_extract(value, '$.attempt') FROM json_each(coalesce(excluded.history, '[]'))
            ORDER BY number
        )
    ),
    is_command = attempt.attempt = excluded.attempt;

DROP TRIGGER petition_not_retried;
DROP TABLE retry;

DROP INDEX command_due;
CREATE INDEX attempt_due ON attempt (due) WHERE due NOT NULL;
