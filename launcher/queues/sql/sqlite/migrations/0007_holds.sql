-- Version 7: what is held is counted without looking at anything else.

CREATE INDEX items_on_hold ON items (queue, sweep, hold) WHERE state = 'pending' AND hold IS NOT NULL;
