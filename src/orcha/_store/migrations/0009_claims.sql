-- An older Orcha claimed short commands that waited: what waits and holds its slot may have been executed already, as
-- its next attempt. It is starting from here on, as every petition is whose start is kept, and recovery finds out.

INSERT INTO command (seq, attempt, last_chunk, retries, losses)
SELECT seq, attempt + 1, 0, 0, 0 FROM petition WHERE state = 1 AND slot_held
ON CONFLICT (seq) DO UPDATE SET
    attempt = excluded.attempt,
    pid = NULL,
    start_time = NULL,
    boot_id = NULL,
    shim = NULL,
    last_chunk = 0,
    due = NULL;

UPDATE petition
SET state = 3, attempt = attempt + 1, started = unixepoch('subsec'), slot_held = 0
WHERE state = 1 AND slot_held;
