-- The spool of one process: events that did not fit in its memory, in the order in which they were published.
-- An event gets its number when it is written: whichever process sends it, and however often, it is committed once.
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
    event BLOB NOT NULL,    -- JSON, without the fields that have their default
    follow BLOB
);
CREATE INDEX IF NOT EXISTS event_of_producer ON event (run_id, producer, number);
