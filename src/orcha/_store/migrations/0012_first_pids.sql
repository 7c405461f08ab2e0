-- Where the processes of a start of the service begin among the pids of the machine. 0 for what is older.

ALTER TABLE incarnation ADD COLUMN pid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE incarnation ADD COLUMN tasks INTEGER NOT NULL DEFAULT 0;
