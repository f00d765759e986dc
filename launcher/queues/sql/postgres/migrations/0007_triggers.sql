-- Version 7: what follows from a change of items is found with one look at it, not with five.

CREATE OR REPLACE FUNCTION items_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    WITH change AS MATERIALIZED (
        SELECT became.seq, was.state AS before, became.state AS after, was.queue AS queue_before, became.queue,
            was.sweep AS sweep_before, became.sweep, became.changed_at, became.actor, became.reason,
            became.attempt, was.attempt AS last, was.agent AS held_by, was.actor AS ended_by, was.run_dir,
            was.started_at, was.finished_at AS ended_at, was.exit_code AS ended_code, was.stage AS ended_stage,
            was.reason AS ended_reason, became.finished_at, became.exit_code, became.stage
        FROM old_items AS was JOIN new_items AS became USING (seq) WHERE was.state <> became.state
    ),
    logged AS (
        INSERT INTO events (item, at, before, after, attempt, actor, reason)
        SELECT seq, changed_at, before, after, attempt, actor, reason FROM change ORDER BY seq
    ),
    counted AS (
        INSERT INTO counts (sweep, queue, state, number)
        SELECT coalesce(sweep_before, ''), queue_before, before, -count(*) FROM change
        GROUP BY sweep_before, queue_before, before
        UNION ALL
        SELECT coalesce(sweep, ''), queue, after, count(*) FROM change GROUP BY sweep, queue, after
    )
    INSERT INTO attempts
    SELECT seq, last, 'failed', held_by, run_dir, started_at, finished_at, exit_code, stage, reason
    FROM change WHERE after = 'pending' AND before IN ('leased', 'running')
    UNION ALL
    SELECT seq, last, before, ended_by, run_dir, started_at, ended_at, ended_code, ended_stage, ended_reason
    FROM change WHERE after = 'pending' AND before IN ('failed', 'cancelled') AND last > 0
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
