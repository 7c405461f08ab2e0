-- A hundred of each schedule, and each earlier one whose petition has not ended: the next firing waits for that, or is
-- skipped for it.

DROP TRIGGER firings_bounded;

CREATE TRIGGER firings_bounded AFTER INSERT ON firing BEGIN
    DELETE FROM firing
    WHERE schedule = NEW.schedule
      AND instant <= (
          SELECT instant FROM firing WHERE schedule = NEW.schedule ORDER BY instant DESC LIMIT 1 OFFSET 100
      )
      AND NOT EXISTS (SELECT 1 FROM petition WHERE seq = firing.petition AND state != 6);
END;
