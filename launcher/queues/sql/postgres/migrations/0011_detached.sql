-- Version 11: an agent may have left its runs to the engine that executes them; whoever comes next goes on with them.

ALTER TABLE agents ADD COLUMN detached boolean NOT NULL DEFAULT false;
