-- Version 10: an agent may have left its runs to the engine that executes them; whoever comes next goes on with them.

ALTER TABLE agents ADD COLUMN detached INTEGER NOT NULL DEFAULT 0 CHECK (detached IN (0, 1));
