-- A process' spool: what did not fit in its memory, in the order in which it was published.
-- The numbers are the producer's, given when an event comes here: whoever sends it, and however often, it counts once.
CREATE TABLE IF NOT EXISTS scope (
    key INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL,
    step TEXT,
    attempt INTEGER,        -- NULL until the scope's start is committed
    step_attempt INTEGER
);
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL,
    producer TEXT NOT NULL,
    number INTEGER NOT NULL,
    scope INTEGER REFERENCES scope (key),
    event BLOB NOT NULL,    -- JSON, without what is left at its default
    follow BLOB
);
CREATE INDEX IF NOT EXISTS event_of_producer ON event (run_id, producer, number);
