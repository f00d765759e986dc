-- Version 6: one index tells what is held, by reason and queue, and when the next of it may go on.

DROP INDEX items_backing_off;
CREATE INDEX items_on_hold ON items (hold, not_before, queue, sweep) WHERE state = 'pending' AND hold IS NOT NULL;
