-- The same code, and where else it is by now.
UPDATE jobs SET source = :source WHERE name = :name AND digest = :digest
