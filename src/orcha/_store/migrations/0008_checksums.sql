-- What was accepted carries a checksum, so that nothing else is executed in its place. NULL for what is older.

ALTER TABLE petition ADD COLUMN checksum INTEGER;
