-- Named queries. A query gives one row with all it found as text: SQLite's binding gives up the interpreter lock at
-- every row, and has to wait for it up to 5 ms each time while an action computes.
-- {row}, {sized}, {first} and {dependency} stand for the queries of those names: a page has no further row from 16 MiB on. Floats travel
-- as SQL literals: those are exact.

-- name: row
json_array(
    seq, hex(token), id, id_is_int, manager, owner, hex(channel), state, attempt, epoch, quote(priority), hex(extras),
    on_interrupt, quote(submitted), quote(started), quote(ended), outcome, code, reason, hook_pending, slot_held,
    checksum
)

-- name: sized
seq, length(extras) + coalesce(length(reason), 0) AS size

-- name: first
seq IN (SELECT seq FROM (
    SELECT seq, sum(size) OVER (ORDER BY seq DESC ROWS UNBOUNDED PRECEDING) - size AS before FROM page
) WHERE before < 16777216)

-- name: rows
SELECT group_concat({row}, ',') FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN petition ON petition.seq = wanted.value;

-- name: rows_of_tokens
SELECT group_concat({row}, ',') FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN petition ON petition.token = unhex(wanted.value);

-- name: attempts
SELECT group_concat(
    json_array(
        seq, attempt, pid, quote(start_time), boot_id, shim, last_chunk, quote(due), retries, losses, history, is_command
    ), ','
) FROM attempt WHERE seq IN (SELECT value FROM json_each(?1));

-- name: resting
SELECT group_concat(
    json_array(
        seq, attempt, pid, quote(start_time), boot_id, shim, last_chunk, quote(due), retries, losses, history, is_command
    ), ','
) FROM attempt INDEXED BY attempt_due WHERE due NOT NULL;

-- name: known_tokens
SELECT group_concat(json_quote(wanted.value), ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN petition ON petition.token = unhex(wanted.value);

-- name: tombstones
SELECT group_concat(json_quote(wanted.value), ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN tombstone ON tombstone.token = unhex(wanted.value)
WHERE tombstone.until > ?2;

-- name: steps_not_allowed
SELECT group_concat(step.value ->> 0, ',')
FROM json_each(?1) AS step LEFT JOIN petition ON petition.seq = step.value ->> 0
WHERE petition.seq IS NULL
   OR (step.value ->> 1) NOT NULL AND petition.attempt != step.value ->> 1
   OR NOT ((step.value ->> 2) >> petition.state) & 1;

-- name: all_tombstones
SELECT token, until FROM tombstone WHERE until > ?1;

-- name: active_seqs
SELECT group_concat(seq, ',') FROM petition INDEXED BY petition_active
WHERE (state BETWEEN 2 AND 5 OR hook_pending OR slot_held) AND manager = ?1;

-- name: waiting
SELECT priority, seq, id, owner FROM petition WHERE state = 1 AND manager = ?1 ORDER BY priority, seq;

-- name: bounds
SELECT coalesce((SELECT min(seq) FROM petition), 1), coalesce((SELECT max(seq) FROM petition), 0);

-- name: page
WITH page AS MATERIALIZED (
    SELECT {sized} FROM petition
    WHERE seq >= ?1 AND seq < ?2 AND (?3 >> state) & 1 AND (?6 IS NULL OR owner = ?6)
      AND NOT EXISTS (SELECT 1 FROM element WHERE element.petition = petition.seq)
    ORDER BY seq DESC LIMIT ?4
)
SELECT group_concat({row}, ',') FROM petition WHERE {first};

-- name: page_of_array
WITH page AS MATERIALIZED (
    SELECT {sized} FROM element CROSS JOIN petition ON petition.seq = element.petition
    WHERE element.array = ?5 AND element.petition >= ?1 AND element.petition < ?2 AND (?3 >> state) & 1
      AND (?6 IS NULL OR owner = ?6)
    ORDER BY element.petition DESC LIMIT ?4
)
SELECT group_concat({row}, ',') FROM petition WHERE {first};

-- name: page_of_id
WITH page AS MATERIALIZED (
    SELECT {sized} FROM petition
    WHERE seq >= ?1 AND seq < ?2 AND (?3 >> state) & 1 AND id = ?5 AND (?6 IS NULL OR owner = ?6)
    ORDER BY seq DESC LIMIT ?4
)
SELECT group_concat({row}, ',') FROM petition WHERE {first};

-- name: page_of_active
WITH page AS MATERIALIZED (
    SELECT {sized} FROM petition INDEXED BY petition_active
    WHERE (state BETWEEN 2 AND 5 OR hook_pending OR slot_held)
      AND seq >= ?1 AND seq < ?2 AND (?3 >> state) & 1 AND (?5 IS NULL OR id = ?5) AND (?6 IS NULL OR owner = ?6)
      AND (?5 NOT NULL OR NOT EXISTS (SELECT 1 FROM element WHERE element.petition = petition.seq))
    ORDER BY seq DESC LIMIT ?4
)
SELECT group_concat({row}, ',') FROM petition WHERE {first};

-- name: page_of_group
WITH page AS MATERIALIZED (
    SELECT {sized} FROM grouping CROSS JOIN petition ON petition.seq = grouping.petition
    WHERE grouping.name = ?5 AND grouping.petition >= ?1 AND grouping.petition < ?2 AND (?3 >> state) & 1
      AND (?6 IS NULL OR owner = ?6) AND NOT EXISTS (SELECT 1 FROM element WHERE element.petition = grouping.petition)
    ORDER BY grouping.petition DESC LIMIT ?4
)
SELECT group_concat({row}, ',') FROM petition WHERE {first};

-- name: insert_groups
INSERT INTO grouping (petition, name) SELECT value ->> 0, value ->> 1 FROM json_each(?1);

-- name: insert_needs
INSERT INTO need (petition, resource, amount) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1);

-- name: needs
SELECT group_concat(json_array(petition, resource, amount), ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN need ON need.petition = wanted.value;

-- name: insert_devices
INSERT INTO device (petition, attempt, resource, names)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1);

-- name: devices
SELECT group_concat(json_array(petition, attempt, resource, names), ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN device ON device.petition = wanted.value;

-- name: insert_once
INSERT INTO once (petition, key) SELECT value ->> 0, value ->> 1 FROM json_each(?1);

-- name: once
SELECT group_concat(json_array(seq, manager, owner, key), ',')
FROM (SELECT * FROM once ORDER BY petition) AS known CROSS JOIN petition ON petition.seq = known.petition
WHERE petition.state != 6 OR petition.slot_held;

-- name: insert_dependencies
INSERT INTO dependency (petition, after, id, must_succeed, if_fails)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?1);

-- name: hold_dependents
UPDATE dependency SET if_fails = ?2 WHERE petition IN (SELECT value FROM json_each(?1));

-- name: dependency
json_array(
    dependency.petition, dependency.after, dependency.id, dependency.must_succeed, dependency.if_fails,
    coalesce(other.outcome, dependency.outcome), iif(other.seq IS NULL, 6, other.state)
)

-- name: dependencies_of_live
SELECT group_concat({dependency}, ',')
FROM (SELECT * FROM dependency ORDER BY petition, after) AS dependency
CROSS JOIN petition AS mine ON mine.seq = dependency.petition
LEFT JOIN petition AS other ON other.seq = dependency.after
WHERE mine.state BETWEEN 1 AND 2;

-- name: dependencies
SELECT group_concat({dependency}, ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN dependency ON dependency.petition = wanted.value
LEFT JOIN petition AS other ON other.seq = dependency.after;

-- name: dependents
SELECT group_concat({dependency}, ',')
FROM (SELECT * FROM dependency WHERE after = ?1 ORDER BY petition LIMIT ?2) AS dependency
LEFT JOIN petition AS other ON other.seq = dependency.after;

-- name: keep_schedule
INSERT INTO schedule (name, owner, manager, expression, zone, overlap, missed, extras, made, fired_until, is_paused)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (name) DO UPDATE SET
    owner = excluded.owner,
    manager = excluded.manager,
    expression = excluded.expression,
    zone = excluded.zone,
    overlap = excluded.overlap,
    missed = excluded.missed,
    extras = excluded.extras,
    made = excluded.made,
    fired_until = excluded.fired_until,
    is_paused = excluded.is_paused;

-- name: forget_schedule
DELETE FROM schedule WHERE name = ?1;

-- name: insert_firing
INSERT INTO firing (schedule, instant, decided, petition, id, note)
SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM schedule WHERE name = ?1);

-- name: note_fired
UPDATE schedule SET fired_until = ?2 WHERE name = ?1;

-- name: schedules
SELECT name, owner, manager, expression, zone, overlap, missed, extras, made, fired_until, is_paused
FROM schedule ORDER BY name;

-- name: firings
SELECT
    instant, decided, firing.petition, firing.id, note, mine.state, coalesce(mine.outcome, firing.outcome),
    coalesce(mine.code, firing.code), coalesce(mine.ended, firing.ended)
FROM firing LEFT JOIN petition AS mine ON mine.seq = firing.petition
WHERE schedule = ?1 ORDER BY instant DESC LIMIT ?2;

-- name: live_firings
SELECT
    instant, decided, firing.petition, firing.id, note, mine.state, mine.outcome, mine.code, mine.ended
FROM firing JOIN petition AS mine ON mine.seq = firing.petition
WHERE schedule = ?1 AND mine.state != 6 ORDER BY instant DESC;

-- name: has_firing
SELECT EXISTS (SELECT 1 FROM firing WHERE schedule = ?1 AND instant = ?2);

-- name: insert_expected
INSERT INTO expected (petition, seconds) SELECT value ->> 0, value ->> 1 FROM json_each(?1);

-- name: expected
SELECT group_concat(json_array(petition, seconds), ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN expected ON expected.petition = wanted.value;

-- name: insert_array
INSERT INTO array (petition, total, spec) VALUES (?1, ?2, ?3);

-- name: insert_array_items
INSERT INTO array_items (array, part, data) VALUES (?1, ?2, ?3);

-- name: insert_elements
INSERT INTO element (petition, array, position) SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?1);

-- name: keep_array_end
INSERT INTO array_end (array, part, data) VALUES (?1, ?2, ?3)
ON CONFLICT (array, part) DO UPDATE SET data = excluded.data;

-- name: stop_array
UPDATE array SET outcome = ?2, code = ?3, reason = ?4 WHERE petition = ?1;

-- name: live_arrays
SELECT group_concat(json_array(petition, total, spec, array.outcome, array.code, array.reason), ',')
FROM (SELECT * FROM array ORDER BY petition) AS array CROSS JOIN petition ON petition.seq = array.petition
WHERE petition.state != 6;

-- name: arrays
SELECT group_concat(json_array(petition, total, spec, outcome, code, reason), ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN array ON array.petition = wanted.value;

-- name: array_ends
SELECT group_concat(json_array(part, hex(data)), ',') FROM array_end WHERE array = ?1;

-- name: array_items
SELECT data FROM array_items WHERE array = ?1 AND part = ?2;

-- name: live_elements
SELECT group_concat(json_array(element.petition, array, position), ',')
FROM (SELECT * FROM element ORDER BY petition) AS element CROSS JOIN petition ON petition.seq = element.petition
WHERE petition.state != 6;

-- name: elements
SELECT group_concat(json_array(petition, array, position), ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN element ON element.petition = wanted.value;

-- name: groups
SELECT group_concat(json_array(petition, name), ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN grouping ON grouping.petition = wanted.value;

-- name: set_priority
UPDATE petition SET priority = ?2 WHERE seq = ?1 AND state = 1;

-- name: identity
SELECT token, id, id_is_int, manager, owner, channel FROM petition WHERE seq = ?1;

-- name: alter_petition
UPDATE petition SET extras = ?2, checksum = ?3, priority = ?4 WHERE seq = ?1;

-- name: forget_group
DELETE FROM grouping WHERE petition = ?1;

-- name: forget_needs
DELETE FROM need WHERE petition = ?1;

-- name: forget_expected
DELETE FROM expected WHERE petition = ?1;

-- name: forget_dependencies
DELETE FROM dependency WHERE petition = ?1;

-- name: insert_alteration
INSERT INTO alteration (petition, at, who, what) VALUES (?1, ?2, ?3, ?4);

-- name: forget_alterations
DELETE FROM alteration WHERE petition = ?1 AND number NOT IN
(SELECT number FROM alteration WHERE petition = ?1 ORDER BY number DESC LIMIT ?2);

-- name: alterations
SELECT group_concat(json_array(at, who, what), ',')
FROM (SELECT * FROM alteration WHERE petition = ?1 ORDER BY number);

-- name: pause
INSERT OR IGNORE INTO pause (name) VALUES (?1);

-- name: unpause
DELETE FROM pause WHERE name = ?1;

-- name: pauses
SELECT group_concat(json_quote(name), ',') FROM pause;

-- name: forget_decided
DELETE FROM decided WHERE kind = ?1 AND name = ?2;

-- name: insert_decided
INSERT INTO decided (kind, name, what) VALUES (?1, ?2, ?3);

-- name: decided
SELECT group_concat(json_array(name, what), ',') FROM decided WHERE kind = ?1;

-- name: forget_slots
DELETE FROM slots;

-- name: insert_slots
INSERT INTO slots (name, count) SELECT value ->> 0, value ->> 1 FROM json_each(?1);

-- name: slots
SELECT group_concat(json_array(name, count), ',') FROM slots;

-- name: ended
SELECT count(*) FROM petition WHERE state = 6;

-- name: next_seq
SELECT max((SELECT seq FROM used), coalesce((SELECT max(seq) + 1 FROM petition), 1));

-- name: note_used
UPDATE used SET seq = max(seq, coalesce((SELECT max(seq) + 1 FROM petition), 1));

-- name: channel
SELECT owner, own,
    coalesce((SELECT first + count FROM record WHERE record.channel = ?1 ORDER BY first DESC LIMIT 1), 0),
    coalesce((SELECT sum(length(data)) FROM record WHERE record.channel = ?1), 0)
FROM channel WHERE id = ?1;

-- name: channel_owners
SELECT group_concat(json_array(hex(id), owner), ',')
FROM (SELECT value FROM json_each(?1)) AS wanted CROSS JOIN channel ON channel.id = unhex(wanted.value);

-- name: records
SELECT group_concat(json_array(first, count, hex(data)), ',') FROM (
    SELECT first, count, data, sum(length(data)) OVER (ORDER BY first) - length(data) AS before
    FROM record
    WHERE channel = ?1 AND first + count > ?2
)
WHERE before < ?3;

-- name: end_of_keep
SELECT ended, seq FROM petition WHERE state = 6 ORDER BY ended DESC, seq DESC LIMIT 1 OFFSET ?1;

-- name: prunable
SELECT group_concat(json_array(seq, hex(channel)), ',') FROM (
    SELECT seq, channel FROM petition
    WHERE state = 6
      AND ended <= ?1
      AND (ended < ?2 OR ended < ?3 OR (ended = ?3 AND seq <= ?4))
      AND ended <= ?5
      AND submitted <= ?5
      AND NOT hook_pending
      AND NOT slot_held
    ORDER BY ended, seq LIMIT ?6
);

-- name: channels_of
SELECT group_concat(json_quote(hex(channel)), ',') FROM (
    SELECT DISTINCT channel FROM (SELECT value FROM json_each(?1)) AS gone CROSS JOIN petition ON petition.seq = gone.value
);

-- name: release_channels
UPDATE channel SET named = named - gone.petitions
FROM (
    SELECT channel, count(*) AS petitions
    FROM (SELECT DISTINCT value FROM json_each(?1)) AS wanted CROSS JOIN petition ON petition.seq = wanted.value
    GROUP BY channel
) AS gone
WHERE channel.id = gone.channel;

-- name: delete_petitions
DELETE FROM petition WHERE seq IN (SELECT value FROM json_each(?1)) AND state = 6;

-- name: delete_attempts
DELETE FROM attempt WHERE seq IN (SELECT value FROM json_each(?1));

-- name: unused_channels
SELECT group_concat(json_quote(candidate.value), ',')
FROM (SELECT value FROM json_each(?1)) AS candidate CROSS JOIN channel ON channel.id = unhex(candidate.value)
WHERE named = 0;

-- name: delete_records
DELETE FROM record WHERE channel IN (SELECT unhex(value) FROM json_each(?1));

-- name: delete_channels
DELETE FROM channel WHERE id IN (SELECT unhex(value) FROM json_each(?1));

-- name: insert_channels
INSERT INTO channel (id, owner, own, named)
SELECT unhex(value ->> 0), value ->> 1, value ->> 2, 0 FROM json_each(?1);

-- name: insert_tombstones
INSERT INTO tombstone (token, until)
SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?1) WHERE true
ON CONFLICT (token) DO UPDATE SET until = max(until, excluded.until);

-- name: delete_tombstones
DELETE FROM tombstone WHERE until <= ?1;

-- name: any_tombstone
SELECT EXISTS (SELECT 1 FROM tombstone);

-- name: begin_incarnation
INSERT INTO incarnation (nonce, boot_id, uid, started, pid, tasks) VALUES (?1, ?2, ?3, ?4, ?5, ?6) RETURNING epoch;

-- name: earlier_incarnations
SELECT epoch, nonce, boot_id, uid, started, pid, tasks FROM incarnation WHERE epoch < ?1 ORDER BY epoch;

-- name: forget_incarnations
DELETE FROM incarnation
WHERE epoch IN (SELECT value FROM json_each(?1)) AND epoch < (SELECT max(epoch) FROM incarnation);

-- name: insert_audit
INSERT INTO audit (at, who, key, door, host, verb, ids, count, owners, why, outcome, reason, petition)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13);

-- name: forget_audit
DELETE FROM audit WHERE number IN (SELECT number FROM audit WHERE at < ?1 AND ?2 NOT NULL ORDER BY at LIMIT 10000);

-- name: forget_audited_submits
DELETE FROM audit WHERE number IN (
    SELECT number FROM audit INDEXED BY audit_petition WHERE petition NOT NULL
    ORDER BY petition DESC LIMIT 10000 OFFSET ?1
);

-- name: forget_audited_deeds
DELETE FROM audit WHERE number IN (
    SELECT number FROM (
        SELECT number, row_number() OVER (PARTITION BY who ORDER BY number DESC) AS place FROM audit
        WHERE petition IS NULL
            AND EXISTS (SELECT 1 FROM audit WHERE petition IS NULL ORDER BY number DESC LIMIT 1 OFFSET ?1)
    )
    ORDER BY place, number DESC LIMIT 10000 OFFSET ?1
);

-- name: events
SELECT group_concat(
    json_array(quote(at), who, key, door, host, verb, ids, count, owners, why, outcome, reason, source), ','
)
FROM (
    SELECT * FROM (
        SELECT at, who, key, door, host, verb, ids, count, owners, why, outcome, reason, number AS source
        FROM audit
        WHERE at >= ?1 AND at < ?2 AND (?3 IS NULL OR who = ?3 OR key = ?3) AND (?4 IS NULL OR verb = ?4)
            AND (?5 IS NULL OR EXISTS (SELECT 1 FROM json_each(ids) WHERE value = ?5))
            AND (?6 IS NULL OR who = ?6 OR EXISTS (SELECT 1 FROM json_each(owners) WHERE value = ?6))
            AND (?8 IS NULL OR verb <> ?8)
        ORDER BY at DESC LIMIT ?7
    )
    UNION ALL
    SELECT * FROM (
        SELECT submitted, owner, '', '', '', 'submit', json_array(id), 1, json_array(owner), '', 'done', '', -seq
        FROM petition
        WHERE submitted >= ?1 AND submitted < ?2 AND (?3 IS NULL OR owner = ?3) AND coalesce(?4, 'submit') = 'submit'
            AND (?5 IS NULL OR id = ?5) AND (?6 IS NULL OR owner = ?6)
            AND NOT EXISTS (SELECT 1 FROM audit WHERE audit.petition = petition.seq)
            AND NOT EXISTS (SELECT 1 FROM element WHERE element.petition = petition.seq)
        ORDER BY seq DESC LIMIT ?7
    )
    ORDER BY at DESC LIMIT ?7
);
