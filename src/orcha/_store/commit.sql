-- One commit is one statement: a multi-row INSERT into this view. SQLite's binding gives up the interpreter lock at
-- every statement, and has to wait for it up to 5 ms each time while an action computes.
-- A row with `kind` 1 is a new petition (a to p) with the channel it brings, if any (q), and its checksum (r). A row with `kind` 0 holds up to three
-- things that have nothing to do with each other: a step of a petition (a to l), records (m to p), flags (q and r).
-- A row with `kind` 2 is what is kept of attempts (a to l); it comes after its petition's row and step.
-- A row with `kind` NULL is padding, so that a few statements serve all sizes.

CREATE TEMP VIEW change (kind, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r) AS
SELECT 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0;

CREATE TEMP TRIGGER change_accept INSTEAD OF INSERT ON change WHEN NEW.kind = 1 BEGIN
    INSERT INTO petition (
        seq, token, id, id_is_int, manager, owner, channel, state, attempt, priority, extras, on_interrupt, submitted,
        outcome, code, reason, epoch, started, ended, checksum
    ) VALUES (
        NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f, NEW.g, NEW.h, NEW.i, NEW.j, NEW.k, NEW.l, NEW.m,
        NEW.n, NEW.o, NEW.p, {epoch}, iif(NEW.h = 3, NEW.m, NULL), iif(NEW.h = 6, NEW.m, NULL),
        NEW.r
    );
    INSERT INTO channel (id, owner, own, named) SELECT NEW.g, NEW.f, NEW.q, 1 WHERE NEW.q NOT NULL;
    UPDATE channel SET named = named + 1 WHERE id = NEW.g AND NEW.q IS NULL;
    SELECT raise(ABORT, 'no such channel') WHERE NEW.q IS NULL AND changes() = 0;
END;

CREATE TEMP TRIGGER change_step INSTEAD OF INSERT ON change WHEN NEW.kind = 0 BEGIN
    UPDATE petition
    SET state = NEW.d,
        attempt = NEW.e,
        epoch = {epoch},
        started = CASE WHEN NEW.e = 0 THEN NULL ELSE coalesce(NEW.l, iif(NEW.d = 3, NEW.f, started)) END,
        ended = iif(NEW.d = 6, NEW.f, ended),
        outcome = NEW.g,
        code = NEW.h,
        reason = NEW.i,
        hook_pending = NEW.j,
        slot_held = NEW.k
    WHERE seq = NEW.a AND attempt = NEW.b AND (NEW.c >> state) & 1;
    SELECT raise(ABORT, 'fenced') WHERE NEW.a NOT NULL AND changes() = 0;
    SELECT raise(ABORT, 'no such channel') WHERE NEW.m NOT NULL AND NOT EXISTS (SELECT 1 FROM channel WHERE id = NEW.m);
    INSERT INTO record (channel, first, count, data) SELECT NEW.m, NEW.n, NEW.o, NEW.p WHERE NEW.m NOT NULL;
    UPDATE petition SET hook_pending = NEW.r & 1, slot_held = NEW.r >> 1 WHERE seq = NEW.q AND state = 6;
    SELECT raise(ABORT, 'fenced') WHERE NEW.q NOT NULL AND changes() = 0;
END;

CREATE TEMP TRIGGER change_attempt INSTEAD OF INSERT ON change WHEN NEW.kind = 2 BEGIN
    SELECT raise(ABORT, 'fenced')
    WHERE NOT EXISTS (SELECT 1 FROM petition WHERE seq = NEW.a AND attempt = NEW.b);
    INSERT INTO attempt (
        seq, attempt, pid, start_time, boot_id, shim, last_chunk, due, retries, losses, history, is_command
    )
    VALUES (
        NEW.a, NEW.b, NEW.c, NEW.d, NEW.e, NEW.f, NEW.g, NEW.h, coalesce(NEW.i, 0), coalesce(NEW.j, 0), NEW.k,
        NEW.l
    )
    ON CONFLICT (seq) DO UPDATE SET
        attempt = NEW.b,
        pid = NEW.c,
        start_time = NEW.d,
        boot_id = NEW.e,
        shim = NEW.f,
        last_chunk = NEW.g,
        due = NEW.h,
        retries = coalesce(NEW.i, retries),
        losses = coalesce(NEW.j, losses),
        history = coalesce(NEW.k, history),
        is_command = NEW.l;
END;
